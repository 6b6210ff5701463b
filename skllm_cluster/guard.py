"""Whether answers should change the embedding at all."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm, ttest_1samp
from sklearn.utils import check_random_state

__all__ = ["adapt_guarded", "cross_fit", "held_out_accuracy"]

# Fewer usable answers than these cannot be split in two and learnt from.
MIN_ANSWERS = 20
# How significant a gain has to be once it is known that the answers say something:
# they are few and noisy, and a change for nothing does little harm.
GAIN_LEVEL = 0.1


def adapt_guarded(
    adapter: Any,
    embedder: Any,
    texts: Sequence[str],
    embeddings: NDArray[Any],
    triplets: NDArray[np.intp],
    *,
    level: float | None,
    weights: NDArray[Any] | None = None,
    random_state: Any = None,
) -> tuple[Any, dict[str, Any]]:
    """Adapt to answers, unless answers that were held out do not speak for it.

    They do if they are no coin flips, ``p_coin`` being below ``level``, and if the
    change goes their way: more of them are predicted, and ``p_value`` is below 0.1.

    Parameters
    ----------
    adapter : FineTuner, MetricHead or another object with ``adapt``
        If it has ``fit_map`` too, it learns from the embeddings, and nothing is
        embedded again.
    embedder : Embedder or None
        None: there are embeddings only, for an adapter with ``fit_map``.
    texts : sequence of str, of length n
    embeddings : ndarray of shape (n, d)
        Of ``embedder``.
    triplets : ndarray of int, shape (Q, 3)
        (anchor, the choice taken, the choice left).
    level : float or None
        The probability, at most, of learning from coin flips. None: without a test.
    weights : ndarray of shape (Q,), default=None
        What each answer counts in training and in the test; only their ratios matter.
        Answers that count 0 are left out of both. The adapter is given those of its
        answers as ``weights=``. If it has no such keyword, all count alike.
    random_state : int, RandomState instance or None, default=None
        Determines the halves and the training.

    Returns
    -------
    tuned : Embedder or None
        None if the embedder is to stay as it was. Without an embedder, what
        ``fit_map`` returned.
    report : dict
        ``"answers"``, how many count; ``"kept"``; and what :func:`cross_fit` saw.

    Warns
    -----
    UserWarning
        If there are fewer than 20 answers, or all are about one anchor: the embedder
        stays as it was. If the adapter knows no weights.

    Examples
    --------
    >>> import numpy as np
    >>> from skllm_cluster.adaptation import FineTuner
    >>> from skllm_cluster.embedders import HashingEmbedder
    >>> from skllm_cluster.guard import adapt_guarded
    >>> texts = [f"{word} {i}" for word in ("card", "loan") for i in range(10)]
    >>> embedder = HashingEmbedder()
    >>> coins = np.random.default_rng(0).permuted(np.tile(range(20), (60, 1)), axis=1)
    >>> tuned, report = adapt_guarded(
    ...     FineTuner(),
    ...     embedder,
    ...     texts,
    ...     embedder.encode(texts),
    ...     coins[:, :3],  # answers that say nothing
    ...     level=0.0025,
    ...     random_state=0,
    ... )
    >>> tuned is None, report["kept"]
    (True, False)
    """
    rng = check_random_state(random_state)
    triplets, weights = _counted(triplets, weights)
    if weights is not None and not _takes_weights(adapter):
        warnings.warn(
            f"{type(adapter).__name__}.adapt takes no weights=, so all answers count "
            "alike, whatever the oracle's confidence.",
            UserWarning,
            stacklevel=3,
        )
        weights = None
    report: dict[str, Any] = {"answers": len(triplets), "kept": False}
    n_anchors = len(np.unique(triplets[:, 0]))
    if len(triplets) < MIN_ANSWERS or n_anchors < 2:
        warnings.warn(
            f"{len(triplets)} usable answers about {n_anchors} anchors are too few to "
            f"learn from (at least {MIN_ANSWERS} about 2); the embedder is left as it "
            "was.",
            UserWarning,
            stacklevel=3,
        )
        return None, report
    if level is not None:
        report |= cross_fit(
            adapter, embedder, texts, embeddings, triplets,
            weights=weights, random_state=rng,
        )  # fmt: skip
        better = report["accuracy_after"] > report["accuracy_before"]
        gained = better and report["p_value"] < GAIN_LEVEL
        if not (gained and report["p_coin"] < level):
            return None, report
    tuned = _adapt(adapter, embedder, texts, embeddings, triplets, weights, rng)
    return tuned, report | {"kept": True}


def cross_fit(
    adapter: Any,
    embedder: Any,
    texts: Sequence[str],
    embeddings: NDArray[Any],
    triplets: NDArray[np.intp],
    *,
    weights: NDArray[Any] | None = None,
    random_state: Any = None,
) -> dict[str, Any]:
    r"""Test on held-out answers whether adapting to answers pays.

    The answers are split in two, no anchor being in both halves. The embedder is
    adapted to each half and judged by the other, so every answer is held out once.

    Parameters
    ----------
    adapter : FineTuner, MetricHead or another object with ``adapt``
    embedder : Embedder or None
        None: there are embeddings only, as for :func:`adapt_guarded`.
    texts : sequence of str, of length n
    embeddings : ndarray of shape (n, d)
        Of ``embedder``.
    triplets : ndarray of int, shape (Q, 3)
        (anchor, the choice taken, the choice left).
    weights : ndarray of shape (Q,), default=None
        What each answer counts, as for :func:`adapt_guarded`.
    random_state : int, RandomState instance or None, default=None
        Determines the halves and the training.

    Returns
    -------
    report : dict
        ``"accuracy_before"``, ``"accuracy_after"``: share of the held-out answers that
        cosine similarity agrees with, each counting as much as its weight.
        ``"p_value"``: probability of such a change if the answers said nothing.
        ``"p_coin"``: the same of the change or the accuracy, whichever is less likely,
        doubled.

    Notes
    -----
    With :math:`m_i = s(a_i, p_i) - s(a_i, n_i)` the margin by which an embedding
    agrees with an answer, divided by its root mean square, the test is Student's,
    one-sided, on :math:`m_i^{\text{after}} - m_i^{\text{before}}`. If answers were coin
    flips, each difference would have either sign equally often. Counting the answers
    about which the two embeddings differ (McNemar's test) would use but a tenth of the
    answers, and see far less.

    That answers are no coin flips can show in the change, or in how many of those held
    out are predicted (a binomial test against one half): an oracle that sees things
    much as the embedding does agrees with it, one that sees them otherwise changes it.

    With weights, each difference and each prediction is multiplied by its own. That
    sees more, and takes no more risk: whatever the weights are, even if they depend on
    the margins, a coin's answers have either sign equally often. But it takes the
    oracle's word for how sure it is. If it errs most where it is surest, what is learnt
    and what it is tested on err together, as they do for any oracle that is wrong
    consistently.

    Examples
    --------
    >>> import numpy as np
    >>> from skllm_cluster.adaptation import FineTuner
    >>> from skllm_cluster.embedders import HashingEmbedder
    >>> from skllm_cluster.guard import cross_fit
    >>> texts = [f"{word} {i}" for word in ("card", "loan") for i in range(10)]
    >>> embedder = HashingEmbedder()
    >>> number = np.arange(10)  # answers go by the number, not by the word
    >>> triplets = [
    ...     np.stack([number, number + 10, (number + step) % 10], axis=1)
    ...     for step in range(1, 10)
    ... ]
    >>> report = cross_fit(
    ...     FineTuner(learning_rate=0.01),
    ...     embedder,
    ...     texts,
    ...     embedder.encode(texts),
    ...     np.concatenate(triplets),
    ...     random_state=0,
    ... )
    >>> report["accuracy_before"] < report["accuracy_after"]
    True
    >>> report["p_value"] < 0.0025
    True
    """
    rng = check_random_state(random_state)
    triplets, weights = _counted(triplets, weights)
    anchors = np.unique(triplets[:, 0])
    half = dict(zip(anchors, rng.permutation(len(anchors)) % 2, strict=True))
    fold = np.array([half[anchor] for anchor in triplets[:, 0]])
    before = _margins(embeddings, triplets)
    after, change = np.empty_like(before), np.empty_like(before)
    for held_out in (fold == 0, fold == 1):
        theirs = None if weights is None else weights[~held_out]
        if hasattr(adapter, "fit_map"):
            embedder = None  # it would only make the same embeddings again
        adapted = _adapt(
            adapter, embedder, texts, embeddings, triplets[~held_out], theirs, rng
        )
        used, place = np.unique(triplets[held_out], return_inverse=True)
        if embedder is None:
            z = adapted.transform(embeddings[used])
        else:
            z = np.asarray(adapted.encode([texts[i] for i in used]))
        after[held_out] = _margins(z, place.reshape(-1, 3))
        change[held_out] = _scaled(after[held_out]) - _scaled(before[held_out])
    if weights is not None:
        change *= weights
    if np.ptp(change) == 0:
        p_value = 1.0  # nothing was learnt at all
    else:
        p_value = float(ttest_1samp(change, 0, alternative="greater").pvalue)
    return {
        "accuracy_before": float(np.average(before > 0, weights=weights)),
        "accuracy_after": float(np.average(after > 0, weights=weights)),
        "p_value": p_value,
        "p_coin": min(1.0, 2 * min(p_value, _p_of_coins(after > 0, weights))),
    }


def held_out_accuracy(report: dict[str, Any]) -> float:
    """Say how well the embedding that was kept agrees with answers held out from it.

    Parameters
    ----------
    report : dict
        ``guard_report_`` of an estimator.

    Returns
    -------
    accuracy : float in [0, 1]
        Of the last round.

    Raises
    ------
    ValueError
        If no answers were held out.

    Examples
    --------
    >>> from skllm_cluster.guard import held_out_accuracy
    >>> last = {"kept": False, "accuracy_before": 0.6, "accuracy_after": 0.5}
    >>> held_out_accuracy({"kept": 0, "rounds": [last]})
    0.6
    """
    judged = [r for r in report["rounds"] if "accuracy_after" in r]
    if not judged:
        raise ValueError(
            "score needs y, since no answer was held out: there was no oracle, "
            "guard=None, or too few answers."
        )
    last = judged[-1]
    return float(last["accuracy_after" if last["kept"] else "accuracy_before"])


def _counted(
    triplets: NDArray[np.intp], weights: NDArray[Any] | None
) -> tuple[NDArray[np.intp], NDArray[Any] | None]:
    """Leave out the answers that count nothing; equal weights are no weights."""
    if weights is None:
        return triplets, None
    weights = np.asarray(weights)
    # Wrong weights, negative ones and NaN, stay in, for the adapter to refuse.
    triplets, weights = triplets[weights != 0], weights[weights != 0]
    equal = len(weights) and (weights == abs(weights[0])).all()
    return triplets, None if equal else weights


def _takes_weights(adapter: Any) -> bool:
    parameters = inspect.signature(adapter.adapt).parameters.values()
    return any(p.name == "weights" or p.kind is p.VAR_KEYWORD for p in parameters)


def _p_of_coins(predicted: NDArray[np.bool_], weights: NDArray[Any] | None) -> float:
    """Probability that as many coin flips, or of as much weight, are predicted."""
    if weights is None:
        hits = int(np.count_nonzero(predicted))
        return float(binomtest(hits, len(predicted), 0.5, alternative="greater").pvalue)
    # A sum of weights whose signs are coin flips is about normal; where few weights
    # make it up, its tails are lighter.
    signed = np.where(predicted, weights, -weights)
    return float(norm.sf(signed.sum() / np.sqrt((weights**2).sum())))


def _adapt(
    adapter: Any,
    embedder: Any,
    texts: Sequence[str],
    embeddings: NDArray[Any],
    triplets: NDArray[np.intp],
    weights: NDArray[Any] | None,
    rng: np.random.RandomState,
) -> Any:
    # An adapter that knows no weights will do where there are none.
    given = {} if weights is None else {"weights": weights}
    if embedder is None:
        return adapter.fit_map(embeddings, triplets, random_state=rng, **given)
    if hasattr(adapter, "fit_map"):
        given["embeddings"] = embeddings
    return adapter.adapt(embedder, texts, triplets, random_state=rng, **given)


def _margins(z: NDArray[Any], triplets: NDArray[np.intp]) -> NDArray[np.float64]:
    """Cosine similarity to the choice taken, less that to the one left; (Q,)."""
    z = np.asarray(z, dtype=np.float64)
    z = z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    anchor, taken, left = z[triplets.T]
    return np.asarray(np.einsum("qd,qd->q", anchor, taken - left))


def _scaled(margins: NDArray[np.float64]) -> NDArray[np.float64]:
    return margins / max(float(np.sqrt(np.mean(margins**2))), 1e-12)
