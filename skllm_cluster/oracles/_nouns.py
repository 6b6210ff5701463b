"""What texts, and what they are compared in, are called: one of them, and several.

Pure functions.
"""

from __future__ import annotations

import re
from typing import Any

from .._validation import shorten

__all__ = ["nouns", "several"]

# First match; what the rules get wrong is said with both forms of the noun.
_PLURALS = (
    ("children", "child"),
    ("women", "woman"),
    ("people", "person"),
    ("movies", "movie"),
    ("analyses", "analysis"),
    ("hypotheses", "hypothesis"),
    *((same, same) for same in ("news", "series", "species", "ss", "us", "is")),
    ("sses", "ss"),
    ("xes", "x"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("ies", "y"),
    ("s", ""),
)

_PLAIN = re.compile(r"[a-z]+(?:[ -][a-z]+)*", re.IGNORECASE)
# What the noun is not the last word of: "kind of question", "what is asked".
_LINKS = re.compile(
    r"\b(?:about|and|at|by|for|from|how|in|of|on|or|than|that|the|to|what|when|where"
    r"|which|who|whose|why|with|without)\b",
    re.IGNORECASE,
)
# Participles ("emotion expressed"), nouns without a plural or with one of their own,
# and what may be a plural already.
_NO_PLURAL = re.compile(
    r"(?:(?<!e)ed|(?:spok|writt|giv|chos)en|shown|meant|said|man|child|person|data"
    r"|content|information|news|(?<!s)s)$",
    re.IGNORECASE,
)


def nouns(texts: str | tuple[str, str]) -> tuple[str, str]:
    """Name one text, and several.

    Parameters
    ----------
    texts : str or (str, str)
        What the texts are: a plural noun phrase with the noun last, such as "banking
        customer utterances", or its singular and its plural, where the rules below
        do not know the singular: ("cookie", "cookies").

    Returns
    -------
    singular, plural : str

    Raises
    ------
    ValueError
        If ``texts`` is neither.

    Notes
    -----
    The rules know regular English nouns and a few others.

    Examples
    --------
    >>> nouns("product categories")
    ('product category', 'product categories')
    >>> nouns(("calorie", "calories"))
    ('calorie', 'calories')
    """
    forms: Any = (_singular(texts), texts) if isinstance(texts, str) else texts
    valid = isinstance(forms, (tuple, list)) and len(forms) == 2
    if not valid or not all(isinstance(f, str) and f.strip() for f in forms):
        raise ValueError(
            "texts must be a plural such as 'utterances', or a singular and its plural "
            f"such as ('cookie', 'cookies'), got {shorten(texts)} instead."
        )
    return forms[0], forms[1]


def several(noun_phrase: str) -> str | None:
    """Give the plural of a noun phrase, or None where that is not simple.

    Parameters
    ----------
    noun_phrase : str
        A singular, such as "relation type".

    Returns
    -------
    plural : str or None
        None unless the last word is a noun with a regular plural in English.

    Examples
    --------
    >>> several("relation type"), several("entity"), several("emotion expressed")
    ('relation types', 'entities', None)
    """
    is_plain = _PLAIN.fullmatch(noun_phrase) and not _LINKS.search(noun_phrase)
    if not is_plain or _NO_PLURAL.search(noun_phrase):
        return None
    if re.search(r"[^aeiou]y$", noun_phrase, re.IGNORECASE):
        return f"{noun_phrase[:-1]}ies"
    return noun_phrase + ("es" if re.search("(?:ss|[xz]|[cs]h)$", noun_phrase) else "s")


def _singular(noun_phrase: str) -> str:
    for ending, singular in _PLURALS:
        if noun_phrase.endswith(ending):
            return noun_phrase.removesuffix(ending) + singular
    return noun_phrase
