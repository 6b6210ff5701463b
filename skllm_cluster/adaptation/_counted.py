"""Which triplets count, and how much."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["counted_triplets"]


def counted_triplets(
    triplets: ArrayLike, weights: ArrayLike | None
) -> tuple[NDArray[np.intp], NDArray[np.float64] | None]:
    """Leave out triplets that count nothing; give the others weights of mean 1.

    None for equal weights: they are to train exactly as no weights do.
    """
    triplets = np.reshape(triplets, (-1, 3))
    if weights is None:
        return triplets, None
    given = np.asarray(weights, dtype=np.float64)
    if given.shape != (len(triplets),):
        raise ValueError(
            f"weights must be one per triplet, {len(triplets)}, got shape "
            f"{given.shape}."
        )
    if not (np.isfinite(given) & (given >= 0)).all() or not given.any():
        raise ValueError(
            "weights must be finite, none negative and not all 0, got values from "
            f"{given.min()} to {given.max()}."
        )
    some = given > 0
    triplets, given = triplets[some], given[some]
    return triplets, None if np.ptp(given) == 0 else given / given.mean()
