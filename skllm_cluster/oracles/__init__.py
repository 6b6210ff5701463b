"""Who answers questions about texts."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._first import FirstAnswer
    from ._human import HumanOracle
    from ._llm import LLMOracle
    from ._openai import OpenAIChat
    from ._prompts import PAPER_WORDINGS, PLAIN_PAIR_TEMPLATE
    from ._session import OracleError
    from ._transformers import TransformersChat
    from ._truth import TruthOracle

__all__ = [
    "PAPER_WORDINGS",
    "PLAIN_PAIR_TEMPLATE",
    "FirstAnswer",
    "HumanOracle",
    "LLMOracle",
    "OpenAIChat",
    "OracleError",
    "TransformersChat",
    "TruthOracle",
]

_HOME = {
    "PAPER_WORDINGS": "_prompts",
    "PLAIN_PAIR_TEMPLATE": "_prompts",
    "FirstAnswer": "_first",
    "HumanOracle": "_human",
    "LLMOracle": "_llm",
    "OpenAIChat": "_openai",
    "OracleError": "_session",
    "TransformersChat": "_transformers",
    "TruthOracle": "_truth",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
