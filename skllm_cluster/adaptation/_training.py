"""The library's one training loop."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

__all__ = ["train"]

logger = logging.getLogger(__name__)


def train(
    module: Any,
    loss_of: Callable[[Any], torch.Tensor],
    batches: Iterator[Any],
    *,
    n_steps: int,
    learning_rate: float,
    decay: bool = True,
    clip: float = 1.0,
    dropout: bool = True,
    also: Iterable[Any] = (),
    after_step: Callable[[int], bool | None] | None = None,
    seed: int = 0,
) -> list[float]:
    """Train a module in place: the library's one training loop.

    AdamW without weight decay, with gradients clipped.

    Parameters
    ----------
    module : torch.nn.Module
        Its parameters with ``requires_grad`` are trained. All have it again afterwards.
    loss_of : callable
        From a batch to a scalar tensor.
    batches : iterator
        What ``loss_of`` takes, ``n_steps`` of them.
    n_steps : int
        Number of steps.
    learning_rate : float
        At the first step.
    decay : bool, default=True
        Whether it falls linearly to 0.
    clip : float, default=1.0
        Largest norm of the gradient of the module and of ``also`` together.
    dropout : bool, default=True
        Whether the module is in training mode.
    also : iterable of torch.nn.Parameter, default=()
        Trained with it.
    after_step : callable, default=None
        Told the number of steps done after each. Training ends if it returns True.
    seed : int, default=0
        Of torch. Its global generators are left as they were.

    Returns
    -------
    history : list of float
        The loss at each step.

    Raises
    ------
    FloatingPointError
        If the loss is not finite.

    Examples
    --------
    >>> import torch
    >>> from skllm_cluster.adaptation import train
    >>> line = torch.nn.Linear(1, 1)
    >>> x = torch.tensor([[1.0], [2.0]])
    >>> history = train(
    ...     line,
    ...     lambda _: (line(x) - 3 * x).square().mean(),
    ...     iter(range(200)),
    ...     n_steps=200,
    ...     learning_rate=0.1,
    ... )
    >>> history[-1] < history[0] / 100
    True
    """
    import torch

    weights = [p for p in module.parameters() if p.requires_grad] + list(also)
    # Written as one pass over each tensor, a step costs a quarter of it.
    optimizer = torch.optim.AdamW(
        weights, lr=learning_rate, weight_decay=0.0, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: max(0.0, 1 - step / n_steps) if decay else 1.0
    )
    history = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for step, batch in enumerate(batches):
            module.train(dropout)
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(batch)
            history.append(float(loss.detach()))
            if not math.isfinite(history[-1]):
                raise FloatingPointError(
                    f"The loss became {history[-1]} at step {step + 1} of {n_steps}. "
                    "Lower learning_rate, or use dtype='float32'."
                )
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(weights, clip)
            optimizer.step()
            schedule.step()
            if after_step is not None and after_step(step + 1):
                break
    optimizer.zero_grad(set_to_none=True)
    module.eval().requires_grad_(True)
    tenth = max(1, len(history) // 10)
    first, last = np.mean(history[:tenth]), np.mean(history[-tenth:])
    logger.info("trained %d steps, loss %.3f -> %.3f", len(history), first, last)
    return history
