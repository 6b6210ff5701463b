"""What a question is: its words, how its reply is read, and the chance it carries.

Pure functions; every prompt and every parser of the package is in this file.
"""

from __future__ import annotations

import hashlib
import re

__all__ = ["keyed_uniform", "parse_choice", "triplet_prompt"]

# \s leaves out most control characters; surrogates cannot be sent as UTF-8.
_NO_TEXT = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_WRAPPING = r"\s\"'`*_“”\u2018\u2019«»()\[\]{}<>"
_CHOICE = re.compile(
    rf"[{_WRAPPING}]*(?:choice\s+)?([12])[{_WRAPPING}.,;:!]*",
    re.IGNORECASE | re.ASCII,
)


def triplet_prompt(
    anchor: str, first: str, second: str, *, perspective: str, texts: str = "texts"
) -> str:
    """Ask which of two choices is closer to an anchor, in the words of the paper.

    Parameters
    ----------
    anchor, first, second : str
        The three texts.
    perspective : str
        In what respect the texts are compared, such as "intent".
    texts : str, default="texts"
        What the texts are: a plural noun phrase with the noun last, such as
        "banking customer utterances".

    Returns
    -------
    prompt : str

    Examples
    --------
    >>> print(
    ...     triplet_prompt(
    ...         "Where is my card?",
    ...         "Card not here yet",
    ...         "Top-up failed",
    ...         perspective="intent",
    ...         texts="banking customer utterances",
    ...     )
    ... )
    Select the banking customer utterance that better corresponds with the Query in
    terms of intent.
    <BLANKLINE>
    Query: Where is my card?
    Choice 1: Card not here yet
    Choice 2: Top-up failed
    <BLANKLINE>
    Please respond with 'Choice 1' or 'Choice 2' without explanation.
    """
    return (
        f"Select the {_singular(texts)} that better corresponds with the Query in "
        f"terms of {perspective}.\n"
        "\n"
        f"Query: {_one_line(anchor)}\n"
        f"Choice 1: {_one_line(first)}\n"
        f"Choice 2: {_one_line(second)}\n"
        "\n"
        "Please respond with 'Choice 1' or 'Choice 2' without explanation."
    )


def parse_choice(reply: object) -> int:
    """Read the reply to :func:`triplet_prompt`.

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
    The whole reply has to be one choice: "Choice 1", "choice 2.", "**1**". The
    release of the paper looks for the words anywhere in the reply and so takes
    "Choice 1 is wrong" and "Choice 12" for a choice of the first; here they are no
    answer, since a wrong answer costs more than a missing one.

    Examples
    --------
    >>> parse_choice("'Choice 2'.")
    1
    >>> parse_choice("Choice 1 is wrong")
    -1
    """
    found = _CHOICE.fullmatch(reply.strip()) if isinstance(reply, str) else None
    return int(found[1]) - 1 if found else -1


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
    digest = hashlib.blake2b(digest_size=8, person=purpose.encode("ascii"))
    for part in (str(seed), anchor, *sorted((first, second))):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big"))  # "ab", "c" is not "a", "bc"
        digest.update(data)
    # 53 bits are what a float holds: rounding cannot reach 1.
    return (int.from_bytes(digest.digest(), "big") >> 11) / 2.0**53


def _one_line(text: str) -> str:
    # Departure from paper and release, which insert a text as it is: here a text
    # cannot open a "Choice 1:" line of its own.
    return _NO_TEXT.sub(" ", text).strip()


def _singular(noun_phrase: str) -> str:
    if noun_phrase.endswith("ies"):
        return noun_phrase[:-3] + "y"
    if noun_phrase.endswith("s") and not noun_phrase.endswith("ss"):
        return noun_phrase[:-1]
    return noun_phrase
