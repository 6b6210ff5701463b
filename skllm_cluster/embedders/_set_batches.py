"""Which sets go through a model together, and whether there is memory for them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FUSED_ABOVE", "bytes_free", "bytes_needed", "plan_batches", "set_batches"]

Ints = NDArray[np.int64]

# Scores from which on those of a set with its entities are never held all at once.
FUSED_ABOVE = 2**22
_CHUNK = 2**24  # pairs of token and entity that are then looked at together

_MEMINFO = Path("/proc/meminfo")


def set_batches(lengths: Ints, sets: Ints, budget: int) -> Iterator[Ints]:
    """Divide texts into batches of whole sets, the largest sets first.

    Parameters
    ----------
    lengths : ndarray of int, shape (n,)
        Tokens of each text.
    sets : ndarray of int, shape (n,)
        The number of its set, from 0.
    budget : int
        Tokens in a batch. A set of more tokens is a batch of its own.

    Yields
    ------
    rows : ndarray of int
        The texts of a batch; those of a set adjacent and in the order given.
    """
    tokens = np.bincount(sets, lengths).astype(np.int64)
    order = np.lexsort((np.arange(len(sets)), sets, -tokens[sets]))
    # The sets in that order: where each begins, and the tokens before it.
    starts = np.flatnonzero(np.diff(sets[order], prepend=-1))
    before = np.concatenate([[0], np.cumsum(tokens[sets[order[starts]]])])
    ends = np.append(starts[1:], len(order))
    first = 0
    while first < len(starts):
        last = int(np.searchsorted(before, before[first] + budget, side="right")) - 1
        last = max(last, first + 1)
        yield order[starts[first] : ends[last - 1]]
        first = last


def bytes_needed(
    config: Any, lengths: Ints, sets: Ints, attention: str, training: bool
) -> int:
    """Estimate the memory that a batch takes beside the weights.

    Parameters
    ----------
    config : PretrainedConfig
    lengths, sets : ndarray of int, shape (n,)
        Tokens and set of each text of the batch.
    attention : {"sia", "none", "full"}
    training : bool
        Whether all layers keep what the gradient needs.

    Returns
    -------
    n_bytes : int
        In single precision. Meant to be too large rather than too small.
    """
    sizes, tokens = np.bincount(sets), np.bincount(sets, lengths)
    own = np.square(tokens if attention == "full" else lengths, dtype=float).sum()
    far = (sizes * tokens)[sizes > 1].sum() if attention == "sia" else 0
    width = config.hidden_size
    names = ("d_ff", "intermediate_size", "hidden_dim")
    inner = next(getattr(config, name) for name in names if hasattr(config, name))
    # How many rows of either width, and copies of the scores, are alive at once is
    # fitted to measured peaks of T5.
    heads, copies = config.num_attention_heads, 2 if attention == "full" else 3
    scores = copies * heads * own
    if heads * far > FUSED_ABOVE and not training:
        scores += 2 * min(far, _CHUNK)
    else:  # Dropout, which training has, needs all of them.
        scores += copies * heads * far
    passing = tokens.sum() * (30 * width + 5 * inner) + scores
    kept = tokens.sum() * (56 * width + 6 * inner) + scores
    return int(4 * (passing + training * config.num_hidden_layers * kept))


def bytes_free(device: Any) -> float:
    """Tell how much memory there is to take; infinity where that cannot be known."""
    if device.type == "cuda":
        import torch

        free, _ = torch.cuda.mem_get_info(device)
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return float(free + kept)
    if device.type == "cpu" and _MEMINFO.exists():
        found = re.search(r"MemAvailable:\s+(\d+) kB", _MEMINFO.read_text())
        if found:
            return float(found[1]) * 1024
    return float("inf")


def plan_batches(
    config: Any, lengths: Ints, sets: Ints, budget: int, **memory: Any
) -> tuple[list[Ints], int]:
    """Divide texts into batches for which there is memory.

    Parameters
    ----------
    config : PretrainedConfig
    lengths, sets : ndarray of int, shape (n,)
    budget : int
        As of :func:`set_batches`.
    **memory
        ``attention``, ``training`` and ``limit``, in bytes.

    Returns
    -------
    batches : list of ndarray of int
    largest : int
        Bytes that the largest needs.

    Raises
    ------
    MemoryError
        If one needs more than the limit.
    """
    batches = list(set_batches(lengths, sets, budget))
    needs = [check_memory(config, lengths[b], sets[b], **memory) for b in batches]
    return batches, max(needs)


def check_memory(
    config: Any,
    lengths: Ints,
    sets: Ints,
    *,
    attention: str,
    training: bool,
    limit: float,
) -> int:
    """Refuse a batch, or its largest set, that needs too much; tell what it needs."""
    numbers, sets = np.unique(sets, return_inverse=True)
    n_bytes = bytes_needed(config, lengths, sets, attention, training)
    if n_bytes <= limit:
        return n_bytes
    what, n_sets = "A set", len(numbers)
    advice = "Divide the set, lower max_tokens, or use attention='none'."
    if n_sets > 1:
        largest = sets == sets[0]
        check_memory(
            config,
            lengths[largest],
            sets[largest],
            attention=attention,
            training=training,
            limit=limit,
        )
        what, advice = f"A batch of {n_sets:,} sets", "Lower batch_tokens."
    raise MemoryError(
        f"{what} of {len(sets):,} texts and {lengths.sum():,} tokens needs about "
        f"{n_bytes / 2**30:,.2f} GiB, and only {limit / 2**30:,.2f} may be taken. "
        f"{advice}"
    )
