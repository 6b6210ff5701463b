"""What an estimator has learned about the number of clusters."""

from __future__ import annotations

from typing import Any

from sklearn.exceptions import NotFittedError

__all__ = ["fitted_selector"]


def fitted_selector(estimator: Any) -> Any:
    """Return the fitted ``GranularitySelector`` that an estimator is or has.

    It is known by its attributes, so that other estimators can have them, too.

    Raises
    ------
    TypeError
        If the estimator has neither that form nor a parameter ``granularity``.
    NotFittedError
        If it has not chosen a number of clusters.
    """
    selector = getattr(estimator, "granularity_", estimator)
    if hasattr(selector, "scores_") and hasattr(selector, "k_values_"):
        return selector
    who = type(estimator).__name__
    if hasattr(estimator, "granularity"):
        raise NotFittedError(
            f"This {who} has not chosen a number of clusters. Give it n_clusters=None "
            "and call fit first."
        )
    if hasattr(estimator, "k_max"):
        raise NotFittedError(f"This {who} is not fitted yet. Call fit first.")
    raise TypeError(
        f"estimator must be a GranularitySelector or a ClusterLLMClusterer, got {who}."
    )
