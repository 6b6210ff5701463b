"""Sets with known clusters, made of nothing but texts: copies with words dropped."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain, compress, count
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from ._validation import as_texts

__all__ = ["word_dropped_sets"]

Ints = NDArray[np.intp]
Batch = tuple[list[str], Ints, Ints]


# Scripts without spaces between words: Thai and Lao, Burmese, Khmer, kana, Chinese.
_LETTERS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_MARKS = "".join(
    c for c in map(chr, range(0xE00, 0x1800)) if unicodedata.category(c)[0] == "M"
)
# One such letter with its marks, or all up to white space or such a letter. The white
# space that follows belongs to it.
_WORD = re.compile(rf"(?:[{_LETTERS}][{_MARKS}]*|[^\s{_LETTERS}]+)\s*")


def word_dropped_sets(
    texts: Sequence[str],
    *,
    n_clusters: tuple[int, int] = (2, 10),
    cluster_size: tuple[int, int] = (1, 5),
    drop: tuple[float, float] = (0.2, 0.7),
    batch_size: int = 4,
    random_state: Any = None,
) -> Iterator[Batch]:
    r"""Make sets whose clusters are copies of one text each, without end.

    Parameters
    ----------
    texts : sequence of str, length n
        What copies are made of. All white space becomes single spaces; blank texts and
        duplicates are left out.
    n_clusters : (int, int), default=(2, 10)
        Least and most clusters of a set. No set has more than there are texts.
    cluster_size : (int, int), default=(1, 5)
        Least and most copies in a cluster.
    drop : (float, float), default=(0.2, 0.7)
        Least and largest share of the words that a copy is expected to lose.
    batch_size : int, default=4
        B, sets in a batch.
    random_state : int, RandomState instance or None, default=None
        Determines all sets. It is drawn from at the call, once.

    Returns
    -------
    batches : iterator of (list of str, ndarray of int (T,), ndarray of int (T,))
        The entities of B sets, those of a set in random order; the set of each, 0 to
        B - 1; its cluster in that set, 0, 1, ...

    Raises
    ------
    TypeError
        If ``texts`` is no sequence of str.
    ValueError
        If fewer than two distinct texts are left, or a range is out of bounds.

    See Also
    --------
    skllm_cluster.losses.augmented_triplet_loss : What is trained on such sets.

    Notes
    -----
    The self-supervised task of CACTUS [1]_. Numbers of clusters, their sizes and, for
    each copy, a probability p are drawn uniformly; then each word of the copy is
    dropped with probability p.

    Words are what stands between white space. Chinese, Japanese, Thai, Lao, Khmer and
    Burmese are written without, so that their letters count as words. A text of one
    word is copied as it is.

    The released code makes copies that are empty, and equal copies of different texts.
    Neither is found here:

    - A copy that would lose every word keeps one, drawn uniformly. With m words that
      happens to a share :math:`\mathrm{E}[p^m]` of the copies: 12 % at three words, 1 %
      at seven, 0.1 % at twelve.
    - Equal copies in different clusters are undone: each is its whole text again. Of
      9,000 utterances of nine words that happens to 0.1 % of the copies, and to 2 % if
      they are cut to three.

    Copies within a cluster may be equal, or whole: at three words 20 % are.

    The set number s, counted through all batches, depends on s, ``random_state`` and
    the texts alone: neither on the size of the batches nor on what is drawn elsewhere.
    Tokens are cut by the embedder.

    References
    ----------
    .. [1] S. Tipirneni et al., "Context-aware clustering using large language models",
       2024, appendix B.

    Examples
    --------
    >>> from skllm_cluster.pretraining import word_dropped_sets
    >>> texts = ["block my lost card", "what is the weather like", "play some jazz"]
    >>> batches = word_dropped_sets(texts, batch_size=1, random_state=0)
    >>> entities, groups, labels = next(batches)
    >>> len(entities) == len(groups) == len(labels)
    True
    >>> set(" ".join(entities).split()) <= set(" ".join(texts).split())
    True
    """
    _check_range("n_clusters", n_clusters, Integral, 1, np.inf)
    _check_range("cluster_size", cluster_size, Integral, 1, np.inf)
    _check_range("drop", drop, Real, 0, 1)
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    spaced = (" ".join(text.split()) for text in as_texts(texts, "texts"))
    seeds = [_WORD.findall(text) for text in dict.fromkeys(spaced) if text]
    if len(seeds) < 2:
        raise ValueError(
            f"texts must hold at least 2 distinct texts that are not blank, got "
            f"{len(seeds)}."
        )
    seed = check_random_state(random_state).randint(2**31 - 1)

    def numbered(s: int) -> tuple[list[str], Ints]:
        rng = np.random.default_rng([seed, s])
        return _draw(seeds, n_clusters, cluster_size, drop, rng)

    # Checks are made at the call, and not when the first batch is taken.
    return (
        _joined([numbered(s) for s in range(first, first + batch_size)])
        for first in count(0, batch_size)
    )


def _draw(
    seeds: list[list[str]],
    n_clusters: tuple[int, int],
    cluster_size: tuple[int, int],
    drop: tuple[float, float],
    rng: np.random.Generator,
) -> tuple[list[str], Ints]:
    """Make one set of copies of some texts, which are given as words."""
    k = min(int(rng.integers(*n_clusters, endpoint=True)), len(seeds))
    chosen = rng.choice(len(seeds), k, replace=False)
    sizes = rng.integers(*cluster_size, size=k, endpoint=True)
    labels = rng.permutation(np.repeat(np.arange(k), sizes))
    originals = [seeds[i] for i in chosen[labels]]
    copies = [_copy(words, rng.uniform(*drop), rng) for words in originals]
    return _told_apart(copies, originals, labels), labels


def _copy(words: list[str], p: float, rng: np.random.Generator) -> str:
    """Drop each word with probability p, but not all of them."""
    kept = rng.random(len(words)) >= p
    if not kept.any():
        kept[rng.integers(len(words))] = True
    return "".join(compress(words, kept)).rstrip()


def _told_apart(
    copies: list[str], originals: list[list[str]], labels: Ints
) -> list[str]:
    """Undo copies that equal one of another cluster.

    What is undone may equal a copy that was left. In the end all are whole, and whole
    texts differ.
    """
    while True:
        clusters = defaultdict(set)
        for copy, label in zip(copies, labels, strict=True):
            clusters[copy].add(label)
        undone = [
            copy if len(clusters[copy]) == 1 else "".join(words)
            for copy, words in zip(copies, originals, strict=True)
        ]
        if undone == copies:
            return copies
        copies = undone


def _joined(sets: list[tuple[list[str], Ints]]) -> Batch:
    texts, labels = zip(*sets, strict=True)
    groups = np.repeat(np.arange(len(sets)), [len(each) for each in texts])
    return list(chain.from_iterable(texts)), groups, np.concatenate(labels)


def _check_range(name: str, bounds: Any, kind: type, low: float, high: float) -> None:
    """Check the two ends of a range."""
    pair = isinstance(bounds, (tuple, list)) and len(bounds) == 2
    if not (pair and all(isinstance(x, kind) for x in bounds)) or not (
        low <= bounds[0] <= bounds[1] <= high
    ):
        what = "ints" if kind is Integral else "numbers"
        raise ValueError(
            f"{name} must be two {what} in [{low}, {high}], the smaller first, got "
            f"{bounds!r}."
        )
