"""Losses over embeddings: of triplets that an oracle answered, and of whole sets.

A loss of sets is a function of similarities (B, N, N) and labels (B, N); pass your
own to :func:`mean_over_sets`.
"""

from ._contrastive import answer_weights, contrastive_loss
from ._pairwise import basic_loss, cross_entropy_loss
from ._sets import mean_over_sets
from ._structural import structural_loss
from ._triplet import PAPER, RELEASED, augmented_triplet_loss, triplet_loss

__all__ = [
    "PAPER",
    "RELEASED",
    "answer_weights",
    "augmented_triplet_loss",
    "basic_loss",
    "contrastive_loss",
    "cross_entropy_loss",
    "mean_over_sets",
    "structural_loss",
    "triplet_loss",
]
