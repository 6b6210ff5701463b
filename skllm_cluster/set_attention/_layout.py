"""Which tokens form an entity, and which entities form a set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

__all__ = ["SetLayout"]

Ints = NDArray[np.int64]

_ATTENTION = ("none", "sia", "full")
_POOLED_KEY = ("key", "query", "first")


class SetLayout:
    """How the tokens of a batch form entities, and the entities sets.

    Parameters
    ----------
    lengths : array-like of int, shape (R,)
        Tokens of each entity, at least 1.
    groups : array-like of int, shape (R,), default=None
        Entities of equal number form a set. None: every entity stands alone.
    attention : {"sia", "none", "full"}, default="sia"
        What a token attends to. "sia": the tokens of its entity, and each other
        entity of the set as one key and value (Eq. 2-5). "none": the tokens of its
        entity (NIA). "full": all tokens of the set, whose entities are strung
        together in the order given, with running positions (FIA).
    pooled_key : {"key", "query", "first"}, default="key"
        What stands for an entity where others attend to it. "key": the mean of its
        keys (Eq. 5, since the mean and W^K commute). "query": the mean of its queries,
        as the released code has it. "first": the key of its first token, with the
        value of that token; else the value is the mean of its values.
    inter_bias : bool, default=False
        Whether the bias that the model has learnt for tokens far to the right is
        added where an entity attends to another (released code; the paper adds none).
        Only for models with a table of relative position biases (T5, MPNet).
    padded : bool, default=False
        Whether the model gets a rectangle of tokens, shape (R, longest), padded on the
        right, in place of one row of all tokens, shape (1, T), which has no padding.
    fused_above : int, default=2**22
        Number of scores (sets * heads * tokens * entities) from which on attention to
        the other entities is computed by PyTorch's fused kernel, which does not keep
        them. Not where there is dropout.
    device : str or torch.device, default="cpu"
        Where the model is.

    Attributes
    ----------
    positions : ndarray of int, shape (T,)
        Of each token in its entity; in its set, if ``attention="full"``.
    n_entities : int
        R.

    See Also
    --------
    pack : Makes the input of a model.

    Notes
    -----
    The tokens of an entity are adjacent, and entities come in the order given; those
    of a set need not be adjacent. Attention is computed on rectangles. Entities, and
    sets, of very different size go to different ones, so that little is padding.

    Examples
    --------
    >>> from skllm_cluster.set_attention import SetLayout
    >>> layout = SetLayout([2, 3, 1], groups=[7, 7, 4])
    >>> layout.positions
    array([0, 1, 0, 1, 2, 0])
    >>> SetLayout([2, 3, 1], groups=[7, 7, 4], attention="full").positions
    array([0, 1, 2, 3, 4, 0])
    """

    def __init__(
        self,
        lengths: ArrayLike,
        groups: ArrayLike | None = None,
        *,
        attention: str = "sia",
        pooled_key: str = "key",
        inter_bias: bool = False,
        padded: bool = False,
        fused_above: float = 2**22,
        device: Any = "cpu",
    ):
        _check_choice("attention", attention, _ATTENTION)
        _check_choice("pooled_key", pooled_key, _POOLED_KEY)
        sizes, sets = _check_sizes(lengths, groups)
        if attention == "none":
            sets = np.arange(len(sizes))
        self.pooled_key, self.inter_bias = pooled_key, inter_bias
        self.padded, self.fused_above = padded, fused_above
        self.n_entities = len(sizes)

        entity = np.repeat(np.arange(len(sizes)), sizes)  # (T,)
        in_entity, _ = _places(entity)
        in_set, n_tokens = _places(sets[entity])
        row, self.positions = entity, in_entity
        if attention == "full":
            row, self.positions = sets[entity], in_set
        # Where a token is among those that the model has: in one row, or in a padded
        # rectangle of which the rows are put end to end.
        longest = int(self.positions.max()) + 1
        source = row * longest + self.positions if padded else np.arange(len(row))
        n_source = (int(row.max()) + 1) * longest if padded else len(row)

        self.rows = Ragged(row, self.positions, source, n_source, device)
        self.entities = self.rows
        if attention == "full":
            self.entities = Ragged(entity, in_entity, source, n_source, device)
        self.first = _tensor(source[in_entity == 0], device)  # (R,)
        self.sets: Ragged | None = None  # None: no entity sees another
        self.others: list[Others] = []
        if attention == "sia" and len(n_tokens) < len(sizes):
            slot, n_members = _places(sets)
            self.sets = Ragged(
                sets[entity], in_set, source, n_source, device, n_tokens * n_members
            )
            self.others = [
                Others.of(rows, sets, slot, entity, in_set, device)
                for rows in self.sets.ids
            ]

    def pool(self, states: Tensor) -> Tensor:
        """Average over the tokens of each entity.

        Parameters
        ----------
        states : Tensor, shape (1, T, d), or (R, longest, d) if ``padded``
            What the model returns.

        Returns
        -------
        means : Tensor of float32, shape (R, d)
        """
        return self.entities.mean(states.flatten(0, 1))


@dataclass(frozen=True)
class Block:
    """Rows of like length, as a rectangle."""

    index: Tensor  # (B, W): which token stands there; 0 where there is none
    real: Tensor  # (B, W): whether there is one
    count: Tensor  # (B,): how many there are

    @cached_property
    def full(self) -> bool:
        """Whether there is one everywhere."""
        return bool(self.real.all())


@dataclass(frozen=True)
class Others:
    """The entities that the tokens of a block of sets attend to."""

    owner: Tensor  # (S, M): which entity of its set a token belongs to
    members: Tensor  # (S, N): number of each entity; 0 where there is none
    real: Tensor  # (S, N): whether there is one

    @classmethod
    def of(
        cls, rows: Ints, sets: Ints, slot: Ints, entity: Ints, in_set: Ints, device: Any
    ) -> Others:
        """Collect the entities of some sets, and whose the tokens of these sets are."""
        line = np.full(int(sets.max()) + 1, -1)
        line[rows] = np.arange(len(rows))
        here = np.flatnonzero(line[sets] >= 0)
        members, real = _rectangle(line[sets[here]], slot[here], here)
        tokens = np.flatnonzero(line[sets[entity]] >= 0)
        of = entity[tokens]
        owner, _ = _rectangle(line[sets[of]], in_set[tokens], slot[of])
        return cls(*(_tensor(x, device) for x in (owner, members, real)))

    @cached_property
    def hidden(self) -> Tensor:
        """What a token must not see: its own entity, and what is none: (S, M, N)."""
        slots = torch.arange(self.real.shape[1], device=self.real.device)
        return (self.owner[..., None] == slots) | ~self.real[:, None]


class Ragged:
    """Rows of tokens, of unequal length, laid out as a few rectangles.

    Parameters
    ----------
    row, place : ndarray of int, shape (T,)
        Of each token: its row, and where in it.
    source : ndarray of int, shape (T,)
        Which one of the model's tokens it is.
    n_source : int
        How many tokens the model has, padding included.
    device : str or torch.device
    area : ndarray of int, default=None
        What a row costs. None: the square of its length.
    """

    def __init__(
        self,
        row: Ints,
        place: Ints,
        source: Ints,
        n_source: int,
        device: Any,
        area: Ints | None = None,
    ):
        lengths = np.bincount(row)
        self.ids = list(_cut(lengths**2 if area is None else area))
        self.blocks: list[Block] = []
        back, start = np.zeros(n_source, dtype=np.int64), 0
        for rows in self.ids:
            line = np.full(len(lengths), -1)
            line[rows] = np.arange(len(rows))
            here = np.flatnonzero(line[row] >= 0)
            index, real = _rectangle(line[row[here]], place[here], source[here])
            at = line[row[here]] * index.shape[1] + place[here]
            back[source[here]] = start + at
            start += index.size
            arrays = index, real, lengths[rows]
            self.blocks.append(Block(*(_tensor(x, device) for x in arrays)))
        self.back = _tensor(back, device)  # (n_source,), of the blocks end to end
        self.order = _tensor(np.argsort(np.concatenate(self.ids)), device)

    def pad(self, tokens: Tensor) -> Iterator[Tensor]:
        """Lay out tokens, shape (n_source, ...), in blocks of shape (B, W, ...)."""
        for block in self.blocks:
            yield take(tokens, block.index)

    def unpad(self, blocks: Sequence[Tensor]) -> Tensor:
        """Collect what became of the tokens: the inverse of ``pad``."""
        return take(torch.cat([block.flatten(0, 1) for block in blocks]), self.back)

    def mean(self, tokens: Tensor) -> Tensor:
        """Average over the tokens of each row; float32, shape (rows, ...)."""
        means = []
        for block, padded in zip(self.blocks, self.pad(tokens), strict=True):
            exact, extra = at_least_float32(padded), (1,) * (tokens.ndim - 1)
            if not block.full:
                exact = exact * block.real.reshape(*block.real.shape, *extra)
            # A sum, not a matrix product: autocast would round that.
            means.append(exact.sum(dim=1) / block.count.reshape(-1, *extra))
        return take(torch.cat(means), self.order)


def take(x: Tensor, index: Tensor) -> Tensor:
    """Index the first dimension by any shape; the gradient is summed row by row."""
    return x.index_select(0, index.flatten()).reshape(*index.shape, *x.shape[1:])


def at_least_float32(x: Tensor) -> Tensor:
    """Raise half precision."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _cut(area: Ints, ratio: int = 4, negligible: int = 2**14) -> Iterator[Ints]:
    """Group rows, the costliest first, such that none is padded to over 4 times.

    One more rectangle costs more than a negligible number of padded scores.
    """
    order = np.argsort(-area, kind="stable")
    descending, start = area[order], 0
    while start < len(order):
        largest = descending[start]
        end = int(np.searchsorted(-descending, -largest / ratio, side="right"))
        if (len(order) - end) * largest <= negligible:
            end = len(order)
        yield order[start:end]
        start = end


def _places(of: Ints) -> tuple[Ints, Ints]:
    """Give each item its place in its group, in the order given, and the sizes."""
    order, sizes = np.argsort(of, kind="stable"), np.bincount(of)
    place = np.empty_like(of)
    place[order] = np.arange(len(of)) - (np.cumsum(sizes) - sizes)[of[order]]
    return place, sizes


def _rectangle(row: Ints, place: Ints, value: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    shape = int(row.max()) + 1, int(place.max()) + 1
    values, real = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=bool)
    values[row, place], real[row, place] = value, True
    return values, real


def _tensor(values: NDArray[Any], device: Any) -> Tensor:
    return torch.from_numpy(values).to(device)


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {list(choices)}, got {value!r}.")


def _check_sizes(lengths: ArrayLike, groups: ArrayLike | None) -> tuple[Ints, Ints]:
    sizes = np.asarray(lengths)
    if sizes.ndim != 1 or not len(sizes) or sizes.dtype.kind not in "iu":
        raise ValueError(
            "lengths must be a sequence of int, one per entity and at least one, got "
            f"shape {sizes.shape} of {sizes.dtype}."
        )
    if sizes.min() < 1:
        raise ValueError(
            f"Entity {int(sizes.argmin())} has {sizes.min()} tokens; each needs at "
            "least one."
        )
    given = np.arange(len(sizes)) if groups is None else np.asarray(groups)
    if given.shape != sizes.shape:
        raise ValueError(
            f"groups must be one number per entity, shape {sizes.shape}, got shape "
            f"{given.shape}."
        )
    _, sets = np.unique(given, return_inverse=True)
    return sizes.astype(np.int64), sets.astype(np.int64)
