"""A model behind the OpenAI embeddings API, at OpenAI or anywhere else."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone

from .._remote import OpenAIClient
from .._validation import as_texts, check_number, distinct, shorten
from ..journal import AnswerJournal
from ._embeddings_api import cut, in_batches, most_tokens, read_answer
from ._sending import Sender
from ._vector_store import VectorStore, stacked

__all__ = ["OpenAIEmbedder"]

_LOCK = threading.Lock()  # held to make what clones share, never while asking


class OpenAIEmbedder(OpenAIClient, BaseEstimator):
    """Embed texts by a server that speaks the OpenAI embeddings API.

    Every vector is in the journal before it is used, and none that is there is asked
    for again.

    Parameters
    ----------
    model : str, default="text-embedding-3-small"
        Name of the model, as the server knows it.
    dimensions : int, optional
        Length of the vectors, for models that can make them shorter. None leaves it to
        the model.
    prompt : str, optional
        What is put in front of every text, its trailing space included: ``"query: "``
        for E5.
    base_url : str, optional
        Where the server is, such as "http://127.0.0.1:8000/v1". None: what the
        environment variable OPENAI_BASE_URL says, otherwise OpenAI.
    api_key_env : str, default="OPENAI_API_KEY"
        *Name* of the environment variable that holds the key, never the key. If it is
        not set, a server given by ``base_url`` is asked without a real key.
    batch_size : int, default=128
        Texts in a request, at most. OpenAI takes 2,048.
    batch_tokens : int, default=100000
        Tokens in a request, at most, by an estimate. OpenAI takes 300,000.
    max_tokens : int, default=8191
        Tokens of a text, by an estimate, after which it is cut. The default is the
        limit of OpenAI's models.
    journal : path or AnswerJournal, optional
        Where vectors are kept. None: in memory, for as long as this object or a clone
        of it is there; other processes, as in a parallel search, do not see them.
    n_jobs : int, default=8
        Requests under way at a time.
    max_retries : int, default=5
        Further attempts for a request that fails.
    max_retry_seconds : float, default=120.0
        How long a request may fail before everything is given up.
    requests_per_minute, tokens_per_minute : float, optional
        Limits that the provider sets. None: only its refusals slow requests down.
    timeout : float, default=60.0
        Seconds until an attempt is given up, the whole answer included.
    extra_body : dict, optional
        More fields for the request.

    See Also
    --------
    BlackBoxEmbedder : Any other function from texts to vectors.
    SentenceTransformerEmbedder : A model on this machine, which can be trained.

    Notes
    -----
    Tokens are estimated without a tokenizer, on the safe side: one for two characters
    of ASCII, about twice the truth for English, and one for each byte of other
    characters. Texts that are cut are counted in ``report``, and a warning says how
    many; if they are within the model's limit, raise ``max_tokens``.

    An empty text has no vector at OpenAI, and none is made up here: it is refused,
    unless there is a ``prompt``. Equal texts are sent once. Vectors are as the server
    gives them; those of OpenAI have length 1.

    A vector is kept under the server, the model, ``dimensions``, ``extra_body`` and the
    text with its prompt, as base64 of float32: 8 KB for 1,536 dimensions. Where all
    are there, neither a key nor the package ``openai`` is needed. A process that dies
    loses the requests under way. Two processes that need the same texts at the same
    time may both pay for them; threads do not.

    Trying again: no connection, a lost one, timeouts, broken answers and the statuses
    408, 409, 425, 429 and 5xx, after the time that the server asks for. Anything else,
    such as a wrong key or a used-up quota, ends the call at once; what has arrived by
    then is kept.

    The key is read from the environment at first use. It is no parameter, is not
    pickled, and is removed where a server repeats it.

    Examples
    --------
    >>> from skllm_cluster.embedders import OpenAIEmbedder
    >>> embedder = OpenAIEmbedder("bge-m3", base_url="http://127.0.0.1:8000/v1")
    >>> embedder.plan(["card lost", "lost my card", "card lost"])
    {'texts': 2, 'cached': 0, 'requests': 1, 'tokens': (5, 11)}
    """

    def __init__(
        self,
        model: str = "text-embedding-3-small",
        *,
        dimensions: int | None = None,
        prompt: str | None = None,
        base_url: str | None = None,
        api_key_env: str = "OPENAI_API_KEY",
        batch_size: int = 128,
        batch_tokens: int = 100_000,
        max_tokens: int = 8191,
        journal: AnswerJournal | str | PathLike[str] | None = None,
        n_jobs: int = 8,
        max_retries: int = 5,
        max_retry_seconds: float = 120.0,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        timeout: float = 60.0,
        extra_body: Mapping[str, Any] | None = None,
    ):
        self.model = model
        self.dimensions = dimensions
        self.prompt = prompt
        self.base_url = base_url
        self.api_key_env = api_key_env
        self.batch_size = batch_size
        self.batch_tokens = batch_tokens
        self.max_tokens = max_tokens
        self.journal = journal
        self.n_jobs = n_jobs
        self.max_retries = max_retries
        self.max_retry_seconds = max_retry_seconds
        self.requests_per_minute = requests_per_minute
        self.tokens_per_minute = tokens_per_minute
        self.timeout = timeout
        self.extra_body = extra_body

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
        TypeError, ValueError
            If the texts or a parameter will not do, or vectors of one model have
            different lengths.
        ImportError
            If the package ``openai`` is not installed.
        JournalError
            If the journal cannot be used.
        openai.OpenAIError
            If the server refuses, or fails for too long.
        RuntimeError
            If what answers is not an embeddings API, or returns NaN.

        Warns
        -----
        UserWarning
            If texts are cut.
        """
        ready = self._prepare(texts)
        first, inverse = distinct(ready)
        wanted = [ready[i] for i in first]
        shared = self._share()
        start = time.perf_counter()
        with shared.encoding:
            try:
                found = shared.look_up(self._requests(wanted))
                shared.add(n_texts=len(wanted), n_cached=len(found))
                self._fetch([text for text in wanted if text not in found], found)
            finally:
                shared.add(seconds=time.perf_counter() - start)
        return stacked(found, wanted, self.model)[inverse]

    def plan(self, texts: Sequence[str]) -> dict[str, Any]:
        """Say what ``encode`` would send; nothing is sent, and no key is needed.

        Parameters
        ----------
        texts : sequence of str

        Returns
        -------
        plan : dict
            ``texts``, the distinct ones; ``cached``, those in the journal; and for the
            others ``requests``, and ``tokens`` as (low, high): as many as words, and
            the estimate by which batches are made.

        Raises
        ------
        TypeError, ValueError
            If the texts or a parameter will not do.
        """
        ready = list(dict.fromkeys(self._prepare(texts)))
        found = self._share().look_up(self._requests(ready))
        left = [text for text in ready if text not in found]
        low = sum(len(text.split()) for text in left)
        return {
            "texts": len(ready),
            "cached": len(found),
            "requests": len(in_batches(left, self.batch_size, self.batch_tokens)),
            "tokens": (low, sum(map(most_tokens, left))),
        }

    def report(self) -> dict[str, Any]:
        """Sum up what this embedder and its clones did in this process.

        Returns
        -------
        report : dict
            ``n_texts``, the distinct texts of all calls; of these ``n_cached`` (from
            the journal) and ``n_embedded`` (by the server); ``n_cut``, distinct texts
            that were too long. Of requests: ``n_requests``, those that brought
            vectors, ``n_retries``, ``tokens`` (estimated where the server does not
            count them) and ``seconds``.
        """
        return self._share().report()

    def check(self) -> None:
        """Check the parameters, the journal and that there is a key; send nothing.

        Raises
        ------
        ImportError
            If the package ``openai`` is not installed.
        JournalError
            If the journal cannot be used.
        TypeError, ValueError
            If a parameter is not valid, or the key is missing.
        """
        super().check()
        self._share().journal.check()

    def _check_settings(self) -> None:
        super()._check_settings()
        for name in ("batch_size", "batch_tokens", "max_tokens", "n_jobs"):
            check_number(self, name, low=1)
        check_number(self, "dimensions", low=1, optional=True)
        check_number(self, "max_retries", low=0)
        check_number(self, "max_retry_seconds", kind=Real, low=0)
        for name in ("requests_per_minute", "tokens_per_minute"):
            check_number(self, name, kind=Real, low=0, closed="neither", optional=True)
        if not isinstance(self.prompt, (str, type(None))):
            raise TypeError(
                f"prompt must be a str or None, got {shorten(self.prompt)}."
            )

    def _prepare(self, texts: Sequence[str]) -> list[str]:
        """Check texts, and make of them what is sent."""
        given = as_texts(texts, "texts")
        self._check_settings()
        ready = [(self.prompt or "") + text for text in given]
        for i, text in enumerate(ready):
            if not text:
                raise ValueError(
                    f"texts must not be empty, got '' at index {i}. Drop it, or write "
                    "what stands for it, such as '(empty)'."
                )
            if not _is_utf8(text):
                raise ValueError(
                    f"texts must be valid Unicode, got half of a character at index "
                    f"{i}: {shorten(text)}. Write text.encode(errors='replace')."
                    "decode() for it."
                )
        return self._cut(ready)

    def _cut(self, texts: list[str]) -> list[str]:
        fitting = [cut(text, self.max_tokens) for text in texts]
        longer = {t for t, f in zip(texts, fitting, strict=True) if len(t) > len(f)}
        if new := self._share().note_cut(longer):
            warnings.warn(
                f"{new:,} of {len(set(texts)):,} texts have more than "
                f"{self.max_tokens:,} tokens, by an estimate on the safe side, and "
                "were cut there. If the model takes them whole, raise max_tokens.",
                UserWarning,
                stacklevel=4,
            )
        return fitting

    def _fetch(self, texts: list[str], found: dict[str, NDArray[np.float32]]) -> None:
        """Ask for the vectors of texts, and put them into the journal and ``found``."""
        if not texts:
            return
        self.check()
        sender = Sender(
            lambda batch: found.update(self._send(batch)),
            lambda batch: sum(map(most_tokens, batch)),
            n_jobs=self.n_jobs,
            max_retries=self.max_retries,
            max_retry_seconds=self.max_retry_seconds,
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
        )
        try:
            sender.send_all(in_batches(texts, self.batch_size, self.batch_tokens))
        except Exception as error:
            if hasattr(error, "add_note"):  # Python 3.11
                n = sum(text in found for text in texts)
                error.add_note(
                    f"OpenAIEmbedder had vectors of {n:,} of {len(texts):,} new texts "
                    "when this happened; its journal keeps them, and encoding again "
                    "goes on from there."
                )
            raise
        finally:
            self._share().add(n_retries=sender.n_retries)

    def _send(self, batch: list[str]) -> dict[str, NDArray[np.float32]]:
        """Ask for the vectors of a batch, once, and make them durable."""
        create = self._open().embeddings.with_streaming_response.create
        body = self._body(batch)
        sent = {name: body.pop(name) for name in ("model", "input", "encoding_format")}
        started = time.time()
        text = self._exchange(lambda: create(**sent, extra_body=body))
        vectors, tokens = read_answer(text, self._target(), batch, self.dimensions)
        shared = self._share()
        shared.keep(self._requests(batch), vectors, started)
        if tokens is None:
            tokens = sum(map(most_tokens, batch))
        shared.add(n_requests=1, n_embedded=len(batch), tokens=tokens)
        return dict(zip(batch, vectors, strict=True))

    def _body(self, given: Any) -> dict[str, Any]:
        """Return what is sent for a text, or for several."""
        body: dict[str, Any] = {"model": self.model, "input": given}
        # A quarter of the traffic; other servers may know nothing but numbers.
        body["encoding_format"] = "float" if self._server() else "base64"
        if self.dimensions is not None:
            body["dimensions"] = int(self.dimensions)
        return {**body, **(self.extra_body or {})}

    def _requests(self, texts: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Give each text, and the request that its vector is kept under."""
        server = self._target()
        for text in texts:
            body = self._body(text)
            del body["encoding_format"]
            yield text, {"base_url": server, "body": body}

    def _share(self) -> VectorStore:
        with _LOCK:
            shared: VectorStore | None = self.__dict__.get("_shared")
            if shared is None or shared.given is not self.journal:
                shared = self._shared = VectorStore(self.journal)
            return shared

    def __sklearn_clone__(self) -> OpenAIEmbedder:
        params = self.get_params(deep=False)
        twin = type(self)(**{n: clone(p, safe=False) for n, p in params.items()})
        twin.journal = self.journal  # the same object, by which it is known
        twin._shared = self._share()
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> OpenAIEmbedder:
        return self.__sklearn_clone__()

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_shared"}


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
