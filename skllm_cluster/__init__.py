"""Cluster short texts the way you mean them, with an LLM as guide."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._cactus import CactusSetClusterer
    from ._clusterllm import ClusterLLMClusterer
    from ._granularity import GranularitySelector

__all__ = [
    "CactusSetClusterer",
    "ClusterLLMClusterer",
    "GranularitySelector",
    "__version__",
]

__version__ = "0.1.0.dev0"


_MODULES = {
    "CactusSetClusterer": "_cactus",
    "ClusterLLMClusterer": "_clusterllm",
    "GranularitySelector": "_granularity",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
