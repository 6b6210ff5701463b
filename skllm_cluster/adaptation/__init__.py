"""How answers change the embedding: by its own weights, or by a map behind it."""

from ._fine_tuner import FineTuner
from ._head import MetricHead
from ._map import LinearMap, MappedEmbedder
from ._training import train

__all__ = ["FineTuner", "LinearMap", "MappedEmbedder", "MetricHead", "train"]
