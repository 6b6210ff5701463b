"""Losses that look at one pair of entities at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._relations import checked, other_pairs

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["basic_loss", "cross_entropy_loss"]


def cross_entropy_loss(
    similarity: Tensor, labels: Tensor, *, clip: float = 1e-5
) -> Tensor:
    r"""Take similarities for probabilities that two entities belong together.

    Parameters
    ----------
    similarity : Tensor of shape (..., N, N)
        Cosine similarities of the N entities of each set. Half precision is widened.
    labels : Tensor of int, shape (..., N)
        Cluster of each entity; -1 where it is not known, or where the set is filled up
        to N. Those are in no pair.
    clip : float, default=1e-5
        Probabilities are kept this far from 0 and 1. Beyond, the gradient is 0.

    Returns
    -------
    loss : Tensor of shape (...)
        One number for each set: 0 where it has no pair.

    Raises
    ------
    ValueError
        If the shapes do not belong together or labels are no integers.

    See Also
    --------
    mean_over_sets : From embeddings of sets of any size to one number.

    Notes
    -----
    With :math:`p = (S + 1) / 2`, the mean of :math:`-\log p` over pairs of one cluster
    and :math:`-\log(1 - p)` over pairs of two.

    Examples
    --------
    >>> import torch
    >>> from skllm_cluster.losses import cross_entropy_loss
    >>> similarity = torch.tensor([[1.0, 0.0], [0.0, 1.0]])  # p = 1/2
    >>> cross_entropy_loss(similarity, torch.tensor([0, 0]))
    tensor(0.6931)
    """
    import torch

    similarity = checked(similarity, labels)
    same, different = other_pairs(labels)
    share = ((similarity + 1) / 2).clamp(clip, 1 - clip)
    # The probability of what is true, so that one logarithm does.
    return _mean(-torch.where(same, share, 1 - share).log(), same | different)


def basic_loss(similarity: Tensor, labels: Tensor) -> Tensor:
    r"""Raise similarities within clusters and lower those between, without a bound.

    Parameters
    ----------
    similarity : Tensor of shape (..., N, N)
        Cosine similarities of the N entities of each set. Half precision is widened.
    labels : Tensor of int, shape (..., N)
        Cluster of each entity; -1 where it is not known, or where the set is filled up
        to N. Those are in no pair.

    Returns
    -------
    loss : Tensor of shape (...)
        The mean over all pairs of a set of :math:`-S` within clusters and :math:`S`
        between; 0 where there is no pair.

    Raises
    ------
    ValueError
        If the shapes do not belong together or labels are no integers.

    See Also
    --------
    mean_over_sets : From embeddings of sets of any size to one number.

    Examples
    --------
    >>> import torch
    >>> from skllm_cluster.losses import basic_loss
    >>> similarity = torch.tensor([[1.0, 0.8], [0.8, 1.0]])
    >>> basic_loss(similarity, torch.tensor([0, 0]))
    tensor(-0.8000)
    >>> basic_loss(similarity, torch.tensor([0, 1]))
    tensor(0.8000)
    """
    import torch

    similarity = checked(similarity, labels)
    same, different = other_pairs(labels)
    return _mean(torch.where(same, -similarity, similarity), same | different)


def _mean(values: Tensor, pairs: Tensor) -> Tensor:
    """Mean over the pairs of each set, from (..., N, N) to (...)."""
    return (values * pairs).sum((-2, -1)) / pairs.sum((-2, -1)).clamp(min=1)
