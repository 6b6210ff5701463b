"""A language model that runs here."""

from __future__ import annotations

import hashlib
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator

from .._validation import check_number, import_extra, shorten
from ..protocols import Reply
from ._causal import CausalModel, Frame, choose_dtype, load

__all__ = ["TransformersChat"]

_DTYPES = ("auto", "bfloat16", "float32")
_LOCK = threading.Lock()  # held to find or make what clones share, never to load
# What decides how a model answers: weights, configuration, tokenizer, chat template.
_SUFFIXES = {".bin", ".jinja", ".json", ".model", ".safetensors", ".txt"}
_SAMPLES, _SAMPLE = 32, 65536  # of a large file: so many places, bytes at each


class _Shared:
    """What a model and its clones hold together."""

    def __init__(self, key: object):
        self.key = key
        self.lock = threading.Lock()  # one thread at a time
        self.loaded: CausalModel | None = None
        self.fingerprint: str | None = None
        self.n_cut = 0


class TransformersChat(BaseEstimator):
    """Run a causal language model on this machine.

    An instance is a callable from prompt to reply, made for :class:`LLMOracle`, and
    gives likelihoods for its ``scoring="pmi"`` and ``scoring="options"``. Even a small
    model, which cannot say which of two texts is closer, may know it that way. The
    model is loaded at the first use, and clones share it.

    Parameters
    ----------
    model : str or path-like
        A local folder, or a name on the Hugging Face hub.
    gguf_file : str, default=None
        Name of a GGUF file in that folder, whose weights are then de-quantised.
    revision : str, default=None
        Branch, tag or commit on the hub. A commit also tells a journal which weights
        gave an answer; of a local folder, the weights themselves are looked at.
    dtype : {"auto", "bfloat16", "float32"}, default="auto"
        Precision. "auto": bfloat16 where that is fast, float32 elsewhere. It is fast
        on CPUs with AVX512-BF16 or AMX instructions, as PyTorch reports them, and on
        CUDA devices that have it.
    device : str, default=None
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``. None: a CUDA device if there is
        one, else the CPU.
    batch_size : int, default=16
        Texts in one forward pass, fewer where they are long.
    max_tokens : int, default=10
        Longest reply.
    max_length : int, default=None
        Tokens of prompt and reply together. None: the model's own limit. What is longer
        loses the beginning of the prompt, with a warning, and is counted.
    chat : bool, default=None
        Whether prompts are put as the user's turn of the model's chat template, and
        replies are the assistant's. None: if it has one.
    template_options : dict, default=None
        Passed to the chat template, such as ``{"enable_thinking": False}``.

    Attributes
    ----------
    n_cut_ : int
        Prompts that were too long and lost their beginning, of this model and clones.

    See Also
    --------
    LLMOracle : Turns questions into prompts.
    OpenAIChat : Asks a server.

    Notes
    -----
    Replies are greedy: always the likeliest token, so the same prompt has the same
    reply. Threads take turns.

    Likelihoods do not depend on what else is in a batch, up to rounding: 1e-4 of a sum
    in float32. In bfloat16, two to three times as fast, a sentence's log-likelihood
    strays by 0.1 on average and 0.7 at most (SmolLM2-135M, 120 sentences); two choices
    typically differ by 10.

    Texts are data: what looks like a special token of the model is read as letters.

    A journal knows a local model by the name of its folder or file, and by samples of
    what is in it, not by where it lies; "auto" counts as one precision. Code that
    comes with a model is not run.

    Examples
    --------
    Nothing is loaded before it is used:

    >>> from skllm_cluster.oracles import LLMOracle, TransformersChat
    >>> model = TransformersChat("HuggingFaceTB/SmolLM2-135M-Instruct")
    >>> oracle = LLMOracle(model, perspective="intent", scoring="pmi")
    >>> model.request("Choice 1 or Choice 2?")["model"]
    'HuggingFaceTB/SmolLM2-135M-Instruct'
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        gguf_file: str | None = None,
        revision: str | None = None,
        dtype: str = "auto",
        device: str | None = None,
        batch_size: int = 16,
        max_tokens: int = 10,
        max_length: int | None = None,
        chat: bool | None = None,
        template_options: dict[str, Any] | None = None,
    ):
        self.model = model
        self.gguf_file = gguf_file
        self.revision = revision
        self.dtype = dtype
        self.device = device
        self.batch_size = batch_size
        self.max_tokens = max_tokens
        self.max_length = max_length
        self.chat = chat
        self.template_options = template_options

    def __call__(self, prompt: str) -> Reply:
        """Reply to a prompt.

        Parameters
        ----------
        prompt : str

        Returns
        -------
        reply : Reply
            With ``finish_reason`` "stop", or "length" after ``max_tokens``.

        Raises
        ------
        ImportError
            If a package is missing.
        OSError
            If there is no such model.
        ValueError
            If a parameter is not valid.
        """
        with self._use() as (loaded, frame):
            (ids,) = self._put(loaded, frame, [prompt], [int(self.max_tokens)])
            chosen, listed, stopped = loaded.reply(ids, int(self.max_tokens))
            text = loaded.tokenizer.decode(chosen, skip_special_tokens=True)
        return Reply(
            text,
            finish_reason="stop" if stopped else "length",
            model=self._name(),
            prompt_tokens=len(ids),
            completion_tokens=len(chosen) + stopped,
            top_logprobs=tuple(listed),
        )

    def log_likelihoods(
        self, contexts: Sequence[str], continuations: Sequence[str]
    ) -> list[float]:
        """Say how likely texts are after others.

        Parameters
        ----------
        contexts : sequence of str, of length n
            Put to the model like prompts. With a chat template, white space at the end
            is left out; without one, spaces there count as the beginning of the
            continuation, where vocabularies have them. An empty one is the beginning of
            a document.
        continuations : sequence of str, of length n

        Returns
        -------
        values : list of float, of length n
            Each is log p(continuation | context) in nats: the sum over the tokens of
            the continuation, made apart from those of the context. 0 for an empty one.

        Raises
        ------
        ImportError
            If a package is missing.
        OSError
            If there is no such model.
        ValueError
            If the lengths differ, a continuation alone is too long for the model, or
            a parameter is not valid.
        """
        pairs = list(zip(contexts, continuations, strict=True))
        distinct = list(dict.fromkeys(pairs))
        if not distinct:
            return []
        with self._use() as (loaded, frame):
            split = [_split(*pair, chat=frame.chat) for pair in distinct]
            tokens = loaded.tokenize([continuation for _, continuation in split])
            room = [len(ids) for ids in tokens]
            prompts = self._put(loaded, frame, [context for context, _ in split], room)
            both = list(zip(prompts, tokens, strict=True))
            values = loaded.score(both, int(self.batch_size))
        found = dict(zip(distinct, values, strict=True))
        return [found[pair] for pair in pairs]

    def check(self) -> None:
        """Check the parameters and that the packages are there; load nothing.

        Raises
        ------
        ImportError
            If a package is missing.
        TypeError, ValueError
            If a parameter is not valid.
        """
        if not isinstance(self.model, (str, os.PathLike)) or not str(self.model):
            raise TypeError(
                "model must be a folder or the name of a model, got "
                f"{shorten(self.model)}."
            )
        self._check_files()
        if self.dtype not in _DTYPES:
            raise ValueError(f"dtype must be one of {_DTYPES}, got {self.dtype!r}.")
        check_number(self, "batch_size", low=1)
        check_number(self, "max_tokens", low=1)
        check_number(self, "max_length", low=2, optional=True)
        # transformers reads GGUF with the help of both.
        extra = [] if self.gguf_file is None else ["accelerate", "gguf"]
        for module in ["torch", "transformers", *extra]:
            import_extra(module, type(self).__name__)

    def request(self, prompt: str) -> dict[str, Any]:
        """Say what a reply or a likelihood depends on; load nothing.

        Parameters
        ----------
        prompt : str

        Returns
        -------
        request : dict
            The prompt, the parameters that matter, the name of the model, and for a
            local folder a hash over samples of its files.
        """
        shared = self._share()
        with _LOCK:
            if shared.fingerprint is None:
                shared.fingerprint = _fingerprint(Path(self.model), self.gguf_file)
        return {
            "chat": self.chat,
            "dtype": self.dtype,
            "fingerprint": shared.fingerprint,
            "gguf_file": self.gguf_file,
            "max_length": self.max_length,
            "max_tokens": self.max_tokens,
            "model": self._name(),
            "prompt": prompt,
            "revision": self.revision,
            "template_options": self.template_options,
        }

    @property
    def n_cut_(self) -> int:
        """How many prompts were too long."""
        return self._share().n_cut

    def _check_files(self) -> None:
        path = Path(self.model)
        if path.is_file():
            raise ValueError(
                f"model must be a folder, got the file {shorten(str(path))}. For a "
                "GGUF file: TransformersChat(its folder, gguf_file=its name)."
            )
        local = path.is_dir()
        given = os.fspath(self.model)
        if not local and (path.is_absolute() or given.startswith((".", "~"))):
            raise ValueError(f"model: there is no folder {shorten(given, 200)}.")
        if local and self.gguf_file and not (path / self.gguf_file).is_file():
            raise ValueError(
                f"gguf_file: there is no {self.gguf_file!r} in {shorten(str(path))}."
            )

    def _name(self) -> str:
        path = Path(self.model)
        return path.resolve().name if path.is_dir() else str(self.model)

    @contextmanager
    def _use(self) -> Iterator[tuple[CausalModel, Frame]]:
        """Load the model unless it is, and keep other threads from it."""
        self.check()
        import torch

        shared = self._share()
        with shared.lock, torch.inference_mode():
            if shared.loaded is None:
                shared.loaded = self._load()
            options = self.template_options or {}
            yield (
                shared.loaded,
                shared.loaded.frame(self.chat, options, self.max_length),
            )

    def _load(self) -> CausalModel:
        device = self._torch_device()
        try:
            return load(
                str(self.model),
                dtype=choose_dtype(self.dtype, device),
                device=device,
                gguf_file=self.gguf_file,
                revision=self.revision,
            )
        except OSError as error:
            raise OSError(
                f"TransformersChat could not load {self._name()!r}: {error}"
            ) from error

    def _torch_device(self) -> Any:
        import torch

        has_cuda = torch.cuda.is_available()
        return torch.device(self.device or ("cuda" if has_cuda else "cpu"))

    def _put(
        self, loaded: CausalModel, frame: Frame, prompts: list[str], room: list[int]
    ) -> list[list[int]]:
        """Make tokens of prompts, and tell once if any had to be cut."""
        framed, n_cut = loaded.put(frame, prompts, room)
        shared = self._share()
        shared.n_cut += n_cut
        if n_cut and shared.n_cut == n_cut:
            warnings.warn(
                f"{n_cut:,} of {len(prompts):,} prompts leave no room for what follows "
                f"in the {frame.limit:,} tokens that the model takes, and lost their "
                "beginning. Further ones are counted in n_cut_. Shorten the texts, "
                "for example with LLMOracle(max_characters=...).",
                UserWarning,
                stacklevel=3,
            )
        return framed

    def _share(self) -> _Shared:
        key = (
            str(self.model), self.gguf_file, self.revision, self.dtype, self.device
        )  # fmt: skip
        with _LOCK:
            shared: _Shared | None = self.__dict__.get("_shared")
            if shared is None or shared.key != key:
                shared = self._shared = _Shared(key)
            return shared

    def __sklearn_clone__(self) -> TransformersChat:
        clone = type(self)(**self.get_params(deep=False))
        clone._shared = self._share()
        return clone

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_shared"}


def _split(context: str, continuation: str, *, chat: bool) -> tuple[str, str]:
    """Put white space between the two where vocabularies have it."""
    if chat:
        return context.rstrip(), continuation
    before = context.rstrip(" ")
    return before, context[len(before) :] + continuation


def _fingerprint(model: Path, gguf_file: str | None) -> str | None:
    """Hash what is in a local folder, of large files only samples."""
    if not model.is_dir():
        return None
    if gguf_file is not None:
        files = [model / gguf_file]
    else:
        files = [
            p for p in sorted(model.iterdir()) if p.suffix in _SUFFIXES and p.is_file()
        ]
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        step = max(size // _SAMPLES, _SAMPLE)
        with path.open("rb") as file:
            for place in range(0, size, step):
                file.seek(place)
                digest.update(file.read(_SAMPLE))
    return digest.hexdigest()
