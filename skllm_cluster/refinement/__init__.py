"""How answers change the partition itself: classes found, asked for, and distilled."""

from ._refinement import Refinement
from ._refiner import Refiner

__all__ = ["Refinement", "Refiner"]
