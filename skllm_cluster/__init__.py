"""Cluster short texts the way you mean them, with an LLM as guide."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._clusterllm import ClusterLLMClusterer

__all__ = ["ClusterLLMClusterer", "__version__"]

__version__ = "0.1.0.dev0"


def __getattr__(name: str) -> Any:
    if name == "ClusterLLMClusterer":
        return getattr(import_module("._clusterllm", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
