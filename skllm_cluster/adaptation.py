"""How answers change the embedding: the library's one training loop."""

from __future__ import annotations

import copy
import logging
import math
import numbers
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from ._validation import check_number, distinct, import_extra
from .losses import contrastive_loss

if TYPE_CHECKING:
    import torch

__all__ = ["FineTuner", "train"]

logger = logging.getLogger(__name__)


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
        counted, weights = _counted(np.reshape(triplets, (-1, 3)), weights)
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


def _counted(
    triplets: NDArray[np.intp], weights: ArrayLike | None
) -> tuple[NDArray[np.intp], NDArray[np.float64] | None]:
    """Leave out triplets that count nothing; give the others weights of mean 1.

    None for equal weights: they are to train exactly as no weights do.
    """
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


def _epochs(
    n: int, batch_size: int, n_epochs: int, rng: np.random.RandomState
) -> Iterator[NDArray[np.intp]]:
    """Give the rows of each batch, shuffled anew for each epoch."""
    for _ in range(n_epochs):
        order = rng.permutation(n)
        for start in range(0, n, batch_size):
            yield order[start : start + batch_size]


def train(
    module: Any,
    loss_of: Callable[[Any], torch.Tensor],
    batches: Iterator[Any],
    *,
    n_steps: int,
    learning_rate: float,
    decay: bool = True,
    clip: float = 1.0,
    dropout: bool = True,
    also: Iterable[Any] = (),
    after_step: Callable[[int], bool | None] | None = None,
    seed: int = 0,
) -> list[float]:
    """Train a module in place: the library's one training loop.

    AdamW without weight decay, with gradients clipped.

    Parameters
    ----------
    module : torch.nn.Module
        Its parameters with ``requires_grad`` are trained. All have it again afterwards.
    loss_of : callable
        From a batch to a scalar tensor.
    batches : iterator
        What ``loss_of`` takes, ``n_steps`` of them.
    n_steps : int
        Number of steps.
    learning_rate : float
        At the first step.
    decay : bool, default=True
        Whether it falls linearly to 0.
    clip : float, default=1.0
        Largest norm of the gradient of the module and of ``also`` together.
    dropout : bool, default=True
        Whether the module is in training mode.
    also : iterable of torch.nn.Parameter, default=()
        Trained with it.
    after_step : callable, default=None
        Told the number of steps done after each. Training ends if it returns True.
    seed : int, default=0
        Of torch. Its global generators are left as they were.

    Returns
    -------
    history : list of float
        The loss at each step.

    Raises
    ------
    FloatingPointError
        If the loss is not finite.

    Examples
    --------
    >>> import torch
    >>> from skllm_cluster.adaptation import train
    >>> line = torch.nn.Linear(1, 1)
    >>> x = torch.tensor([[1.0], [2.0]])
    >>> history = train(
    ...     line,
    ...     lambda _: (line(x) - 3 * x).square().mean(),
    ...     iter(range(200)),
    ...     n_steps=200,
    ...     learning_rate=0.1,
    ... )
    >>> history[-1] < history[0] / 100
    True
    """
    import torch

    weights = [p for p in module.parameters() if p.requires_grad] + list(also)
    optimizer = torch.optim.AdamW(weights, lr=learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: max(0.0, 1 - step / n_steps) if decay else 1.0
    )
    history = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for step, batch in enumerate(batches):
            module.train(dropout)
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(batch)
            history.append(float(loss.detach()))
            if not math.isfinite(history[-1]):
                raise FloatingPointError(
                    f"The loss became {history[-1]} at step {step + 1} of {n_steps}. "
                    "Lower learning_rate, or use dtype='float32'."
                )
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(weights, clip)
            optimizer.step()
            schedule.step()
            if after_step is not None and after_step(step + 1):
                break
    optimizer.zero_grad(set_to_none=True)
    module.eval().requires_grad_(True)
    tenth = max(1, len(history) // 10)
    first, last = np.mean(history[:tenth]), np.mean(history[-tenth:])
    logger.info("trained %d steps, loss %.3f -> %.3f", len(history), first, last)
    return history
