"""What embedders around a loaded model have in common: who shares its weights."""

from __future__ import annotations

import copy
import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sklearn.base import BaseEstimator

from .._validation import import_extra

if TYPE_CHECKING:
    import torch

__all__ = ["ModelEmbedder", "no_progress_bars"]


class Shared:
    """A loaded model that an embedder and its clones hold together."""

    def __init__(self, key: object, loaded: Any = None, tuned: bool = False):
        self.key, self.tuned = key, tuned
        self.loaded: tuple[Any, Any] | None = loaded  # the model and its tokenizer
        self.told = False  # of texts that were cut
        self.proven = 0.0  # bytes that a batch needed, and had
        self.lock = threading.Lock()


class ModelEmbedder(BaseEstimator, ABC):
    """Loads a model at its first use.

    ``sklearn.base.clone`` shares the model, ``copy.deepcopy`` copies it, and a pickle
    holds its weights only if it is such a copy, which may have been trained. A subclass
    has a parameter ``device``, and says what to load and by which parameters.
    """

    device: Any

    @abstractmethod
    def _load(self) -> tuple[Any, Any]:
        """Load the model, a ``torch.nn.Module``, and its tokenizer."""

    @abstractmethod
    def _key(self) -> object:
        """Give the parameters that decide what is loaded."""

    def _loaded(self) -> tuple[Any, Any]:
        shared, device = self._share(), self._torch_device()
        with shared.lock:
            if shared.loaded is None:
                shared.loaded = self._load()
            model, tokenizer = shared.loaded
            if model.device != device:
                model.to(device)
            return model, tokenizer

    def _tokenize(
        self, texts: list[str], limit: int | None, advice: str
    ) -> list[list[int]]:
        """Tokenize, cut, and warn once of how many texts were cut."""
        _, tokenizer = self._loaded()
        tokens: list[list[int]] = tokenizer(
            texts, truncation=True, max_length=limit
        ).input_ids
        if limit is None or self._share().told:
            return tokens
        full = [i for i, t in enumerate(tokens) if len(t) >= limit]
        if full:
            whole = tokenizer([texts[i] for i in full], verbose=False).input_ids
            cut = sum(len(t) > limit for t in whole)
            if cut:
                self._share().told = True
                warnings.warn(
                    f"{cut:,} of {len(texts):,} texts are longer than "
                    f"{limit} tokens, special tokens included, and were cut there. "
                    f"{advice}",
                    UserWarning,
                    stacklevel=4,
                )
        return tokens

    def _torch_device(self) -> torch.device:
        import_extra("torch", type(self).__name__)
        import torch

        name = self.device
        if name in (None, "auto"):
            name = "cuda" if torch.cuda.is_available() else "cpu"
        device = torch.device(name)
        if name == "cuda":
            device = torch.device("cuda", torch.cuda.current_device())
        return device

    def _share(self) -> Shared:
        shared: Shared | None = self.__dict__.get("_shared")
        if shared is None or shared.key != self._key():
            shared = self._shared = Shared(self._key())
        return shared

    def __sklearn_clone__(self) -> Any:
        clone = type(self)(**self.get_params(deep=False))
        clone._shared = self._share()
        return clone

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        twin = type(self)(**copy.deepcopy(self.get_params(deep=False), memo))
        model, tokenizer = self._loaded()
        loaded = copy.deepcopy(model, memo), tokenizer
        twin._shared = Shared(self._key(), loaded, tuned=True)
        twin._shared.told = self._share().told
        return twin

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())  # a copy: it may be our own __dict__
        shared = state.pop("_shared", None)
        if shared is not None and shared.tuned:
            model, tokenizer = shared.loaded
            # On the CPU, so that the pickle can be read where there is no GPU.
            state["_tuned"] = shared.key, (copy.deepcopy(model).cpu(), tokenizer)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        tuned = state.pop("_tuned", None)
        super().__setstate__(state)
        if tuned is not None:
            key, loaded = tuned
            self._shared = Shared(key, loaded, tuned=True)


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Keep transformers from drawing on the screen while it reads weights."""
    from transformers.utils import logging as module

    logging: Any = module  # it has no types
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
