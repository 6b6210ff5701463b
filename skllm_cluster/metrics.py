"""How well a clustering agrees with known labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

__all__ = ["clustering_accuracy", "clustering_scores"]


def clustering_accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Share of rows that are right when clusters are matched to labels at best.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        Known labels: numbers or strings.
    y_pred : array-like of shape (n,)
        Cluster of each row. Their number may differ from that of the labels: a label
        or cluster that is left without a partner counts as wrong.

    Returns
    -------
    accuracy : float in [0, 1]

    Raises
    ------
    ValueError
        If the two have different lengths, or none.

    See Also
    --------
    clustering_scores : This, NMI and ARI in one call.

    Notes
    -----
    ACC of the paper: the largest sum of a one-to-one assignment in the contingency
    table (the Hungarian method [1]_), over n.

    References
    ----------
    .. [1] Kuhn, "The Hungarian method for the assignment problem", 1955.

    Examples
    --------
    >>> from skllm_cluster.metrics import clustering_accuracy
    >>> clustering_accuracy(["a", "a", "b", "b"], [1, 1, 0, 0])
    1.0
    >>> clustering_accuracy(["a", "a", "b", "b"], [0, 1, 2, 2])
    0.75
    """
    y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
    if y_true.ndim != 1 or y_true.shape != y_pred.shape or not len(y_true):
        raise ValueError(
            "y_true and y_pred must be one-dimensional, of one length and not empty, "
            f"got shapes {y_true.shape} and {y_pred.shape}."
        )
    table = contingency_matrix(y_true, y_pred)  # (labels, clusters)
    rows, columns = linear_sum_assignment(table, maximize=True)
    return float(table[rows, columns].sum() / len(y_true))


def clustering_scores(y_true: ArrayLike, y_pred: ArrayLike) -> dict[str, float]:
    """Accuracy, normalised mutual information and adjusted Rand index in one call.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,)
        Known labels, and the cluster of each row.

    Returns
    -------
    scores : dict
        ``"accuracy"``, ``"nmi"`` (arithmetic mean, as in the paper) and ``"ari"``.

    Examples
    --------
    >>> from skllm_cluster.metrics import clustering_scores
    >>> clustering_scores([0, 0, 1, 1], [5, 5, 7, 7])
    {'accuracy': 1.0, 'nmi': 1.0, 'ari': 1.0}
    """
    return {
        "accuracy": clustering_accuracy(y_true, y_pred),
        "nmi": float(normalized_mutual_info_score(y_true, y_pred)),
        "ari": float(adjusted_rand_score(y_true, y_pred)),
    }
