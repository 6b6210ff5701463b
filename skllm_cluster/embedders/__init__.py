"""What turns texts into vectors."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._black_box import BlackBoxEmbedder
    from ._hashing import HashingEmbedder
    from ._openai import OpenAIEmbedder
    from ._sentence_transformer import SentenceTransformerEmbedder
    from ._set_encoder import SetEncoder

__all__ = [
    "BlackBoxEmbedder",
    "HashingEmbedder",
    "OpenAIEmbedder",
    "SentenceTransformerEmbedder",
    "SetEncoder",
]

_HOME = {
    "BlackBoxEmbedder": "_black_box",
    "HashingEmbedder": "_hashing",
    "OpenAIEmbedder": "_openai",
    "SentenceTransformerEmbedder": "_sentence_transformer",
    "SetEncoder": "_set_encoder",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
