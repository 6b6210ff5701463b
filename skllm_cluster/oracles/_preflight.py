"""Whether an oracle is worth asking, from a few questions put in both orders."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._kinds import Texts

__all__ = ["complaint", "judge_pair_pilot", "judge_pilot", "run_pilot", "verdict"]

# Wald's sequential test between an oracle that answers alike in both orders by chance
# alone and one half as far from it as always: for two choices, one that names the same
# text three times out of four. Each mistake at most 2 %.
CHANCE, MISTAKE = 0.5, 0.02
FEWEST_USABLE = 0.1
# Where the verdict is open, the pilot is made larger, at most so many times, and while
# it is a small part of what is to be asked.
GROWTH = (1, 2, 4)
SHARE = 1 / 4
#: Stands in a pilot's answers for "neither or both".
NEITHER = -2


def run_pilot(
    questions: Sequence[Texts],
    expected: NDArray[np.intp] | None,
    *,
    size: int,
    ask: Callable[[list[Texts], bool], NDArray[np.intp]],
    judge: Callable[..., dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Put questions in both orders until it is clear whether they are understood.

    Parameters
    ----------
    questions : sequence of tuple of str, of length Q
        Triplets or pairs; the pilot is drawn from them.
    expected : ndarray of int, shape (Q,), or None
        What the embedder would answer.
    size : int
        Questions in the first pilot.
    ask : callable
        From questions, and whether they are shown in the other order, to answers,
        with NEITHER.
    judge : callable, optional
        Sums them up. None: :func:`judge_pilot`, for triplets.

    Returns
    -------
    report : dict
        Of ``judge``.
    """
    report: dict[str, Any] = {}
    most = min(len(questions), max(size, int(SHARE * len(questions))))
    drawn = np.random.RandomState(0).permutation(len(questions))  # a fixed choice
    for growth in GROWTH:
        n = min(growth * size, most)
        rows = drawn[:n]  # a larger pilot goes on from the smaller one
        pilot = [questions[i] for i in rows]
        report = (judge or judge_pilot)(
            ask(pilot, False),
            ask(pilot, True),
            None if expected is None else expected[rows],
        )
        if report["verdict"] != "open" or n == most:
            break
    return report


def complaint(report: dict[str, Any], first_unusable_reply: str | None) -> str | None:
    """Say what is wrong with an oracle that shows no sense; None if nothing is."""
    n, help_ = report["n_questions"], "Try another model or wording, or order='both'."
    of_pairs = "yes_rate" in report
    # Without any such reply, questions were not answered at all, as a budget has it.
    if report["verdict"] == "none" and first_unusable_reply is not None:
        return (
            f"The oracle gave hardly any usable answer to {n} questions put in both "
            f"orders ({report['n_unusable']} of {2 * n} replies are no "
            f"{'answer' if of_pairs else 'choice'}); the first such reply was "
            f"{first_unusable_reply!r}. {help_}"
        )
    if report["verdict"] != "chance":
        return None
    flipped = f"{report['flip_rate']:.0%} of them"
    if of_pairs:
        found = (
            f"it gives another answer in {flipped}, and says Yes in "
            f"{report['yes_rate']:.0%} of its replies"
        )
    else:
        found = (
            f"it names another text in {flipped}, and the choice shown first in "
            f"{report['first_choice_rate']:.0%} of its replies"
        )
    return (
        f"The oracle is not better than chance: asked {n} questions in both orders, "
        f"{found}. {help_}"
    )


def verdict(n_same: int, n_flipped: int, chance: float = CHANCE) -> str:
    """Tell sense from chance.

    Parameters
    ----------
    n_same, n_flipped : int
        Questions to which both orders brought the same answer, and another one.
    chance : float in (0, 1], default=0.5
        How often they bring the same by chance.

    Returns
    -------
    verdict : {"sound", "chance", "open"}
        "open": more questions are needed to tell.

    Examples
    --------
    >>> verdict(27, 3), verdict(15, 15), verdict(0, 30), verdict(20, 10)
    ('sound', 'chance', 'chance', 'open')
    """
    if chance == 1.0 and n_same:
        return "sound"  # one answer to everything contradicts itself nowhere
    # Likelihoods under (1 + chance) / 2 against those under chance.
    evidence = n_same * math.log((1 + chance) / (2 * chance)) - n_flipped * math.log(2)
    threshold = math.log((1 - MISTAKE) / MISTAKE)
    if abs(evidence) < threshold:
        return "open"
    return "sound" if evidence > 0 else "chance"


def judge_pilot(
    given: NDArray[np.intp],
    swapped: NDArray[np.intp],
    expected: Sequence[int] | NDArray[np.intp] | None = None,
) -> dict[str, Any]:
    """Sum up questions that were put in both orders.

    Parameters
    ----------
    given, swapped : ndarray of int, shape (n,)
        Answers with the choices in the order given and the other way round. Both name
        choices by the order given; NEITHER is one, too, and -1 is no usable answer.
    expected : array-like of int, shape (n,), optional
        What the embedder would answer.

    Returns
    -------
    report : dict
        ``n_questions``; of twice as many replies, ``n_unusable`` that are no answer,
        and ``n_neither``;
        ``flip_rate``, how often the other order brings the other text;
        ``first_choice_rate``, how often the choice shown first is taken, 0.5 being
        fair; ``embedder_agreement``; and ``verdict``, "none" if hardly anything is
        usable. A rate of nothing is None.
    """
    both = (given >= 0) & (swapped >= 0)
    same = int(np.count_nonzero(given[both] == swapped[both]))
    flipped = int(np.count_nonzero(both)) - same
    shown_first = np.concatenate([given[given >= 0] == 0, swapped[swapped >= 0] == 1])
    agreement = None
    if expected is not None:
        twice = np.concatenate([np.asarray(expected)] * 2)
        answers = np.concatenate([given, swapped])
        agreement = _share((answers == twice)[answers >= 0])
    n_neither = int((given == NEITHER).sum() + (swapped == NEITHER).sum())
    usable = len(shown_first) + n_neither
    few = usable < max(1.0, FEWEST_USABLE * 2 * len(given))
    return {
        "n_questions": len(given),
        "n_unusable": 2 * len(given) - usable,
        "n_neither": n_neither,
        "flip_rate": flipped / (same + flipped) if same + flipped else None,
        "first_choice_rate": _share(shown_first),
        "embedder_agreement": agreement,
        "verdict": "none" if few else verdict(same, flipped),
    }


def judge_pair_pilot(
    given: NDArray[np.intp],
    swapped: NDArray[np.intp],
    expected: Sequence[int] | NDArray[np.intp] | None = None,
) -> dict[str, Any]:
    """Sum up pairs that were put in both orders.

    Parameters
    ----------
    given, swapped : ndarray of int, shape (n,)
        Answers with the texts in the order given and the other way round: 1 same, 0
        different, -1 no usable answer.
    expected : array-like of int, shape (n,), optional
        What the embedder would answer.

    Returns
    -------
    report : dict
        ``n_questions``; of twice as many replies, ``n_unusable`` that are no answer;
        ``flip_rate``, how often the other order brings the other answer;
        ``yes_rate``, of the usable replies; ``embedder_agreement``; and ``verdict``.

    Notes
    -----
    Who says Yes to one pair in ten at random contradicts himself no more than 18 times
    in 100, so chance is what the rate of Yes makes it. Who gives one answer to
    everything contradicts himself nowhere: that is "sound" here, and for the criterion
    to explain.
    """
    both = (given >= 0) & (swapped >= 0)
    same = int(np.count_nonzero(given[both] == swapped[both]))
    flipped = int(np.count_nonzero(both)) - same
    usable = np.concatenate([given, swapped])
    agreement = None
    if expected is not None:
        twice = np.concatenate([np.asarray(expected)] * 2)
        agreement = _share((usable == twice)[usable >= 0])
    usable = usable[usable >= 0]
    few = len(usable) < max(1.0, FEWEST_USABLE * 2 * len(given))
    yes = _share(np.concatenate([given[both], swapped[both]]) == 1) or 0.0
    chance = yes**2 + (1 - yes) ** 2
    return {
        "n_questions": len(given),
        "n_unusable": 2 * len(given) - len(usable),
        "flip_rate": flipped / (same + flipped) if same + flipped else None,
        "yes_rate": _share(usable == 1),
        "embedder_agreement": agreement,
        "verdict": "none" if few else verdict(same, flipped, chance),
    }


def _share(hits: NDArray[np.bool_]) -> float | None:
    return float(np.mean(hits)) if len(hits) else None
