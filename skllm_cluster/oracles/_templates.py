"""Prompts that replace ours: what their fields may be, and how they are filled in.

Pure functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import Formatter

from .._validation import shorten

__all__ = ["check_fields"]


def check_fields(
    template: str, name: str, required: Sequence[str], optional: Sequence[str]
) -> set[str]:
    """Check a template, so that ``str.format`` fills it in and does nothing else.

    Parameters
    ----------
    template : str
    name : str
        What it is called in messages.
    required, optional : sequence of str
        Its fields.

    Returns
    -------
    found : set of str
        The fields that it has.

    Raises
    ------
    TypeError
        If it is no str.
    ValueError
        If a field is missing, unknown or malformed.
    """
    if not isinstance(template, str):
        raise TypeError(f"{name} must be a str or None, got {shorten(template)}.")
    fields = (*required, *optional)
    usable = (
        f"It may have {', '.join(f'{{{field}}}' for field in fields)}; other braces "
        "have to be doubled."
    )
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"{name} is malformed: {error}. {usable}") from None
    found = {field for _, field, _, _ in parts if field is not None}
    for _, field, form, conversion in parts:
        if field is not None and (field not in fields or form or conversion):
            shown = field + f"!{conversion}" * bool(conversion)
            shown += f":{form}" * bool(form)
            raise ValueError(f"{name} has the unknown field {{{shown}}}. {usable}")
    for field in required:
        if field not in found:
            raise ValueError(f"{name} must have the field {{{field}}}. {usable}")
    return found
