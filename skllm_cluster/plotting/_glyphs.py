"""Which characters can be drawn."""

from __future__ import annotations

from .._validation import import_extra

__all__ = ["drawable", "known_characters"]


def known_characters() -> set[int]:
    """Code points that the fonts now set have: others raise a warning when drawn."""
    fonts = import_extra("matplotlib.font_manager", "MergesDisplay")
    families = fonts.FontProperties().get_family()
    found = []
    for family in families:
        wanted = fonts.FontProperties()
        wanted.set_family(family)
        try:
            found.append(fonts.findfont(wanted, fallback_to_default=False))
        except ValueError:  # not installed; matplotlib leaves it out as well
            continue
    # Without any, matplotlib takes its own.
    paths = found or [fonts.findfont(fonts.FontProperties())]
    return {code for path in paths for code in fonts.get_font(path).get_charmap()}


def drawable(text: str, known: set[int]) -> str:
    """Put a box, or else a question mark, for what no font has."""
    unknown = "\u25a1" if 0x25A1 in known else "?"
    return "".join(c if ord(c) in known else unknown for c in text)
