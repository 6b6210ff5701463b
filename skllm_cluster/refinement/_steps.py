"""The steps of refining that look at all answers at once."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from ._distil import Distilled, distil
from ._features import Features
from ._interview import N_EXEMPLARS, NONE, Interview
from ._refinement import Refinement
from ._settling import split_to
from ._verdict import Verdict

__all__ = [
    "base_of",
    "can_learn",
    "choose_exemplars",
    "conclude",
    "fall_back",
    "know",
    "learn_classes",
]

logger = logging.getLogger(__name__)

Ints = NDArray[np.intp]

# How sure a classifier has to be of a text that stands for a group.
SURE = 0.7


def know(interview: Interview, features: Features, labels: Ints | None) -> None:
    """Begin with the classes of labelled texts, for which nothing is asked."""
    if labels is None:
        return
    for label in np.unique(labels[labels >= 0]):
        rows = np.flatnonzero(labels == label)
        center = features.unit[rows].mean(axis=0)
        typical = rows[np.argsort(-(features.unit[rows] @ center), kind="stable")]
        number = interview.classes.add(exemplars=typical[:N_EXEMPLARS].tolist())
        for row in rows.tolist():
            interview.learn(row, number)
        interview.known.update(rows.tolist())


def can_learn(interview: Interview) -> bool:
    return len(np.unique(interview.answered()[1])) > 1


def learn_classes(
    interview: Interview, features: Features, seed: int, **how: Any
) -> Distilled:
    rows, answers, weights = interview.answered()
    return distil(
        features, rows, answers, len(interview.classes), weights=weights, seed=seed,
        **how,
    )  # fmt: skip


def choose_exemplars(interview: Interview, found: Distilled, kind: str) -> None:
    """Show each class by the texts that are most certainly in it."""
    rows, answers, _ = interview.answered()
    for number, shown in enumerate(interview.classes.exemplars):
        mine = np.flatnonzero(answers == number)
        sure = found.held_out[mine, number]
        order = np.argsort(-sure, kind="stable")
        if kind == "categories":
            best = list(dict.fromkeys(rows[mine[order]].tolist()))
            interview.classes.exemplars[number] = best[:N_EXEMPLARS]
            continue
        # The founder stays: a group whose texts are all exchanged becomes another.
        best = rows[mine[order[sure[order] > SURE]]].tolist()
        founder = shown[:1]  # a class that has a name may have none
        more = [i for i in dict.fromkeys(best) if i not in founder]
        if len(founder) + len(more) >= N_EXEMPLARS:
            interview.classes.exemplars[number] = [*founder, *more][:N_EXEMPLARS]


def base_of(features: Features, seed: int) -> Callable[[int], Ints]:
    def cluster(k: int) -> Ints:
        model = KMeans(min(k, len(features.smooth)), n_init=10, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            labels = np.asarray(model.fit_predict(features.smooth), np.intp)
        return split_to(labels, features.smooth, features.unit, k=k, seed=seed)

    return cluster


def fall_back(
    features: Features,
    interview: Interview,
    n_clusters: int | None,
    base: Callable[[int], Ints] | None,
    seed: int,
) -> Refinement:
    """Fall back on clusters that nothing was asked for, since there are no answers."""
    if n_clusters is None:
        raise ValueError(
            f"Of {interview.spent:,} questions, too few have a usable answer to tell "
            "how many clusters there are. Check the perspective, try another model, or "
            "give n_clusters."
        )
    warnings.warn(
        f"Of {interview.spent:,} questions, too few have a usable answer; the clusters "
        "are those of the embeddings.",
        UserWarning,
        stacklevel=4,
    )
    refinement = Refinement.of_base(
        features, (base or base_of(features, seed))(n_clusters)
    )
    refinement.report = {
        "asked": interview.spent, **interview.counts, "classes": len(interview.classes),
        "kept": False,
    }  # fmt: skip
    return refinement


def conclude(
    refinement: Refinement,
    interview: Interview,
    found: Distilled,
    judged: Verdict,
    kind: str,
    base_labels: Ints,
) -> Refinement:
    """Keep what was found, or what was there before."""
    if not judged.kept:
        refinement = Refinement.of_base(refinement._features, base_labels)
    refinement.rows_ = np.array(interview.rows, dtype=np.intp)
    refinement.answers_ = np.array(interview.answers, dtype=np.intp)
    last = dict(zip(interview.rows, interview.answers, strict=True))
    refinement.nowhere_ = refinement._features.nearest_answers(
        np.array(list(last), dtype=np.intp), np.array(list(last.values())) == NONE
    )
    refinement.report = {
        "kind": kind, "asked": interview.spent, "left": interview.left,
        **interview.counts, "none": len(interview.unplaced()),
        "classes": len(interview.classes), "accuracy": found.accuracy,
        **judged._asdict(),
    }  # fmt: skip
    # Money was spent for nothing: that is said even where nothing is logged.
    level = logging.INFO if judged.kept else logging.WARNING
    what = "refined" if judged.kept else "answers not kept, clusters are the base"
    logger.log(level, "%s: %s", what, refinement.report)
    return refinement
