"""How many clusters the user means: from answers about pairs, or from none.

A criterion is a function of plain arrays; pass your own. ``pair_match`` is the one to
begin with, ``f_beta`` is the paper's.
"""

from ._agreement import f_beta, tree_likelihood
from ._baselines import bic, cluster_size, elbow, silhouette, x_means
from ._pairs import effective_number, pair_match
from ._score import Score

__all__ = [
    "Score",
    "bic",
    "cluster_size",
    "effective_number",
    "elbow",
    "f_beta",
    "pair_match",
    "silhouette",
    "tree_likelihood",
    "x_means",
]
