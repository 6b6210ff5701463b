"""Which categories texts need: the words of the question.

Pure functions.
"""

from __future__ import annotations

from collections.abc import Sequence

from ._choice_prompt import QUOTED
from ._fences import show
from ._nouns import nouns

__all__ = ["category_prompt"]


def category_prompt(
    texts: Sequence[str],
    known: Sequence[str] = (),
    *,
    perspective: str,
    noun: str | tuple[str, str] = "texts",
    fence: bool = True,
) -> str:
    r"""Ask for names of the categories that texts need.

    Parameters
    ----------
    texts : sequence of str
        In the order in which they are shown.
    known : sequence of str, default=()
        Names of the categories that there are already.
    perspective : str
        In what respect the texts are compared, such as "intent".
    noun : str or (str, str), default="texts"
        What the texts are, see :func:`nouns`.
    fence : bool, default=True
        Whether each text and each name is shown as a JSON string, in double quotes,
        and the prompt says that what is quoted is data.

    Returns
    -------
    prompt : str

    Raises
    ------
    ValueError
        If ``noun`` is not valid.

    Examples
    --------
    >>> print(
    ...     category_prompt(
    ...         ["Where is my card?", "I was charged twice"],
    ...         ["card arrival"],
    ...         perspective="intent",
    ...         noun="utterances",
    ...         fence=False,
    ...     )
    ... )
    The utterances below are to be sorted into categories by intent.
    <BLANKLINE>
    Known categories:
    - card arrival
    <BLANKLINE>
    Utterances:
    1: Where is my card?
    2: I was charged twice
    <BLANKLINE>
    Which further categories do these utterances need? Each category stands for one
    intent, and is named in 2 to 5 words, in the style of the known ones.
    Please respond with the names of the further categories alone, one per line. If the
    known categories are enough, respond with 'None'.
    """
    _, plural = nouns(noun)
    lines = [
        f"The {plural} below are to be sorted into categories by {perspective}.",
        "",
    ]
    if known:
        lines.append("Known categories:")
        lines += [*(f"- {show(name, fence=fence)}" for name in known), ""]
    lines.append(f"{plural[:1].upper()}{plural[1:]}:")
    lines += [f"{i}: {show(text, fence=fence)}" for i, text in enumerate(texts, 1)]
    further = "further " * bool(known)
    style = ", in the style of the known ones" * bool(known)
    lines += [
        "",
        f"Which {further}categories do these {plural} need? Each category stands for "
        f"one {perspective}, and is named in 2 to 5 words{style}.",
    ]
    if fence:
        lines.append(QUOTED)
    enough = " If the known categories are enough, respond with 'None'." * bool(known)
    lines.append(
        f"Please respond with the names of the {further}categories alone, one per line."
        + enough
    )
    return "\n".join(lines)
