"""How a reply is read: what it answers, and how sure the model was of it.

Pure functions; what was asked is in ``_prompts.py``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from ..protocols import Reply

__all__ = [
    "AROUND",
    "CHOICE",
    "YES_NO",
    "Reading",
    "Tally",
    "alone",
    "answer_of",
    "choice_probability",
    "no_probability",
    "parse_choice",
    "parse_yes_no",
    "says_neither",
    "thoughts_before",
]


#: From replies by key to what a report counts of them, by name, and to those of them
#: that are no answer.
Tally = Callable[[Mapping[str, Reply]], tuple[dict[str, int], list[Reply]]]


class Reading(NamedTuple):
    """How the replies to one kind of question are read."""

    #: From a reply's text to 0 or 1, or -1 for no usable answer.
    parse: Callable[[object], int]
    #: From a reply to the probability of the answer 0, None where that is not known.
    probability: Callable[[Reply], float | None]
    #: Whether a reply says that none of the answers is right.
    says_neither: Callable[[object], bool]
    #: Whether answers name places, so that the other order of the texts turns them.
    names_places: bool
    #: The answer that is counted in a report, and under which name.
    counted: tuple[int, str]

    def tally(self, replies: Mapping[str, Reply]) -> tuple[dict[str, int], list[Reply]]:
        """Count replies: a :data:`Tally`."""
        answers = [(self.parse(reply.text), reply) for reply in replies.values()]
        none = [reply for answer, reply in answers if answer < 0]
        unusable = [reply for reply in none if not self.says_neither(reply.text)]
        counted, name = self.counted
        return {
            "n_usable": len(answers) - len(none),
            "n_neither": len(none) - len(unusable),
            name: sum(answer == counted for answer, _ in answers),
        }, unusable


def thoughts_before(answer: str) -> re.Pattern[str]:
    """Match thoughts before the answer, from servers that do not part the two.

    Some templates open them in the prompt, so that the reply holds only their end;
    that has to end a line and not follow an answer, so that a text that is quoted
    cannot pose as it.
    """
    return re.compile(
        r"<(think|thinking)>.*</\1>|\[THINK\].*\[/THINK\]"
        rf"|(?!\W*{answer}).*</think>\s*\n"
        r"|<\|channel\|>(?:analysis.*<\|channel\|>)?final<\|message\|>",
        re.DOTALL,
    )


_BEFORE_CHOICE = thoughts_before("[Cc]hoice")
_BEFORE_YES_NO = thoughts_before(r"(?i:yes|no)\b")
_ASCII = str.maketrans(  # full-width digits, signs and brackets
    "\uff11\uff12\uff1a\uff0e\u3002\uff01\uff08\uff09\u300c\u300d\u3010\u3011",
    "12:..!()[][]",
)

# What may stand around an answer: quotes, brackets, Markdown, a word that announces
# it, and tokens that end a turn. No two of these patterns can match the same text in
# two ways, so that reading is linear even for a hostile reply.
AROUND = r"\s\"'`*_#$“”\u2018\u2019«»()\[\]{}<>"
_ANNOUNCED = (
    r"(?:json|<answer>|\\boxed|(?:(?:the|my)\s+)?(?:(?:final|correct|best|better)\s+)?"
    rf"(?:answer|choice|option|response)[{AROUND}]*(?::|=|is\b:?))"
)
_TURN_ENDS = r"<(?:/s|/answer|eos|end_of_turn|[|\uff5c][a-z_▁]+[|\uff5c])>"


def alone(answer: str) -> re.Pattern[str]:
    """Match a reply that is an answer and nothing else."""
    return re.compile(
        rf"[{AROUND}]*(?:{_ANNOUNCED}[{AROUND}]*){{0,2}}(?:{answer})"
        rf"[{AROUND}.,;:!]*(?:{_TURN_ENDS}[{AROUND}.,;:!]*)*",
        re.IGNORECASE | re.ASCII,
    )


_CHOICE = alone(rf"(?:(?:choice|option)[{AROUND}]+)?([12])")
_NEITHER = alone(
    r"(?:neither|both|none)(?:\s+(?:or|and)\s+(?:neither|both))?(?:\s+choices?)?"
    r"|neither\s+choice\s+1\s+nor\s+(?:choice\s+)?2"
    r"|both\s+choice\s+1\s+and\s+(?:choice\s+)?2"
)

_YES_OR_NO = alone("(yes|no)")
# As the demonstrations in the prompt have it, whatever the prompt says.
_REASONED = re.compile(r"(yes|no)[.,]?\s+because\b", re.IGNORECASE)
# What takes back a No, and what a Yes, within its reason. The word "no" is also an
# ordinary one: "Because there is no difference".
_TAKEN_BACK = (
    re.compile(r"\byes\b|</?think", re.IGNORECASE),
    re.compile(r"\bN[oO]\b|\bno\W*$|</?think"),
)

_LEAST_MASS = 0.01  # where both have less between them, something else was decided
_SLACK = 3  # tokens after the answer that leave no trace in the text, such as <|eot|>
_SENTINEL = -1000.0  # some servers write -9999 for "not among the likeliest"


def parse_choice(reply: object) -> int:
    """Read the reply to a question about two choices.

    Parameters
    ----------
    reply : object
        What the model said; anything but a ``str`` is no answer.

    Returns
    -------
    choice : int
        0 for the first choice shown, 1 for the second, -1 for no usable answer.

    Notes
    -----
    The whole reply has to be one choice: "Choice 1", "**2.**", "The answer is Choice
    2", ``{"choice": 1}``, also after thoughts that end with ``</think>``. The release
    of the paper looks for the words anywhere in the reply and so takes "Choice 1 is
    wrong" and "Choice 12" for a choice of the first; here they are no answer, since a
    wrong answer costs more than a missing one. A choice followed by its text is no
    answer either: that text is not ours, and may name a choice itself.

    Examples
    --------
    >>> parse_choice("'Choice 2'.")
    1
    >>> parse_choice("<think>Choice 2 is about cards.</think>Choice 1")
    0
    >>> parse_choice("Choice 1 is wrong")
    -1
    """
    found = _CHOICE.fullmatch(answer_of(reply, _BEFORE_CHOICE))
    return int(found[1]) - 1 if found else -1


def parse_yes_no(reply: object) -> int:
    """Read the reply to a question about a pair.

    Parameters
    ----------
    reply : object
        What the model said; anything but a ``str`` is no answer.

    Returns
    -------
    answer : int
        1 for yes, 0 for no, -1 for no usable answer.

    Notes
    -----
    The whole reply has to be one answer, with the same tolerance as in
    :func:`parse_choice`. The release of the paper looks for "Yes" and "No" anywhere
    and so takes "None" and "Not sure" for No.

    Demonstrations with reasons invite a reason. A reply that begins with "Yes" or
    "No", at most a full stop or comma, and "because" is an answer, too: it stands
    before anything that was ours to quote. It is none if the reason has the other
    answer as well ("No. Because they differ. Actually, yes"), although that may be a
    word of a text: a wrong answer costs more than a missing one. An ordinary "no"
    within the reason for a Yes ("there is no difference") is not taken for an answer.

    Examples
    --------
    >>> parse_yes_no("**Yes.**"), parse_yes_no('{"answer": "no"}')
    (1, 0)
    >>> parse_yes_no("No. Because Sentence 1 has intent fee.")
    0
    >>> parse_yes_no("None"), parse_yes_no("Yes and no"), parse_yes_no("Yes, I think")
    (-1, -1, -1)
    """
    found = _found_yes_no(answer_of(reply, _BEFORE_YES_NO))
    return int(found[1].lower() == "yes") if found else -1


def says_neither(reply: object) -> bool:
    """Tell whether a reply says that there is no choice to be made.

    Parameters
    ----------
    reply : object
        What the model said; anything but a ``str`` says nothing.

    Returns
    -------
    neither : bool
        Whether the whole reply is "Neither", "Both", "Neither or both" or the like,
        with the same tolerance as in :func:`parse_choice`.

    Examples
    --------
    >>> says_neither("**Neither**"), says_neither("Neither, but Choice 1 is close")
    (True, False)
    """
    return _NEITHER.fullmatch(answer_of(reply, _BEFORE_CHOICE)) is not None


def choice_probability(reply: Reply) -> float | None:
    """Read how sure a model was of its choice.

    Parameters
    ----------
    reply : Reply
        A reply with ``top_logprobs``.

    Returns
    -------
    probability : float in [0, 1], or None
        Probability of the choice shown first, among the two. None if the reply is no
        choice, or if its log-probabilities are missing or do not tell.

    Notes
    -----
    The tokens "1", " 1" and "Choice 1" mean the same choice, and their probabilities
    are added. Looked at are only the places where the end of the reply was decided,
    since thoughts before the answer name choices too; of these, the last where
    choices had most of the probability. If the other choice is not among the tokens
    listed there, it is given the most that it may have, so that one listed token
    never makes a choice certain.

    Examples
    --------
    >>> from skllm_cluster.protocols import Reply
    >>> listed = ({"Choice": -0.01}, {" 1": -0.105, " 2": -2.303})
    >>> round(choice_probability(Reply("Choice 1", top_logprobs=listed)), 2)
    0.9
    >>> choice_probability(Reply("Choice 1")) is None
    True
    """
    answer = answer_of(reply.text, _BEFORE_CHOICE)
    found = _CHOICE.fullmatch(answer)
    if found is None:
        return None
    return _share_of_0(_last(reply, answer, found), int(found[1]) - 1, parse_choice)


def no_probability(reply: Reply) -> float | None:
    """Read how sure a model was that two texts do not belong together.

    Parameters
    ----------
    reply : Reply
        A reply with ``top_logprobs``.

    Returns
    -------
    probability : float in [0, 1], or None
        Probability of No, among Yes and No. None if the reply is neither, or if its
        log-probabilities are missing or do not tell.

    Notes
    -----
    As :func:`choice_probability`. Where a reason follows the answer, the answer was
    decided in the first tokens; where thoughts come before both, it is not known where.

    Examples
    --------
    >>> from skllm_cluster.protocols import Reply
    >>> reply = Reply("Yes", top_logprobs=({"Yes": -0.105, "No": -2.303},))
    >>> round(no_probability(reply), 2)
    0.1
    """
    answer = answer_of(reply.text, _BEFORE_YES_NO)
    found = _found_yes_no(answer)
    if found is None:
        return None
    if _YES_OR_NO.fullmatch(answer):
        places = _last(reply, answer, found)
    else:
        is_first = reply.text.lstrip().startswith(found[1])
        places = reply.top_logprobs[: 1 + _SLACK] if is_first else ()
    return _share_of_0(places, int(found[1].lower() == "yes"), parse_yes_no)


#: Replies to a triplet: which choice is meant.
CHOICE = Reading(
    parse_choice, choice_probability, says_neither, True, (0, "n_first_choice")
)
#: Replies to a pair: whether the texts belong together.
YES_NO = Reading(parse_yes_no, no_probability, lambda reply: False, False, (1, "n_yes"))


def _found_yes_no(answer: str) -> re.Match[str] | None:
    reasoned = _REASONED.match(answer)
    if reasoned is None:
        return _YES_OR_NO.fullmatch(answer)
    is_yes = reasoned[1].lower() == "yes"
    taken_back = _TAKEN_BACK[is_yes].search(answer, reasoned.end())
    return None if taken_back else reasoned


def answer_of(reply: object, thoughts: re.Pattern[str]) -> str:
    """Return what a reply says after the thoughts, with ASCII digits."""
    if not isinstance(reply, str):
        return ""
    reply = reply.strip()
    found = thoughts.match(reply)
    answer = reply[found.end() :] if found else reply
    return answer.translate(_ASCII).strip()


def _last(
    reply: Reply, answer: str, found: re.Match[str]
) -> Iterable[Mapping[str, float]]:
    """Give the places where the end of a reply was decided, the last one first."""
    window = len(answer) - found.end(1) + 1 + _SLACK
    return reversed(reply.top_logprobs[-window:])


def _share_of_0(
    places: Iterable[Mapping[str, float]], said: int, parse: Callable[[object], int]
) -> float | None:
    """Return the probability of the answer 0 where the one that was said was decided.

    That is the first place where both have most of the probability between them, or
    else the one where they have most of it.
    """
    best, mass = None, _LEAST_MASS
    for listed in places:
        shares, left = _shares(listed, parse)
        if shares[said] > 0 and sum(shares) > mass:
            best, mass = [share or left for share in shares], sum(shares)
            if mass > 0.5:
                break
    return None if best is None else best[0] / sum(best)


def _shares(
    listed: Mapping[str, float], parse: Callable[[object], int]
) -> tuple[list[float], float]:
    """Return the probabilities of both answers at one place, and the most of another.

    What is not listed has at most what is left, and is no likelier than what is.
    """
    shares, all_listed = [0.0, 0.0], [1.0]
    for token, value in listed.items():
        if not _SENTINEL < value < math.inf:  # NaN is neither
            continue
        all_listed.append(math.exp(min(value, 0.0)))
        # Byte-level and SentencePiece vocabularies write a space as a letter.
        answer = parse(token.replace("Ġ", " ").replace("▁", " "))
        if answer >= 0:
            shares[answer] += all_listed[-1]
    left = max(2.0 - sum(all_listed), 0.0)
    return shares, min(left, *all_listed)
