"""What a model's likelihoods are asked for, and what they say about a triplet.

Pure functions. A request is a pair (context, continuation), and its value is
log p(continuation | context); whoever computes the values is not known here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .._validation import shorten
from ..protocols import Triplet
from ._kinds import Request
from ._prompts import needs_fence, nouns, triplet_prompt

__all__ = [
    "first_choice_probability",
    "no_score",
    "option_requests",
    "pmi_requests",
    "score_requests",
    "score_triplets",
    "yes_no_requests",
]

Values = Mapping[Request, float]
Nouns = str | tuple[str, str]

_CHOICES = ("Choice 1", "Choice 2")


def option_requests(prompt: str, options: tuple[str, str] = _CHOICES) -> list[Request]:
    r"""Ask how likely each of the two replies to a prompt is.

    Parameters
    ----------
    prompt : str
        Such as one of :func:`triplet_prompt`.
    options : tuple of (str, str), default=("Choice 1", "Choice 2")
        The replies.

    Returns
    -------
    requests : list of (context, continuation), of length 2

    Examples
    --------
    >>> option_requests("1 or 2?")
    [('1 or 2?\n\n', 'Choice 1'), ('1 or 2?\n\n', 'Choice 2')]
    """
    return [(f"{prompt}\n\n", option) for option in options]


def yes_no_requests(prompts: Sequence[str]) -> list[Request]:
    r"""Ask how likely "Yes" and "No" are as replies to the prompts of a pair.

    Parameters
    ----------
    prompts : sequence of str
        With the texts in the one order and in the other.

    Returns
    -------
    requests : list of (context, continuation)

    Examples
    --------
    >>> yes_no_requests(["Same?"])
    [('Same?\n\n', 'Yes'), ('Same?\n\n', 'No')]
    """
    return [r for prompt in prompts for r in option_requests(prompt, ("Yes", "No"))]


def no_score(prompts: Sequence[str], values: Values) -> float:
    r"""Say how probable it is that two texts do not belong together.

    Parameters
    ----------
    prompts : sequence of str
        With the texts in the one order and in the other.
    values : mapping
        log p(continuation | context) in nats for each of :func:`yes_no_requests`.

    Returns
    -------
    no : float in [0, 1]
        By the mean of the log-odds. 0.5 if a likelihood is no finite number.

    Notes
    -----
    The order of the texts does not count. What a model prefers to say whatever it is
    asked does not cancel here, as it does with two choices.

    Examples
    --------
    >>> values = {("Same?\n\n", "Yes"): -3.0, ("Same?\n\n", "No"): -1.0}
    >>> round(no_score(["Same?"], values), 2)
    0.88
    """
    found = [values[request] for request in yes_no_requests(prompts)]
    odds = [no - yes for yes, no in zip(found[::2], found[1::2], strict=True)]
    return first_choice_probability(sum(odds) / len(odds))


def pmi_requests(
    anchor: str, choice: str, *, perspective: str, texts: Nouns
) -> tuple[Request, Request]:
    r"""Ask how likely a choice is after the anchor, and how likely by itself.

    Parameters
    ----------
    anchor, choice : str
        Line breaks and other runs of white space become one space.
    perspective : str
        In what respect the texts are compared, such as "intent".
    texts : str or (str, str)
        What the texts are: a plural, or a singular and its plural.

    Returns
    -------
    with_anchor, without : (context, continuation)
        The difference of their values is the pointwise mutual information.

    Examples
    --------
    >>> for context, continuation in pmi_requests(
    ...     "Where is it?", "Not here yet", perspective="intent", texts="utterances"
    ... ):
    ...     print(repr(context), "->", continuation)
    'Write another utterance with the same intent as this one.\n\nWhere is it?\n\n'
    -> Not here yet
    'Write one utterance.\n\n' -> Not here yet
    """
    singular, _ = nouns(texts)
    context = f"Write another {singular} with the same {perspective} as this one."
    shown = _one_line(choice)
    return (
        (f"{context}\n\n{_one_line(anchor)}\n\n", shown),
        (f"Write one {singular}.\n\n", shown),
    )


def first_choice_probability(margin: float, scale: float = 1.0) -> float:
    r"""Turn a difference of log-likelihoods into a probability.

    Parameters
    ----------
    margin : float
        By how many nats the evidence for the first choice exceeds that for the second.
    scale : float, default=1.0
        What the margin is divided by; less than 1 counts as 1.

    Returns
    -------
    probability : float in [0, 1]
        :math:`1 / (1 + e^{-margin / scale})`. 0.5 if the margin is no finite number.

    Examples
    --------
    >>> first_choice_probability(0.0), first_choice_probability(float("nan"))
    (0.5, 0.5)
    >>> round(first_choice_probability(8.0, scale=8.0), 2)
    0.73
    """
    if not math.isfinite(margin) or not math.isfinite(scale):
        return 0.5
    # tanh does not overflow, and of -x it is exactly the opposite.
    return 0.5 + 0.5 * math.tanh(0.5 * margin / max(scale, 1.0))


def score_requests(
    form: str,
    triplets: Sequence[Triplet],
    *,
    perspective: str,
    texts: Nouns,
) -> list[Request]:
    """Gather what has to be computed to score triplets.

    Parameters
    ----------
    form : {"options", "pmi"}
        See :func:`score_triplets`.
    triplets : sequence of (anchor, choice 1, choice 2), all str, of length Q
    perspective : str
        In what respect the texts are compared, such as "intent".
    texts : str or (str, str)
        What the texts are: a plural, or a singular and its plural.

    Returns
    -------
    requests : list of (context, continuation)
        None twice, in the order in which they are first needed. What a text is worth
        by itself is needed once, in however many triplets it is.

    Raises
    ------
    ValueError
        If ``form`` is neither.

    Examples
    --------
    >>> triplets = [("a", "b", "c"), ("b", "a", "c")]
    >>> len(score_requests("pmi", triplets, perspective="intent", texts="texts"))
    9
    """
    requests_of, _ = _form(form)
    found: dict[Request, None] = {}
    for triplet in triplets:
        found |= dict.fromkeys(requests_of(triplet, perspective, texts))
    return list(found)


def score_triplets(
    form: str,
    triplets: Sequence[Triplet],
    values: Values,
    *,
    perspective: str,
    texts: Nouns,
) -> NDArray[np.float64]:
    r"""Say how probable it is that the first choice is the closer one.

    Parameters
    ----------
    form : {"options", "pmi"}
        "options": how likely the replies "Choice 1" and "Choice 2" are. "pmi": how
        much likelier a text becomes by another, see Notes.
    triplets : sequence of (anchor, choice 1, choice 2), all str, of length Q
    values : mapping
        log p(continuation | context) in nats for each of :func:`score_requests`.
    perspective : str
        In what respect the texts are compared, such as "intent".
    texts : str or (str, str)
        What the texts are: a plural, or a singular and its plural.

    Returns
    -------
    first : ndarray of float, shape (Q,)
        Probability in [0, 1] that choice 1 is closer, given that one of them is.
        Exactly 0.5 where nothing can be said: choices that are equal, an empty text
        ("pmi"), a likelihood that is no finite number. Swapping the choices gives one
        minus it.

    Raises
    ------
    ValueError
        If ``form`` is neither.

    Notes
    -----
    "options": with :math:`d` the log-odds of "Choice 1" against "Choice 2", and
    :math:`d'` those with the choices in the other order, the log-odds of the first
    choice are :math:`(d - d') / 2`. What a model adds for a position cancels.

    "pmi": mutual information is symmetric, a model's estimates of it are not, so both
    directions are added up,

    .. math::
        m_i = \log \frac{p(c_i \mid a)}{p(c_i)} + \log \frac{p(a \mid c_i)}{p(a)},

    and the log-odds are :math:`(m_1 - m_2) / \sqrt{H}`, where :math:`H = -\log p(a) -
    \log p(c_1) - \log p(c_2)` is how surprising the texts are by themselves: a sum of
    many tokens' log-probabilities strays by about the root of their surprise. The rule
    has no constant to fit, and knows no question but the one at hand. The undivided
    difference is 10 nats on average for SmolLM2-135M-Instruct, a confidence of 0.95 in
    answers of which 0.71 are right; divided, the confidence is 0.68.

    How that model fares on 1,024 entropy triplets, counting those that the labels
    determine, beside the cosine similarity of MiniLM: Bank77 0.715 (MiniLM 0.685),
    MASSIVE intents 0.693 (0.670), GoEmotions 0.538 (0.527), with standard errors of 2,
    2 and 4 points. On emotions it is no better than chance, whatever its confidence
    says there. The wording, the sum over tokens (rather than the mean) and the two
    directions were chosen with the labels of Bank77, from 17 wordings and 6 ways to
    count; no label of the others was looked at. There, two directions gained 1 to 5
    points on one; plain contexts were right on 0.65 to 0.69, instructions in the chat
    template on 0.68 to 0.72; naming the perspective made no difference.

    Examples
    --------
    A model to which "b" is likely after "a", and everything else is the same:

    >>> triplets, wording = (
    ...     [("a", "b", "c")],
    ...     {"perspective": "topic", "texts": "texts"},
    ... )
    >>> values = {
    ...     (context, text): -1.0 if "\na\n" in context and text == "b" else -4.0
    ...     for context, text in score_requests("pmi", triplets, **wording)
    ... }
    >>> score_triplets("pmi", triplets, values, **wording).round(2)
    array([0.7])
    """
    _, probability_of = _form(form)
    found = [probability_of(t, values, perspective, texts) for t in triplets]
    return np.array(found, dtype=np.float64)  # (Q,)


def _pmi_requests(triplet: Triplet, perspective: str, texts: Nouns) -> list[Request]:
    anchor, first, second = triplet
    if not all(text.strip() for text in triplet):
        return []
    pairs = [(anchor, first), (anchor, second), (first, anchor), (second, anchor)]
    return [
        request
        for given, text in pairs
        for request in pmi_requests(given, text, perspective=perspective, texts=texts)
    ]


def _pmi_probability(
    triplet: Triplet, values: Values, perspective: str, texts: Nouns
) -> float:
    requests = _pmi_requests(triplet, perspective, texts)
    if not requests:
        return 0.5
    # For (a, c1), (a, c2), (c1, a), (c2, a): with the other text, and without.
    after = [values[request] for request in requests[::2]]
    alone = [values[request] for request in requests[1::2]]
    gains = [a - b for a, b in zip(after, alone, strict=True)]
    margin = (gains[0] + gains[2]) - (gains[1] + gains[3])
    surprise = max(-(alone[0] + alone[1] + alone[2]), 0.0)  # of c1, c2 and a
    return first_choice_probability(margin, math.sqrt(surprise))


def _option_requests(triplet: Triplet, perspective: str, texts: Nouns) -> list[Request]:
    anchor, first, second = triplet
    prompts = [
        triplet_prompt(
            anchor, *shown, perspective=perspective, texts=texts,
            fence=needs_fence(*triplet),
        )
        for shown in ((first, second), (second, first))
    ]  # fmt: skip
    return [request for prompt in prompts for request in option_requests(prompt)]


def _option_probability(
    triplet: Triplet, values: Values, perspective: str, texts: Nouns
) -> float:
    requests = _option_requests(triplet, perspective, texts)
    one, two, swapped_one, swapped_two = (values[request] for request in requests)
    return first_choice_probability(((one - two) - (swapped_one - swapped_two)) / 2)


_Form = tuple[
    Callable[[Triplet, str, Nouns], list[Request]],
    Callable[[Triplet, Values, str, Nouns], float],
]
_FORMS: dict[str, _Form] = {
    "options": (_option_requests, _option_probability),
    "pmi": (_pmi_requests, _pmi_probability),
}


def _form(form: str) -> _Form:
    if form not in _FORMS:
        raise ValueError(
            f"form must be one of {tuple(_FORMS)}, got {shorten(form)} instead."
        )
    return _FORMS[form]


def _one_line(text: str) -> str:
    return " ".join(text.split())
