"""How well the clusters of one partition agree with known labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

__all__ = ["cluster_f1", "clustering_accuracy", "clustering_scores"]


def cluster_f1(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    r"""Harmonic mean of how pure clusters are and how whole labels are.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        Known labels: numbers or strings. -1 is a label like any other.
    y_pred : array-like of shape (n,)
        Cluster of each row.

    Returns
    -------
    f1 : float in (0, 1]

    Raises
    ------
    ValueError
        If the two have different lengths, or none.

    See Also
    --------
    set_scores : This and more, for many sets at once.

    Notes
    -----
    With :math:`n_{ij}` rows of label i in cluster j, precision is
    :math:`\sum_j \max_i n_{ij} / n` and recall :math:`\sum_i \max_j n_{ij} / n`
    [1]_. Single rows and one cluster of all both have one of the two at 1, so that
    even they are well above 0.

    References
    ----------
    .. [1] I. Haponchyk, A. Uva, S. Yu, O. Uryupina and A. Moschitti, "Supervised
       clustering of questions into intents for dialog system applications",
       EMNLP 2018.

    Examples
    --------
    >>> from skllm_cluster.metrics import cluster_f1
    >>> cluster_f1(["a", "a", "b", "b"], [0, 0, 1, 2])  # precision 1, recall 3/4
    0.857...
    """
    table = _table(y_true, y_pred)
    n = table.sum()
    precision = table.max(axis=0).sum() / n
    recall = table.max(axis=1).sum() / n
    return float(2 * precision * recall / (precision + recall))


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
    table = _table(y_true, y_pred)
    n = table.sum()
    rows, columns = linear_sum_assignment(table, maximize=True)
    return float(table[rows, columns].sum() / n)


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


def _table(y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[np.int64]:
    """Count the rows of each label in each cluster, shape (labels, clusters)."""
    true, pred = np.asarray(y_true), np.asarray(y_pred)
    if true.ndim != 1 or true.shape != pred.shape or not len(true):
        raise ValueError(
            "y_true and y_pred must be one-dimensional, of one length and not empty, "
            f"got shapes {true.shape} and {pred.shape}."
        )
    return np.asarray(contingency_matrix(true, pred))
