"""Pictures of what was learned, in scikit-learn's form of a display.

``merges_report`` tells in text what ``MergesDisplay`` draws, and needs no matplotlib.
"""

from ._dendrogram import MergesDisplay
from ._granularity import GranularityDisplay
from ._merges import Merge, merges_report, top_merges

__all__ = [
    "GranularityDisplay",
    "Merge",
    "MergesDisplay",
    "merges_report",
    "top_merges",
]
