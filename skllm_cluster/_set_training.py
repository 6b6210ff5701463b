"""How CACTUS trains an encoder of sets, and finds where to cut."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._set_input import FlatSets
from .adaptation import train
from .hierarchy import average_link, best_threshold
from .losses import mean_over_sets
from .pretraining import word_dropped_sets

if TYPE_CHECKING:
    import torch

__all__ = ["pretrain", "train_on_sets", "validate", "wants_neutral"]

Ints = NDArray[np.intp]


def wants_neutral(loss: Callable[..., Any]) -> bool:
    """Tell whether a loss has a neutral similarity that is to be learned."""
    found = inspect.signature(loss).parameters.get("neutral")
    return found is not None and found.default is inspect.Parameter.empty


def pretrain(
    embedder: Any,
    texts: list[str],
    loss: Callable[..., Any],
    neutral: torch.Tensor,
    *,
    n_steps: int,
    batch_size: int,
    rng: np.random.RandomState,
    **how: Any,
) -> list[float]:
    """Train on synthetic sets of texts with words left out (section 3.4).

    Parameters
    ----------
    embedder : SetEncoder
        Changed in place.
    texts : list of str
        What the synthetic sets are made of.
    loss : callable
    neutral : torch.nn.Parameter
        Its neutral similarity, which goes on from here.
    n_steps : int
    batch_size : int
        Sets in a step.
    rng : RandomState
    **how
        Passed to :func:`train`.

    Returns
    -------
    history : list of float
        The loss at each step.
    """
    seed = int(rng.randint(2**31 - 1))
    stream = word_dropped_sets(texts, batch_size=batch_size, random_state=seed)
    measure = _bound(loss, neutral)

    def loss_of(batch: tuple[list[str], Ints, Ints]) -> torch.Tensor:
        made, groups, labels = batch
        return mean_over_sets(measure, embedder.forward(made, groups), groups, labels)

    return train(
        embedder.module, loss_of, (next(stream) for _ in range(n_steps)),
        n_steps=n_steps, decay=False, also=_learned(loss, neutral),
        seed=int(rng.randint(2**31 - 1)), **how,
    )  # fmt: skip


def train_on_sets(
    embedder: Any,
    flat: FlatSets,
    loss: Callable[..., Any],
    neutral: torch.Tensor,
    *,
    n_epochs: int,
    batch_size: int,
    after_epoch: Callable[[int, float], bool],
    rng: np.random.RandomState,
    **how: Any,
) -> None:
    """Train on labelled sets, a pass over all of them in each epoch.

    Parameters
    ----------
    embedder : SetEncoder
        Changed in place.
    flat : FlatSets
    loss : callable
    neutral : torch.nn.Parameter
    n_epochs : int
    batch_size : int
        Sets in a step.
    after_epoch : callable
        Told the number of epochs done and the mean loss of the last. Training ends if
        it returns True.
    rng : RandomState
    **how
        Passed to :func:`train`.
    """
    forward = embedder.forward_from(flat.texts, groups=flat.groups)
    measure = _bound(loss, neutral)
    per_epoch = -(-flat.n_sets // batch_size)
    losses: list[float] = []

    def loss_of(rows: Ints) -> torch.Tensor:
        found = mean_over_sets(
            measure, forward(rows), flat.groups[rows], flat.labels[rows]
        )
        losses.append(float(found.detach()))
        return found

    def after_step(step: int) -> bool:
        if step % per_epoch:
            return False
        mean = float(np.mean(losses[-per_epoch:]))
        return after_epoch(step // per_epoch, mean)

    train(
        embedder.module, loss_of, _batches(flat, n_epochs, batch_size, rng),
        n_steps=n_epochs * per_epoch, decay=False, also=_learned(loss, neutral),
        after_step=after_step, seed=int(rng.randint(2**31 - 1)), **how,
    )  # fmt: skip


def validate(
    embedder: Any, flat: FlatSets, thresholds: ArrayLike | None
) -> tuple[float, dict[str, float]]:
    """Find the threshold that is best for labelled sets.

    Entities without a label are seen by the others of their set, and not scored.

    Returns
    -------
    threshold : float
    scores : dict
        ``"nmi"``, ``"ami"``, ``"ri"``, ``"ari"``, ``"f1"`` there, and the ``"sum"`` of
        the first four, by which it was chosen.
    """
    z = embedder.encode(flat.texts, groups=flat.groups)
    known = flat.labels >= 0
    links = average_link(z[known], flat.groups[known])
    threshold, table = best_threshold(links, flat.labels[known], thresholds)
    at = int(np.flatnonzero(table["threshold"] == threshold)[0])
    return threshold, {
        name: float(values[at]) for name, values in table.items() if name != "threshold"
    }


def _bound(loss: Callable[..., Any], neutral: torch.Tensor) -> Callable[..., Any]:
    return partial(loss, neutral=neutral) if wants_neutral(loss) else loss


def _learned(loss: Callable[..., Any], neutral: torch.Tensor) -> list[torch.Tensor]:
    return [neutral] if wants_neutral(loss) else []


def _batches(
    flat: FlatSets, n_epochs: int, batch_size: int, rng: np.random.RandomState
) -> Iterator[Ints]:
    """Give the rows of each batch of sets, shuffled anew for each epoch."""
    for _ in range(n_epochs):
        order = rng.permutation(flat.n_sets)
        for start in range(0, flat.n_sets, batch_size):
            yield flat.rows(order[start : start + batch_size])
