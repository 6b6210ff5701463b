"""The chance that a question carries: the same whenever it is asked.

Pure functions.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

__all__ = ["keyed_mistakes", "keyed_order", "keyed_uniform"]


def keyed_uniform(
    seed: int, purpose: str, anchor: str, first: str, second: str
) -> float:
    """Draw the number that belongs to a question.

    It depends on the arguments alone, not on what was drawn before, so a question
    asked again, in another batch or another thread, meets the same chance. The order
    of the two choices does not count.

    Parameters
    ----------
    seed : int
    purpose : str
        At most 16 ASCII characters; draws for different purposes are independent.
    anchor, first, second : str
        The texts of the question.

    Returns
    -------
    uniform : float in [0, 1)

    Examples
    --------
    >>> keyed_uniform(0, "order", "a", "b", "c") == keyed_uniform(
    ...     0, "order", "a", "c", "b"
    ... )
    True
    """
    parts = (str(seed), anchor, *sorted((first, second)))
    return _uniform(_digest(purpose, parts))


def keyed_order(seed: int, texts: Sequence[str]) -> list[int]:
    """Draw the order in which a set is shown.

    It depends on what is in the set and not on how that is ordered, so that two
    orders of a set are shown alike: they are one question.

    Parameters
    ----------
    seed : int
    texts : sequence of str, of length n

    Returns
    -------
    order : list of int, of length n
        The position in ``texts`` of what comes first, second, and so on.

    Examples
    --------
    >>> one, other = ["a", "b", "c"], ["c", "a", "b"]
    >>> [one[i] for i in keyed_order(0, one)] == [
    ...     other[i] for i in keyed_order(0, other)
    ... ]
    True
    """
    drawn = _drawn(seed, "set order", texts)
    return sorted(range(len(texts)), key=drawn.__getitem__)


def keyed_mistakes(
    seed: int,
    texts: Sequence[str],
    labels: Sequence[int],
    accuracy: float,
    *,
    purpose: str = "set",
) -> list[int]:
    """Put some texts of a set into wrong clusters.

    Parameters
    ----------
    seed : int
    texts : sequence of str, of length n
        The set, sorted, so that the mistakes do not depend on the order.
    labels : sequence of int, of length n
        Right clusters 0, 1, ... in the order in which they occur; -1 for none, which
        stays.
    accuracy : float in [0, 1]
        Probability of each text to stay. One that does not goes to another cluster of
        the set; if there is only one, to a new one.
    purpose : str, default="set"
        At most 11 ASCII characters; draws for different purposes are independent.

    Returns
    -------
    labels : list of int, of length n

    Examples
    --------
    >>> keyed_mistakes(0, ["a", "b", "c"], [0, 1, -1], accuracy=0.0)
    [1, 0, -1]
    """
    errs, goes = (_drawn(seed, f"{purpose} {what}", texts) for what in ("errs", "goes"))
    n_clusters, found = max(labels, default=-1) + 1, list(labels)
    for i, label in enumerate(labels):
        if label >= 0 and _uniform(errs[i]) >= accuracy:
            others = [n for n in range(n_clusters) if n != label] or [n_clusters]
            found[i] = others[int(_uniform(goes[i]) * len(others))]
    return found


def _drawn(seed: int, purpose: str, texts: Sequence[str]) -> list[bytes]:
    """Draw bytes for each text of a set; equal texts draw one after the other."""
    whole = _digest(purpose, (str(seed), *sorted(texts))).hex()
    turns: Counter[str] = Counter()
    drawn = []
    for text in texts:
        drawn.append(_digest(purpose, (whole, text, str(turns[text]))))
        turns[text] += 1
    return drawn


def _uniform(drawn: bytes) -> float:
    # 53 bits are what a float holds: rounding cannot reach 1.
    return (int.from_bytes(drawn, "big") >> 11) / 2.0**53


def _digest(purpose: str, parts: Sequence[str]) -> bytes:
    digest = hashlib.blake2b(digest_size=8, person=purpose.encode("ascii"))
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big"))  # "ab", "c" is not "a", "bc"
        digest.update(data)
    return digest.digest()
