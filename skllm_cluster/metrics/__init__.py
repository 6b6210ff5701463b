"""How well clusters agree with known labels, and confidences with the truth."""

from ._calibration import calibration_table
from ._clusters import cluster_f1, clustering_accuracy, clustering_scores
from ._sets import mean_interval, set_scores

__all__ = [
    "calibration_table",
    "cluster_f1",
    "clustering_accuracy",
    "clustering_scores",
    "mean_interval",
    "set_scores",
]
