"""The latent structural loss over spanning forests (the baseline SCL)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

from ._relations import checked, other_pairs

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["structural_loss"]


def structural_loss(
    similarity: Tensor, labels: Tensor, *, C: float = 0.15, r: float = 0.5
) -> Tensor:
    r"""Ask that the best forest within clusters beat the best forest of all.

    Parameters
    ----------
    similarity : Tensor of shape (..., N, N)
        Cosine similarities of the N entities of each set. Half precision is widened.
        Only what is above the diagonal is read.
    labels : Tensor of int, shape (..., N)
        Cluster of each entity; -1 where it is not known, or where the set is filled up
        to N. Those are in no forest.
    C : float, default=0.15
        How much better, for each edge by which the forests differ.
    r : float, default=0.5
        What an edge between clusters counts, when one left out within counts 1.

    Returns
    -------
    loss : Tensor of shape (...)
        One number for each set.

    Raises
    ------
    ValueError
        If the shapes do not belong together or labels are no integers.

    See Also
    --------
    mean_over_sets : From embeddings of sets of any size to one number.

    Notes
    -----
    G is the maximum spanning forest of the similarities within clusters [1]_. With Y
    1 within clusters and 0 between, V is that of the edges with a positive value in
    :math:`S + C r (1 - Y) - C Y`: what is wrong is given a start. With
    :math:`\Delta = |G| - |V_{\text{within}}| + r |V_{\text{between}}|`, the loss is

    .. math::

        \Big( C \Delta + \sum_V S - \sum_G S \Big)^+ \quad\text{if } \Delta > 0,

    and 0 otherwise. Forests are found on the CPU, those of all sets at once, and have
    no gradient; the two sums have.

    The released code takes a similarity of exactly 0 for no edge. Here it is one like
    any other, so that the forest of a cluster always spans it.

    References
    ----------
    .. [1] I. Haponchyk and A. Moschitti, "Supervised neural clustering via latent
       structured output learning: application to question intents", NAACL 2021.

    Examples
    --------
    >>> import torch
    >>> from skllm_cluster.losses import structural_loss
    >>> similarity = torch.tensor([[1.0, 0.5, 0.4], [0.5, 1.0, 0.1], [0.4, 0.1, 1.0]])
    >>> structural_loss(similarity, torch.tensor([0, 0, 1]))  # 0.15 * 0.5 + 0.4
    tensor(0.4750)
    """
    import torch

    similarity = checked(similarity, labels)
    n = labels.shape[-1]
    found = similarity.detach().double().cpu().numpy().reshape(-1, n, n)
    same, different = (
        pairs.cpu().numpy().reshape(-1, n, n).astype(bool)
        for pairs in other_pairs(labels)
    )
    upper = np.triu(np.ones((n, n), dtype=bool), 1)
    helped = found + np.where(same, -C, C * r)
    gold = _forest(found, same & upper)
    rival = _forest(helped, (same | different) & upper & (helped > 0))
    distance = gold.sum((1, 2)) - (rival * np.where(same, 1, -r)).sum((1, 2))

    def as_tensor(array: NDArray[Any], shape: Any) -> Tensor:
        return torch.from_numpy(array).to(similarity).reshape(shape)

    sign = as_tensor(rival.astype(np.float32) - gold, similarity.shape)
    delta = as_tensor(distance, labels.shape[:-1])
    loss = C * delta + (similarity * sign).sum((-2, -1))
    return loss.clamp(min=0) * (delta > 0)


def _forest(weights: NDArray[Any], edges: NDArray[Any]) -> NDArray[np.bool_]:
    """Find maximum spanning forests of graphs with N nodes.

    Parameters
    ----------
    weights : ndarray of shape (B, N, N)
    edges : ndarray of bool, shape (B, N, N)
        Which are edges, above the diagonal.

    Returns
    -------
    forest : ndarray of bool, shape (B, N, N)
    """
    n = weights.shape[-1]
    chosen = np.zeros(edges.shape, dtype=bool)
    if not edges.any():
        return chosen
    # SciPy 1.12 finds trees only with indices of 32 bits.
    graph, one, other = (index.astype(np.int32) for index in np.nonzero(edges))
    # All graphs side by side are one. Costs are at least 1, as 0 would be no edge.
    costs = weights[edges].max() + 1 - weights[edges]
    places = (graph * n + one, graph * n + other)
    side = len(weights) * n
    tree = minimum_spanning_tree(coo_array((costs, places), shape=(side, side)))
    row, column = tree.nonzero()
    chosen[row // n, row % n, column % n] = True
    return chosen
