"""The triplet losses of CACTUS (Eq. 7 and 8)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ._relations import checked, other_pairs, relations

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PAPER", "RELEASED", "augmented_triplet_loss", "triplet_loss"]

# Settings of `augmented_triplet_loss` in which the paper, to the letter, and the
# released code differ.
PAPER: Mapping[str, Any] = MappingProxyType({"diagonal": False, "pairs": "triples"})
RELEASED: Mapping[str, Any] = MappingProxyType({"diagonal": True, "pairs": "all"})


def triplet_loss(
    similarity: Tensor,
    labels: Tensor,
    *,
    margin: float = 0.3,
    diagonal: bool = False,
) -> Tensor:
    r"""Ask of each set that anchors be closer to positives than to negatives (Eq. 7).

    Parameters
    ----------
    similarity : Tensor of shape (..., N, N)
        Cosine similarities of the N entities of each set. Half precision is widened.
    labels : Tensor of int, shape (..., N)
        Cluster of each entity; -1 where it is not known, or where the set is filled up
        to N. Those are in no triplet.
    margin : float, default=0.3
        :math:`\gamma`.
    diagonal : bool, default=False
        Whether an entity is a positive of itself. The paper says no, the released code
        has it so: then entities alone in their cluster are anchors, whose negatives
        are pushed away while they are more similar than :math:`1 - \gamma`.

    Returns
    -------
    loss : Tensor of shape (...)
        One number for each set: 0 where it has no triplet.

    Raises
    ------
    ValueError
        If the shapes do not belong together or labels are no integers.

    See Also
    --------
    augmented_triplet_loss : With a similarity that clusters of all sets share.
    mean_over_sets : From embeddings of sets of any size to one number.

    Notes
    -----
    The mean over the triplets of the set,

    .. math::

        \frac{1}{|T|} \sum_{(e, e_p, e_n) \in T} (\gamma - S_{e e_p} + S_{e e_n})^+.

    There are :math:`O(N^3)` of them, but each row of similarities need only be sorted:
    time grows with :math:`N^2 \log N`, memory with :math:`N^2`, and the result is the
    same. A triplet that lies exactly on the hinge has gradient 0.

    Examples
    --------
    >>> import torch
    >>> from skllm_cluster.losses import triplet_loss
    >>> similarity = torch.tensor([[1.0, 0.5, 0.4], [0.5, 1.0, 0.1], [0.4, 0.1, 1.0]])
    >>> triplet_loss(similarity, torch.tensor([0, 0, 1]))  # (0.2 + 0) / 2
    tensor(0.1000)
    """
    similarity = checked(similarity, labels)
    positive, negative = _roles(labels, diagonal)
    total, number = _triplets(similarity, positive, negative, margin)
    return (total / number.clamp(min=1)).to(similarity.dtype)


def augmented_triplet_loss(
    similarity: Tensor,
    labels: Tensor,
    *,
    neutral: Tensor | float,
    margin: float = 0.3,
    diagonal: bool = False,
    pairs: str = "all",
) -> Tensor:
    r"""Ask the same, and that clusters end at one similarity for all sets (Eq. 8).

    Parameters
    ----------
    similarity : Tensor of shape (..., N, N)
        Cosine similarities of the N entities of each set. Half precision is widened.
    labels : Tensor of int, shape (..., N)
        Cluster of each entity; -1 where it is not known, or where the set is filled up
        to N. Those are in no triplet and no pair.
    neutral : Tensor with one element, or float
        :math:`s`, the similarity of every entity to a neutral one: a parameter to
        learn, 0 at first.
    margin : float, default=0.3
        :math:`\gamma`.
    diagonal : bool, default=False
        Whether an entity is a positive of itself, in triplets and in pairs.
    pairs : {"all", "triples"}, default="all"
        Which pairs are compared with the neutral similarity: all, or those in a
        triplet. The paper has the latter; then a set of a single cluster, or of single
        entities only, teaches nothing (without the diagonal).

    Returns
    -------
    loss : Tensor of shape (...)
        One number for each set: 0 where it has no triplet and no pair.

    Raises
    ------
    ValueError
        If the shapes do not belong together, labels are no integers, or ``pairs`` is
        none of the two.

    See Also
    --------
    triplet_loss : Without the neutral similarity.
    mean_over_sets : From embeddings of sets of any size to one number.

    Notes
    -----
    .. math::

        \frac{1}{|T| + |P| + |Q|} \Big\{
            \sum_T (\gamma - S_{e e_p} + S_{e e_n})^+
            + \sum_P (\tfrac\gamma2 - S_{e e_p} + s)^+
            + \sum_Q (\tfrac\gamma2 - s + S_{e e_n})^+ \Big\}

    with ordered pairs P of entities in one cluster and Q of entities in two. The
    dictionaries ``PAPER`` and ``RELEASED`` hold what differs between the equation, to
    the letter, and the released code::

        augmented_triplet_loss(similarity, labels, neutral=s, **RELEASED)

    The default takes the triplets of the paper and all pairs: the diagonal adds
    terms that are almost always 0 to the denominator, more than a third of it in sets
    of five.

    Examples
    --------
    >>> import torch
    >>> from skllm_cluster.losses import PAPER, augmented_triplet_loss
    >>> neutral = torch.zeros((), requires_grad=True)
    >>> alone = torch.tensor([0, 1])  # two clusters: no triplet, but a pair to part
    >>> similarity = torch.tensor([[1.0, 0.5], [0.5, 1.0]])
    >>> augmented_triplet_loss(similarity, alone, neutral=neutral)
    tensor(0.6500, grad_fn=...)
    >>> augmented_triplet_loss(similarity, alone, neutral=neutral, **PAPER)
    tensor(0., grad_fn=...)
    """
    from torch.nn.functional import relu

    from ._hinge import wide

    if pairs not in ("all", "triples"):
        raise ValueError(f"pairs must be 'all' or 'triples', got {pairs!r}.")
    similarity = checked(similarity, labels)
    positive, negative = _roles(labels, diagonal)
    total, number = _triplets(similarity, positive, negative, margin)
    if pairs == "triples":
        positive, negative = (
            positive & negative.any(-1, keepdim=True),
            negative & positive.any(-1, keepdim=True),
        )
    # 1 where Eq. 8 wants a pair above the neutral similarity, -1 where below.
    side = positive.to(similarity.dtype) - negative.to(similarity.dtype)
    hinges = relu(margin / 2 + side * (neutral - similarity)) * side.abs()
    total = total + hinges.sum((-2, -1), dtype=wide(hinges))
    number = number + (positive | negative).sum((-2, -1))
    return (total / number.clamp(min=1)).to(similarity.dtype)


def _roles(labels: Tensor, diagonal: bool) -> tuple[Tensor, Tensor]:
    """Positives and negatives of each anchor, both of shape (..., N, N)."""
    return (relations if diagonal else other_pairs)(labels)


def _triplets(
    similarity: Tensor, positive: Tensor, negative: Tensor, margin: float
) -> tuple[Tensor, Tensor]:
    """Sum of the hinges of all triplets, and how many there are, both (...)."""
    from ._hinge import hinge_sums

    number = (positive.sum(-1) * negative.sum(-1)).sum(-1)
    return hinge_sums(similarity, positive, negative, margin), number
