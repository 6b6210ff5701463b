"""An embedder that needs no model and no download."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.feature_extraction.text import HashingVectorizer

from .._validation import as_texts, import_extra

if TYPE_CHECKING:
    import torch

__all__ = ["HashingEmbedder"]


class HashingEmbedder(BaseEstimator):
    """Embed texts by a random projection of their hashed words and word pieces.

    Offline, instant and trainable: for examples, tests and a first look. Texts are
    alike if they share words or parts of words; what they mean is not known to it.

    Parameters
    ----------
    n_dimensions : int, default=256
        Length of the vectors.
    n_features : int, default=8192
        Number of hash buckets for words and character n-grams (of 3 to 5, inside
        words).
    random_state : int, default=0
        Seed of the projection. Unlike elsewhere there is no None: two embedders must
        agree on what a vector means.

    See Also
    --------
    SentenceTransformerEmbedder : A pretrained model; use it for real work.

    Examples
    --------
    >>> from skllm_cluster.embedders import HashingEmbedder
    >>> z = HashingEmbedder().encode(["card lost", "lost my card", "hello"])
    >>> z.shape
    (3, 256)
    >>> bool(z[0] @ z[1] > z[0] @ z[2])
    True
    """

    def __init__(
        self,
        n_dimensions: int = 256,
        *,
        n_features: int = 8192,
        random_state: int = 0,
    ):
        self.n_dimensions = n_dimensions
        self.n_features = n_features
        self.random_state = random_state

    def encode(
        self, texts: Sequence[str], groups: Sequence[int] | None = None
    ) -> NDArray[np.float32]:
        """Embed texts.

        Parameters
        ----------
        texts : sequence of str, of length n
        groups : ignored
            Every text stands alone.

        Returns
        -------
        embeddings : ndarray of float32, shape (n, n_dimensions)
            Of length 1, or 0 for a text without a word.
        """
        projected = self._count(as_texts(texts, "texts")) @ self._projection()
        norm = np.linalg.norm(projected, axis=1, keepdims=True)
        return np.asarray(projected / np.maximum(norm, 1e-12), dtype=np.float32)

    @property
    def module(self) -> Any:
        """The projection, a ``torch.nn.EmbeddingBag`` of (n_features, n_dimensions)."""
        torch = import_extra("torch", "Training a HashingEmbedder")
        if not hasattr(self, "_module"):
            # The tensor shares its memory with the array that encode uses.
            weight = torch.from_numpy(self._projection())
            self._module = torch.nn.EmbeddingBag.from_pretrained(
                weight, freeze=False, mode="sum"
            )
        return self._module

    def forward_from(
        self, texts: Sequence[str], frozen: float = 0.0
    ) -> Callable[[NDArray[np.intp]], torch.Tensor]:
        """Prepare texts for training.

        Parameters
        ----------
        texts : sequence of str
        frozen : ignored
            There is one layer only.

        Returns
        -------
        forward : callable
            From row numbers, shape (B,), to embeddings with gradient, shape (B, d).
        """
        import torch

        module, counts = self.module, self._count(list(texts))

        def forward(rows: NDArray[np.intp]) -> torch.Tensor:
            chosen = counts[rows]
            return torch.nn.functional.normalize(
                module(
                    torch.from_numpy(chosen.indices.astype(np.int64)),
                    torch.from_numpy(chosen.indptr[:-1].astype(np.int64)),
                    per_sample_weights=torch.from_numpy(chosen.data),
                ),
                dim=1,
            )  # (B, d)

        return forward

    def _count(self, texts: list[str]) -> Any:
        """Weigh the hashed features of each text; sparse, shape (n, n_features)."""
        half = {"n_features": self.n_features, "norm": "l2", "dtype": np.float32}
        words = HashingVectorizer(token_pattern=r"(?u)\b\w+\b", **half)
        pieces = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 5), **half)
        return (words.transform(texts) + pieces.transform(texts)).tocsr()

    def _projection(self) -> NDArray[np.float32]:
        key = self.n_dimensions, self.n_features, self.random_state
        if self.__dict__.get("_key") != key:
            shape = (self.n_features, self.n_dimensions)
            drawn = np.random.default_rng(self.random_state).standard_normal(
                shape, dtype=np.float32
            )
            self._weight = drawn / np.float32(np.sqrt(self.n_dimensions))
            self._key = key
            self.__dict__.pop("_module", None)
        weight: NDArray[np.float32] = self._weight
        return weight

    def __sklearn_clone__(self) -> HashingEmbedder:
        clone = type(self)(**self.get_params(deep=False))
        clone._weight, clone._key = self._projection(), self._key
        return clone

    def __deepcopy__(self, memo: dict[int, Any]) -> HashingEmbedder:
        twin = type(self)(**copy.deepcopy(self.get_params(deep=False), memo))
        twin._weight, twin._key = self._projection().copy(), self._key
        return twin

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())  # a copy: it may be our own __dict__
        state.pop("_module", None)  # it is made anew around the array
        return state
