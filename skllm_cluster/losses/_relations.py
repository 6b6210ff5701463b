"""What the losses of sets begin with: similarities as they need them, and pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["checked", "other_pairs", "relations"]


def checked(similarity: Tensor, labels: Tensor) -> Tensor:
    """Check shapes, and give similarities of at least single precision.

    Raises
    ------
    ValueError
        If ``similarity`` is not (..., N, N), or ``labels`` not (..., N) of integers.
    """
    shape = tuple(similarity.shape)
    if len(shape) < 2 or shape[-1] != shape[-2] or not shape[-1]:
        raise ValueError(
            f"similarity must have shape (..., N, N), N at least 1, got {shape}."
        )
    if tuple(labels.shape) != shape[:-1] or labels.is_floating_point():
        raise ValueError(
            f"labels must be integers of shape {shape[:-1]}, as similarity has shape "
            f"{shape}; got {labels.dtype} of shape {tuple(labels.shape)}."
        )
    # Half precision tells cosines apart by 0.004, which is too coarse for margins.
    return similarity.float() if similarity.element_size() < 4 else similarity


def relations(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Tell which ordered pairs share a label, and which do not.

    Parameters
    ----------
    labels : Tensor of int, shape (..., N)

    Returns
    -------
    same, different : Tensor of bool, shape (..., N, N)
        The diagonal is in ``same``. Pairs with an entity of label -1 are in neither.
    """
    known = labels != -1
    both = known[..., :, None] & known[..., None, :]  # (..., N, N)
    equal = labels[..., :, None] == labels[..., None, :]
    return equal & both, ~equal & both


def other_pairs(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Tell the same of pairs of two entities, without the diagonal."""
    import torch

    same, different = relations(labels)
    n = labels.shape[-1]
    return same & ~torch.eye(n, dtype=torch.bool, device=labels.device), different
