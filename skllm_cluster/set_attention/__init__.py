"""Scalable inter-entity attention (CACTUS, section 3.2), for models of transformers.

Texts of a set attend to one another: a token sees the tokens of its own text, and one
pooled key and value of every other text of the set.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._attention import set_attention
    from ._layout import SetLayout
    from ._models import check_positions, enable_sets, pack

__all__ = ["SetLayout", "check_positions", "enable_sets", "pack", "set_attention"]

_HOME = {
    "SetLayout": "_layout",
    "check_positions": "_models",
    "enable_sets": "_models",
    "pack": "_models",
    "set_attention": "_attention",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .._validation import import_extra

    for package in ("torch", "transformers"):
        import_extra(package, f"set_attention.{name}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
