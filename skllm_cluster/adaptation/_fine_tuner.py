"""Train all weights of an embedder, or its upper layers, on answered triplets."""

from __future__ import annotations

import copy
import math
import numbers
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from .._validation import check_number, distinct, import_extra
from ..losses import contrastive_loss
from ._counted import counted_triplets
from ._training import train

if TYPE_CHECKING:
    import torch

__all__ = ["FineTuner"]


class FineTuner(BaseEstimator):
    """Train an embedder on answered triplets (ClusterLLM, section 3.1.2).

    Parameters
    ----------
    learning_rate : float, default=1e-4
        Of AdamW at the first step; it falls linearly to 0, without warm-up.
    batch_size : int, default=16
        B, triplets in a step. All of a step serve each other as negatives.
    n_epochs : int, default=2
        Passes over the triplets.
    temperature : float, default=0.05
        τ of :func:`~skllm_cluster.losses.contrastive_loss`.
    frozen : float, default=2/3
        Share of the transformer's layers, from below, that is not trained.
    dropout : bool, default=True
        Whether the dropout of the model's trained layers is on.

    See Also
    --------
    MetricHead : For embedders that cannot be trained, and far faster.
    skllm_cluster.losses.answer_weights : What answers count, by their confidence.
    skllm_cluster.losses.contrastive_loss : The loss.

    Notes
    -----
    The defaults are fast settings for small embedders: the frozen layers are computed
    once, each distinct text once in a step, and texts of like length together.
    :meth:`paper` has the settings of the paper, which train all layers at a small
    learning rate for 15 epochs. Both are compared in the benchmark tables of the
    documentation.

    Triplets are shuffled before each epoch; the released code reads them in the order
    of its file every time.

    Training on the CPU is deterministic for a ``random_state``; on a GPU, up to the
    order in which its kernels add.

    Examples
    --------
    >>> from skllm_cluster.adaptation import FineTuner
    >>> from skllm_cluster.embedders import HashingEmbedder
    >>> texts = ["lost card", "card stolen", "card fees"]
    >>> embedder = HashingEmbedder()
    >>> tuned = FineTuner().adapt(embedder, texts, [[0, 1, 2]], random_state=0)
    >>> before, after = embedder.encode(texts), tuned.encode(texts)
    >>> bool(after[0] @ after[1] > before[0] @ before[1])
    True
    """

    needs_module = True

    def __init__(
        self,
        *,
        learning_rate: float = 1e-4,
        batch_size: int = 16,
        n_epochs: int = 2,
        temperature: float = 0.05,
        frozen: float = 2 / 3,
        dropout: bool = True,
    ):
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_epochs = n_epochs
        self.temperature = temperature
        self.frozen = frozen
        self.dropout = dropout

    @classmethod
    def paper(cls, **changes: Any) -> FineTuner:
        """Make a fine-tuner with the paper's settings.

        Learning rate 2e-6, batches of 4, 15 epochs (3,840 steps for 1,024 triplets), τ
        0.01, nothing frozen.

        Parameters
        ----------
        **changes
            Parameters that are to differ.

        Returns
        -------
        tuner : FineTuner

        Examples
        --------
        >>> from skllm_cluster.adaptation import FineTuner
        >>> FineTuner.paper(n_epochs=5).n_epochs  # the paper's choice for E5
        5
        """
        settings: dict[str, Any] = {
            "learning_rate": 2e-6,
            "batch_size": 4,
            "n_epochs": 15,
            "temperature": 0.01,
            "frozen": 0.0,
        }
        return cls(**(settings | changes))

    def check(self, embedder: Any) -> None:
        """Check the parameters, and that an embedder can be trained here.

        Parameters
        ----------
        embedder : Embedder

        Raises
        ------
        TypeError, ValueError
            If one of them will not do.
        ImportError
            If torch is not installed.
        """
        check_number(self, "learning_rate", kind=numbers.Real, low=0, closed="neither")
        check_number(self, "batch_size", low=1)
        check_number(self, "n_epochs", low=1)
        check_number(self, "temperature", kind=numbers.Real, low=0, closed="neither")
        check_number(self, "frozen", kind=numbers.Real, low=0, high=1)
        if not callable(getattr(embedder, "forward_from", None)):
            raise TypeError(
                f"FineTuner cannot train {type(embedder).__name__}: it has no "
                "'forward_from'. Use an embedder that can be trained, such as "
                "SentenceTransformerEmbedder, or oracle=None to cluster its vectors "
                "as they are."
            )
        import_extra("torch", "FineTuner")

    def adapt(
        self,
        embedder: Any,
        texts: Sequence[str],
        triplets: ArrayLike,
        *,
        weights: ArrayLike | None = None,
        random_state: Any = None,
    ) -> Any:
        """Train a copy of an embedder.

        Parameters
        ----------
        embedder : Embedder
            With ``module`` and ``forward_from``. It is not changed.
        texts : sequence of str, of length n
        triplets : array-like of int, shape (Q, 3)
            Rows of ``texts``: (anchor, the choice taken, the choice left).
        weights : array-like of shape (Q,), default=None
            What each triplet counts in the loss; only their ratios matter. Triplets
            that count 0 are left out. None, or equal weights: all count the same.
        random_state : int, RandomState instance or None, default=None
            Determines the order of the triplets, and dropout.

        Returns
        -------
        tuned : Embedder
            Of the same class, with weights of its own.

        Raises
        ------
        TypeError, ValueError
            As for :meth:`check`, or if there is no triplet, or weights are not one
            finite number per triplet, none negative and not all 0.
        """
        self.check(embedder)
        import torch

        rng = check_random_state(random_state)
        if not np.size(triplets):
            raise ValueError("FineTuner needs at least one answered triplet, got none.")
        counted, weights = counted_triplets(triplets, weights)
        tuned = copy.deepcopy(embedder)
        occurring, rows = np.unique(counted, return_inverse=True)
        first, inverse = distinct([texts[i] for i in occurring])
        rows = inverse[rows.reshape(-1, 3)]  # (Q, 3), of the distinct texts
        forward = tuned.forward_from([texts[i] for i in occurring[first]], self.frozen)

        def loss_of(batch: NDArray[np.intp]) -> torch.Tensor:
            used, place = np.unique(rows[batch], return_inverse=True)
            z = forward(used)  # (distinct texts of the batch, d)
            z = z[torch.from_numpy(place.reshape(-1, 3)).to(z.device)]  # (B, 3, d)
            w = None if weights is None else torch.from_numpy(weights[batch]).to(z)
            return contrastive_loss(
                *z.unbind(dim=1), temperature=self.temperature, weights=w
            )

        train(
            tuned.module,
            loss_of,
            _epochs(len(rows), self.batch_size, self.n_epochs, rng),
            n_steps=self.n_epochs * math.ceil(len(rows) / self.batch_size),
            learning_rate=self.learning_rate,
            dropout=self.dropout,
            seed=int(rng.randint(2**31)),
        )
        return tuned


def _epochs(
    n: int, batch_size: int, n_epochs: int, rng: np.random.RandomState
) -> Iterator[NDArray[np.intp]]:
    """Give the rows of each batch, shuffled anew for each epoch."""
    for _ in range(n_epochs):
        order = rng.permutation(n)
        for start in range(0, n, batch_size):
            yield order[start : start + batch_size]
