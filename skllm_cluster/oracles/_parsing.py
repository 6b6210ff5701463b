"""How a reply is read: which choice it names, and how sure the model was of it.

Pure functions; what was asked is in ``_prompts.py``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from ..protocols import Reply

__all__ = ["choice_probability", "parse_choice", "says_neither"]

# Thoughts before the answer, from servers that do not part the two. Some templates
# open them in the prompt, so that the reply holds only their end; that has to end a
# line and not follow a choice, so that a text that is quoted cannot pose as it.
_THOUGHTS = re.compile(
    r"<(think|thinking)>.*</\1>|\[THINK\].*\[/THINK\]"
    r"|(?!\W*[Cc]hoice).*</think>\s*\n"
    r"|<\|channel\|>(?:analysis.*<\|channel\|>)?final<\|message\|>",
    re.DOTALL,
)
_ASCII = str.maketrans(  # full-width digits, signs and brackets
    "\uff11\uff12\uff1a\uff0e\u3002\uff01\uff08\uff09\u300c\u300d\u3010\u3011",
    "12:..!()[][]",
)

# What may stand around an answer: quotes, brackets, Markdown, a word that announces
# it, and tokens that end a turn. No two of these patterns can match the same text in
# two ways, so that reading is linear even for a hostile reply.
_AROUND = r"\s\"'`*_#$“”\u2018\u2019«»()\[\]{}<>"
_ANNOUNCED = (
    r"(?:json|<answer>|\\boxed|(?:(?:the|my)\s+)?(?:(?:final|correct|best|better)\s+)?"
    rf"(?:answer|choice|option|response)[{_AROUND}]*(?::|=|is\b:?))"
)
_TURN_ENDS = r"<(?:/s|/answer|eos|end_of_turn|[|\uff5c][a-z_▁]+[|\uff5c])>"


def _alone(answer: str) -> re.Pattern[str]:
    """Match a reply that is an answer and nothing else."""
    return re.compile(
        rf"[{_AROUND}]*(?:{_ANNOUNCED}[{_AROUND}]*){{0,2}}(?:{answer})"
        rf"[{_AROUND}.,;:!]*(?:{_TURN_ENDS}[{_AROUND}.,;:!]*)*",
        re.IGNORECASE | re.ASCII,
    )


_CHOICE = _alone(rf"(?:(?:choice|option)[{_AROUND}]+)?([12])")
_NEITHER = _alone(
    r"(?:neither|both|none)(?:\s+(?:or|and)\s+(?:neither|both))?(?:\s+choices?)?"
    r"|neither\s+choice\s+1\s+nor\s+(?:choice\s+)?2"
    r"|both\s+choice\s+1\s+and\s+(?:choice\s+)?2"
)

_LEAST_MASS = 0.01  # where 1 and 2 have less between them, something else was decided
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
    found = _CHOICE.fullmatch(_answer(reply))
    return int(found[1]) - 1 if found else -1


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
    return _NEITHER.fullmatch(_answer(reply)) is not None


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
    answer = _answer(reply.text)
    found = _CHOICE.fullmatch(answer)
    if found is None:
        return None
    said = int(found[1]) - 1
    window = len(answer) - found.end(1) + 1 + _SLACK
    best, mass = None, _LEAST_MASS
    for listed in reversed(reply.top_logprobs[-window:]):
        shares, left = _shares(listed)
        if shares[said] > 0 and sum(shares) > mass:
            best, mass = [share or left for share in shares], sum(shares)
            if mass > 0.5:
                break
    return None if best is None else best[0] / sum(best)


def _answer(reply: object) -> str:
    """Return what a reply says after the thoughts, with ASCII digits."""
    if not isinstance(reply, str):
        return ""
    reply = reply.strip()
    thoughts = _THOUGHTS.match(reply)
    answer = reply[thoughts.end() :] if thoughts else reply
    return answer.translate(_ASCII).strip()


def _shares(listed: Mapping[str, float]) -> tuple[list[float], float]:
    """Return the probabilities of both choices at one place, and the most of another.

    What is not listed has at most what is left, and is no likelier than what is.
    """
    shares, all_listed = [0.0, 0.0], [1.0]
    for token, value in listed.items():
        if not _SENTINEL < value < math.inf:  # NaN is neither
            continue
        all_listed.append(math.exp(min(value, 0.0)))
        # Byte-level and SentencePiece vocabularies write a space as a letter.
        choice = parse_choice(token.replace("Ġ", " ").replace("▁", " "))
        if choice >= 0:
            shares[choice] += all_listed[-1]
    left = max(2.0 - sum(all_listed), 0.0)
    return shares, min(left, *all_listed)
