r"""How well turned vectors agree with answers, and the turn that agrees best.

Vectors are written in an orthonormal basis V, (d, r), of the leading directions of the
texts that were asked about: :math:`x = V c + x_\perp`. With :math:`A = V M V^\top` only
c changes, to :math:`u = c (I + M)`, so that everything takes place in r dimensions; of
:math:`x_\perp` no more than a few inner products are needed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import coo_array
from scipy.special import expit
from sklearn.utils.extmath import randomized_svd

__all__ = ["Coordinates", "best_turn", "leading_directions", "margins_of", "objective"]

Array = NDArray[np.float64]

# Below this a length counts as 0.
_TINY = 1e-12
# Enough for all but the weakest penalties, which need no exact minimum.
_MAX_STEPS = 50


@dataclass(frozen=True, eq=False)
class Coordinates:
    """Answered triplets, and what of their texts enters into similarities."""

    inside: Array  # c, (m, r)
    outside: Array  # |x_perp|², (m,)
    outside_taken: Array  # of the anchor and the choice taken: <x_perp, x_perp'>, (Q,)
    outside_left: Array  # of the anchor and the choice left, (Q,)
    triplets: NDArray[np.intp]  # rows of inside, (Q, 3)

    @classmethod
    def of(cls, X: Array, triplets: NDArray[np.intp], basis: Array) -> Coordinates:
        inside = X @ basis
        rest = X - inside @ basis.T
        anchor, taken, left = rest[triplets.T]
        return cls(
            inside=inside,
            outside=np.einsum("md,md->m", rest, rest),
            outside_taken=np.einsum("qd,qd->q", anchor, taken),
            outside_left=np.einsum("qd,qd->q", anchor, left),
            triplets=triplets,
        )

    def only(self, some: NDArray[np.bool_]) -> Coordinates:
        """Keep some of the answers, and all texts."""
        return replace(
            self,
            outside_taken=self.outside_taken[some],
            outside_left=self.outside_left[some],
            triplets=self.triplets[some],
        )


def leading_directions(X: Array, rank: int, seed: int) -> Array:
    """Find an orthonormal basis (d, r) of the rows' leading directions, r <= rank."""
    if rank < min(X.shape):
        _, size, directions = randomized_svd(X, rank, n_iter=4, random_state=seed)
    else:
        _, size, directions = np.linalg.svd(X, full_matrices=False)
    return np.asarray(directions[size > 1e-9 * size[0]].T)


def margins_of(M: Array, answers: Coordinates) -> Array:
    """Cosine similarity to the choice taken, less that to the one left; (Q,)."""
    _, _, taken, left = _similarities(M, answers)
    return taken - left


def objective(
    flat: Array,
    answers: Coordinates,
    weights: Array,
    temperature: float,
    penalty: float,
) -> tuple[float, Array]:
    """Mean loss and penalty of a matrix M (r², flat), and their gradient (r²,)."""
    r = answers.inside.shape[1]
    M = flat.reshape(r, r)
    U, length, taken, left = _similarities(M, answers)
    wrong = expit((left - taken) / temperature)  # (Q,)
    # Derivative of the loss by the margin of each answer.
    slope = -weights * wrong * (1 - wrong) / (temperature * len(weights))
    a, p, n = answers.triplets.T
    to_taken = slope / (length[a] * length[p])
    to_left = -slope / (length[a] * length[n])
    # What a text loses along its own direction, since lengths are divided out.
    along = np.bincount(a, slope * (left - taken), len(U))
    along += np.bincount(p, -slope * taken, len(U))
    along += np.bincount(n, slope * left, len(U))
    own = np.arange(len(U))
    values = [to_taken, to_taken, to_left, to_left, along / length**2]
    rows, columns = [a, p, a, n, own], [p, a, n, a, own]
    pull = coo_array(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
        shape=(len(U), len(U)),
    ).tocsr()
    gradient = answers.inside.T @ (pull @ U) + 2 * penalty * M
    value = float(weights @ wrong) / len(weights) + penalty * float((M * M).sum())
    return value, gradient.ravel()


def best_turn(
    start: Array,
    answers: Coordinates,
    weights: Array,
    temperature: float,
    penalty: float,
) -> Array:
    """Minimise the objective by L-BFGS from a matrix M, (r, r)."""
    found: Any = minimize(
        objective,
        start.ravel(),
        args=(answers, weights, temperature, penalty),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _MAX_STEPS},
    )
    return np.asarray(found.x).reshape(start.shape)


def _similarities(M: Array, answers: Coordinates) -> tuple[Array, Array, Array, Array]:
    """Give turned coordinates (m, r), lengths (m,), cosines to both choices (Q,)."""
    U = answers.inside + answers.inside @ M
    length = np.sqrt(np.einsum("mr,mr->m", U, U) + answers.outside)
    length = np.maximum(length, _TINY)
    a, p, n = answers.triplets.T
    taken = np.einsum("qr,qr->q", U[a], U[p]) + answers.outside_taken
    left = np.einsum("qr,qr->q", U[a], U[n]) + answers.outside_left
    return U, length, taken / (length[a] * length[p]), left / (length[a] * length[n])
