"""Learn a linear map of frozen embeddings from answered triplets."""

from __future__ import annotations

import logging
import numbers
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, check_random_state

from .._validation import check_number, encode, shorten
from ._counted import counted_triplets
from ._map import LinearMap, MappedEmbedder
from ._turning import Coordinates, best_turn, leading_directions, margins_of

__all__ = ["MetricHead"]

logger = logging.getLogger(__name__)

# A weaker penalty agrees with a few more answers, but these are about texts between
# clusters; the distances of all others suffer.
_GRID = (1.0, 0.3, 0.1, 0.03)
# How unlikely a gain has to be by chance for the map to leave the identity.
_LEVEL = 0.01


class MetricHead(BaseEstimator):
    r"""Learn a linear map behind a frozen embedder from answered triplets.

    It needs the vectors only: the embedder may be a black box, such as a paid
    endpoint, or there may be none at all, see :meth:`fit_map`. No torch, no GPU.

    Parameters
    ----------
    regularization : float or sequence of float, default=None
        :math:`\lambda`, how strongly the map is held to the identity. Several: held-out
        answers choose among them and the identity itself. None: among 0.03, 0.1, 0.3
        and 1. One: it is taken as it is.
    temperature : float, default=0.1
        :math:`\tau`, the difference of two cosine similarities that counts as large.
    rank : int, default=128
        r, in how many directions the map may act: the leading ones of the texts that
        were asked about.
    n_folds : int, default=5
        Parts into which the anchors are split to choose :math:`\lambda`.

    See Also
    --------
    FineTuner : Trains the embedder itself.
    skllm_cluster.guard.adapt_guarded : Refuses a map that held-out answers do not back.
    skllm_cluster.sampling.triplets_from_classes : Triplets out of known classes.

    Notes
    -----
    A vector x, of length 1, becomes :math:`z = x (I + A)`. Over the answers i, with
    weights :math:`w_i` of mean 1 and :math:`m_i` the cosine similarity of the anchor to
    the choice taken, less that to the choice left, the map minimises

    .. math:: \frac1Q \sum_i \frac{w_i}{1 + e^{m_i / \tau}}
        + \lambda \lVert A \rVert_F^2,

    from A = 0, by L-BFGS. Under this loss an answer and its opposite add up to a
    constant. Coin flips therefore push nowhere on average, wrong answers among right
    ones only make the push smaller, and weights of
    :func:`~skllm_cluster.losses.answer_weights` are exact. The logistic loss grows
    without bound where an answer is wrong. There are no in-batch negatives: with a map
    they helped on one corpus and hurt on another.

    The penalty makes the best A vanish outside the span of the texts that were asked
    about. So :math:`A = V M V^\top` with V a basis of that span, cut to its r leading
    directions. Memory and time grow with :math:`d r` and :math:`r^2`, not with
    :math:`d^2`. The same vectors in a space of more dimensions have the same map.

    :math:`\lambda` is chosen by answers about anchors that were held out. What is
    compared is the margin, divided by its root mean square, since larger margins alone
    mean nothing. A :math:`\lambda` has to gain over the identity beyond chance (p <
    0.01). Of those within a standard error of the best, the strongest is taken. With
    coin flips that is nearly always the identity.

    To use vectors that exist already, without an embedder:
    ``MetricHead().fit_map(Z, triplets).transform(Z)``.

    Examples
    --------
    >>> from skllm_cluster.adaptation import MetricHead
    >>> from skllm_cluster.embedders import HashingEmbedder
    >>> texts = ["lost card", "card stolen", "card fees"]
    >>> embedder = HashingEmbedder()
    >>> head = MetricHead(regularization=0.01)
    >>> tuned = head.adapt(embedder, texts, [[0, 1, 2]], random_state=0)
    >>> before, after = embedder.encode(texts), tuned.encode(texts)
    >>> bool(after[0] @ after[1] > before[0] @ before[1])
    True
    """

    needs_module = False

    def __init__(
        self,
        *,
        regularization: float | Sequence[float] | None = None,
        temperature: float = 0.1,
        rank: int = 128,
        n_folds: int = 5,
    ):
        self.regularization = regularization
        self.temperature = temperature
        self.rank = rank
        self.n_folds = n_folds

    def check(self, embedder: Any = None) -> None:
        """Check the parameters, and that an embedder can embed.

        Parameters
        ----------
        embedder : Embedder or None, default=None
            None: there are vectors only.

        Raises
        ------
        TypeError, ValueError
            If one of them will not do.
        """
        check_number(self, "temperature", kind=numbers.Real, low=0, closed="neither")
        check_number(self, "rank", low=1)
        check_number(self, "n_folds", low=2)
        self._grid()
        if embedder is not None and not callable(getattr(embedder, "encode", None)):
            raise TypeError(
                "embedder must have a method 'encode', got "
                f"{type(embedder).__name__}. For vectors alone use fit_map."
            )

    def adapt(
        self,
        embedder: Any,
        texts: Sequence[str],
        triplets: ArrayLike,
        *,
        weights: ArrayLike | None = None,
        embeddings: NDArray[Any] | None = None,
        random_state: Any = None,
    ) -> MappedEmbedder:
        """Learn a map, and put it behind an embedder.

        Parameters
        ----------
        embedder : Embedder
            With ``encode``. It is not changed.
        texts : sequence of str, of length n
        triplets : array-like of int, shape (Q, 3)
            Rows of ``texts``: (anchor, the choice taken, the choice left).
        weights : array-like of shape (Q,), default=None
            What each triplet counts in the loss; only their ratios matter. Triplets
            that count 0 are left out. None, or equal weights: all count the same.
        embeddings : ndarray of shape (n, d), default=None
            Of ``embedder``, where they are at hand. None: the texts that triplets
            name are embedded.
        random_state : int, RandomState instance or None, default=None
            Determines which anchors are held out together, and the rounding of the
            leading directions.

        Returns
        -------
        tuned : MappedEmbedder
            With ``linear_map``, whose ``regularization`` tells what was chosen.

        Raises
        ------
        TypeError, ValueError
            As for :meth:`check`, or if there is no triplet, or weights are not one
            finite number per triplet, none negative and not all 0.

        Warns
        -----
        UserWarning
            As for :meth:`fit_map`.
        """
        self.check(embedder)
        _check_some(triplets)
        occurring, rows = np.unique(np.reshape(triplets, (-1, 3)), return_inverse=True)
        if embeddings is None:
            Z = encode(embedder, [texts[i] for i in occurring])
        else:
            Z = np.asarray(embeddings)[occurring]
        learnt = self.fit_map(
            Z, rows.reshape(-1, 3), weights=weights, random_state=random_state
        )
        return MappedEmbedder(embedder, learnt)

    def fit_map(
        self,
        embeddings: ArrayLike,
        triplets: ArrayLike,
        weights: ArrayLike | None = None,
        *,
        random_state: Any = None,
    ) -> LinearMap:
        """Learn a map of vectors, whoever made them.

        Parameters
        ----------
        embeddings : array-like of shape (n, d)
        triplets : array-like of int, shape (Q, 3)
            Rows of ``embeddings``: (anchor, the choice taken, the choice left).
        weights : array-like of shape (Q,), default=None
            As for :meth:`adapt`.
        random_state : int, RandomState instance or None, default=None
            As for :meth:`adapt`.

        Returns
        -------
        linear_map : LinearMap
            Its ``transform`` maps these vectors and others of the same embedder.

        Raises
        ------
        TypeError, ValueError
            As for :meth:`adapt`.

        Warns
        -----
        UserWarning
            If all answers are about one anchor and several λ are given: none can be
            held out, and the map is the identity.

        Examples
        --------
        >>> import numpy as np
        >>> from skllm_cluster.adaptation import MetricHead
        >>> rng = np.random.default_rng(0)
        >>> z = rng.normal(size=(80, 8))  # what matters is the first column alone
        >>> triplets = rng.permuted(np.tile(range(80), (400, 1)), axis=1)[:, :3]
        >>> anchor, one, two = z[triplets.T, 0]
        >>> swap = abs(anchor - two) < abs(anchor - one)
        >>> triplets[swap] = triplets[swap][:, [0, 2, 1]]
        >>> learnt = MetricHead().fit_map(z, triplets, random_state=0)
        >>> learnt.regularization
        0.03
        >>> learnt.transform(z).shape
        (80, 8)
        """
        self.check()
        _check_some(triplets)
        rng = check_random_state(random_state)
        Z = check_array(embeddings, dtype=[np.float32, np.float64])
        answers, weights, basis = self._prepare(Z, triplets, weights, rng)
        path, d = self._grid(), len(basis)
        if not isinstance(self.regularization, numbers.Real):
            path = self._backed(path, answers, weights, rng)
        if not path or not basis.size:
            return LinearMap.identity(d)
        M = np.zeros((basis.shape[1], basis.shape[1]))
        for strength in path:
            M = best_turn(M, answers, weights, self.temperature, strength)
        logger.info("regularization %g, norm of M %.2f", path[-1], np.linalg.norm(M))
        left, right = (basis @ M).astype(np.float32), basis.T.astype(np.float32)
        return LinearMap(left, right, path[-1])

    def _grid(self) -> tuple[float, ...]:
        """Give the values of λ, the strongest first."""
        given: Any = _GRID if self.regularization is None else self.regularization
        values = np.unique(given)[::-1] if _are_numbers(given) else np.empty(0)
        if not len(values) or not (np.isfinite(values) & (values > 0)).all():
            raise ValueError(
                "The 'regularization' parameter of MetricHead must be a finite number "
                "above 0, a sequence of them, or None. Got "
                f"{shorten(self.regularization)}."
            )
        return tuple(values.tolist())

    def _prepare(
        self,
        Z: NDArray[Any],
        triplets: ArrayLike,
        weights: ArrayLike | None,
        rng: np.random.RandomState,
    ) -> tuple[Coordinates, NDArray[np.float64], NDArray[np.float64]]:
        """Find the coordinates of the answers, their weights, and the basis."""
        counted, given = counted_triplets(triplets, weights)
        used, rows = np.unique(counted, return_inverse=True)
        # A text that occurs in several rows is one text, and counts once in the basis.
        X, same = np.unique(Z[used], axis=0, return_inverse=True)
        X = X.astype(np.float64)
        X /= np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-12)
        basis = leading_directions(X, self.rank, int(rng.randint(2**31)))
        answers = Coordinates.of(X, same.ravel()[rows.reshape(-1, 3)], basis)
        return answers, np.ones(len(counted)) if given is None else given, basis

    def _backed(
        self,
        grid: tuple[float, ...],
        answers: Coordinates,
        weights: NDArray[np.float64],
        rng: np.random.RandomState,
    ) -> tuple[float, ...]:
        """Give the values of λ down to the one that held-out answers back; or none."""
        anchors, place = np.unique(answers.triplets[:, 0], return_inverse=True)
        n_folds = min(self.n_folds, len(anchors))
        if n_folds < 2:
            warnings.warn(
                "All answers are about one anchor, so none can be held out to choose "
                "the regularization; the embedding stays as it was. Ask about more "
                "anchors, or pass one number as regularization.",
                UserWarning,
                stacklevel=3,
            )
            return ()
        fold = (rng.permutation(len(anchors)) % n_folds)[place]
        r = answers.inside.shape[1]
        held_out = np.empty((len(grid), len(weights)))
        for part in range(n_folds):
            out, M = fold == part, np.zeros((r, r))
            others, theirs = answers.only(~out), weights[~out] / weights[~out].mean()
            for i, strength in enumerate(grid):
                M = best_turn(M, others, theirs, self.temperature, strength)
                held_out[i, out] = margins_of(M, answers.only(out))
        before = margins_of(np.zeros((r, r)), answers)
        gains = weights * (_scaled(held_out) - _scaled(before))
        return grid[: _strongest_of_the_best(gains)]


def _strongest_of_the_best(gains: NDArray[np.float64]) -> int:
    """Say how far to go down a grid, whose gains are (L, Q); 0 stays the identity."""
    n = gains.shape[1]
    # Two answers of different folds speak for or against each other twice, once from
    # either side, with the same sign: the variance of the mean is twice what it would
    # be of independent gains.
    mean, error = gains.mean(axis=1), gains.std(axis=1, ddof=1) * np.sqrt(2 / n)
    sure = mean > student.isf(_LEVEL, n - 1) * error
    if not sure.any():
        return 0
    best = int(np.argmax(np.where(sure, mean, -np.inf)))
    behind = gains[best] - gains
    error = behind.std(axis=1, ddof=1) * np.sqrt(2 / n)
    return 1 + int(np.argmax(sure & (behind.mean(axis=1) <= error)))


def _scaled(margins: NDArray[np.float64]) -> NDArray[np.float64]:
    size = np.sqrt(np.mean(margins**2, axis=-1, keepdims=True))
    return np.asarray(margins / np.maximum(size, 1e-12))


def _are_numbers(given: Any) -> bool:
    values = np.asarray(given)
    return values.ndim <= 1 and values.dtype.kind in "iuf"


def _check_some(triplets: ArrayLike) -> None:
    if not np.size(triplets):
        raise ValueError("MetricHead needs at least one answered triplet, got none.")
