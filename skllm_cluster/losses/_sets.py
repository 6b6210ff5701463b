"""From the embeddings of many sets to one number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["mean_over_sets"]

# Sets up to this size are filled up to the largest of them: they cost next to nothing.
_SMALL = 16
# Larger ones are filled up if at least this share of the entities is real.
_FILL = 0.8


def mean_over_sets(
    loss: Callable[[Tensor, Tensor], Tensor],
    embeddings: Tensor,
    groups: ArrayLike,
    labels: ArrayLike,
) -> Tensor:
    """Average a loss over the sets of a batch.

    Parameters
    ----------
    loss : callable
        From cosine similarities (B, N, N) and labels (B, N) to a loss for each of B
        sets, (B,). Labels are -1 where a set is filled up. Any of this module; give
        settings by :func:`functools.partial`.
    embeddings : Tensor of shape (T, d)
        Of the entities of all sets. They need not be normalised.
    groups : array-like of int, shape (T,)
        Equal ints form one set, wherever they stand.
    labels : array-like of int, shape (T,)
        Cluster of each entity within its set; -1: not known.

    Returns
    -------
    mean : Tensor, a scalar
        Sets without a triplet or pair count as 0, as in the paper.

    Raises
    ------
    ValueError
        If the three differ in length or are empty.

    Notes
    -----
    Sets of similar size are taken together, so that there are few calls and little is
    filled up. Similarities are computed in single precision also where the model runs
    in half precision (autocast). Groups and labels best lie on the host: a tensor of
    another device must be waited for.

    Examples
    --------
    >>> import torch
    >>> from functools import partial
    >>> from skllm_cluster.losses import mean_over_sets, triplet_loss
    >>> z = torch.tensor([[3.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 2.0], [5.0, 5.0]])
    >>> loss = partial(triplet_loss, margin=0.3)
    >>> mean_over_sets(loss, z, groups=[7, 7, 7, 2, 2], labels=[0, 1, 1, 0, 0])
    tensor(0.4000)
    """
    import torch
    from torch.nn.functional import normalize

    sets, clusters = _on_host(groups), _on_host(labels)
    n = len(embeddings)
    if not n or sets.shape != (n,) or clusters.shape != (n,):
        raise ValueError(
            "embeddings, groups and labels must have one length and not be empty, got "
            f"shapes {tuple(embeddings.shape)}, {sets.shape} and {clusters.shape}."
        )
    device = embeddings.device

    def on_device(array: NDArray[Any]) -> Tensor:
        # Not to wait here for what the device is still at.
        return torch.from_numpy(array).to(device, non_blocking=True)

    losses = []
    with torch.autocast(device.type, enabled=False):
        z = embeddings if embeddings.element_size() >= 4 else embeddings.float()
        z = normalize(z, dim=-1)
        for rows in _batches(sets):
            truth = on_device(np.where(rows < 0, -1, clusters[rows]))  # (B, N)
            entities = z[on_device(rows.clip(0))]  # (B, N, d)
            losses.append(loss(entities @ entities.mT, truth))
        each = torch.cat(losses)
    return each.mean()


def _on_host(values: Any) -> NDArray[Any]:
    return np.asarray(values.cpu() if hasattr(values, "cpu") else values)


def _batches(groups: NDArray[Any]) -> Iterator[NDArray[np.intp]]:
    """Lay sets of similar size into tables of row numbers, (B, N), -1 where filled."""
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    rows = np.argsort(group, kind="stable")
    ends = np.cumsum(sizes)
    order = np.argsort(-sizes, kind="stable")
    while len(order):
        largest = sizes[order[0]]
        least = 0 if largest <= _SMALL else _FILL * largest
        taken = order[sizes[order] >= least]
        order = order[len(taken) :]
        place = np.arange(largest)
        inside = place < sizes[taken][:, None]  # (B, N)
        start = (ends - sizes)[taken][:, None]
        yield np.where(inside, rows[np.where(inside, start + place, 0)], -1)
