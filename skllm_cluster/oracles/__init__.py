"""Who answers questions about texts."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._llm import LLMOracle
    from ._openai import OpenAIChat
    from ._truth import TruthOracle

__all__ = ["LLMOracle", "OpenAIChat", "TruthOracle"]

_HOME = {
    "LLMOracle": "_llm",
    "OpenAIChat": "_openai",
    "TruthOracle": "_truth",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
