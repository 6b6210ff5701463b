"""A model behind the OpenAI chat API, at OpenAI or anywhere else."""

from __future__ import annotations

import json
import os
import threading
import time
import weakref
from collections.abc import Mapping
from numbers import Real
from typing import Any
from urllib.parse import urlsplit

from sklearn.base import BaseEstimator

from .._validation import check_number, import_extra, shorten
from ..protocols import Reply
from ._chat_api import adapt, decode, hide, learn, make_portable, read_reply, without

__all__ = ["OpenAIChat"]

_OPENAI = "https://api.openai.com/v1"
_NO_KEY = "not-needed"  # the client insists on a key, local servers do not
_LOCK = threading.Lock()  # held to open a client, never while asking


class OpenAIChat(BaseEstimator):
    """Send a prompt to a server that speaks the OpenAI chat API.

    An instance is a callable from prompt to reply, made for :class:`LLMOracle`. It
    may be called from several threads.

    Parameters
    ----------
    model : str
        Name of the model, as the server knows it.
    base_url : str, optional
        Where the server is, such as "http://127.0.0.1:8000/v1". None: what the
        environment variable OPENAI_BASE_URL says, otherwise OpenAI.
    api_key_env : str, default="OPENAI_API_KEY"
        *Name* of the environment variable that holds the key, never the key. The
        server at ``base_url`` gets to see its value; if it is not set, a server
        given by ``base_url`` is asked without a real key.
    temperature : float, optional
        None leaves the choice to the server. The paper uses 0.5.
    max_tokens : int, optional
        Longest reply. None leaves the choice to the server. The paper uses 10.
    logprobs : bool, default=False
        Whether to ask for the log-probabilities of the five likeliest tokens, from
        which a confidence can be computed.
    timeout : float, default=60.0
        Seconds until an attempt is given up, the whole answer included.
    extra_body : dict, optional
        More fields for the request, such as
        ``{"max_completion_tokens": 500, "reasoning_effort": "low"}``. They go before
        the parameters above, and are never left out.

    See Also
    --------
    LLMOracle : Turns questions into prompts, asks many at a time, and tries again.

    Notes
    -----
    Nothing is sent that was not asked for: the model, one user message without a
    system message, and the parameters that are set. Each call is one attempt:
    trying again is the oracle's part.

    Newer models refuse some parameters. If the server says so, ``max_tokens`` is sent
    as ``max_completion_tokens``, and ``temperature`` or ``logprobs`` are left out, from
    the next attempt to the end of the process, for this model on this server, also by
    copies of this object. A warning tells it once. Reasoning models may spend all of
    ``max_tokens`` on thoughts and reply with nothing, which ``finish_reason`` "length"
    shows: leave it None there.

    The key is read from the environment at first use. It is no parameter, is not
    pickled, and is removed where a server repeats it, in an error or in a reply. The
    frames of the HTTP client are cut from the traceback of an error, because tools
    that show local variables would show the key in them. Other settings that the
    client reads by itself (OPENAI_ORG_ID, proxies) work.

    Examples
    --------
    >>> from skllm_cluster.oracles import OpenAIChat
    >>> chat = OpenAIChat("qwen3", base_url="http://127.0.0.1:8000/v1", max_tokens=10)
    >>> chat
    OpenAIChat(base_url='http://127.0.0.1:8000/v1', max_tokens=10, model='qwen3')
    >>> chat.request("hello")["body"]
    {'model': 'qwen3', 'messages': [{'role': 'user', 'content': 'hello'}],
     'max_tokens': 10}
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key_env: str = "OPENAI_API_KEY",
        temperature: float | None = None,
        max_tokens: int | None = None,
        logprobs: bool = False,
        timeout: float = 60.0,
        extra_body: Mapping[str, Any] | None = None,
    ):
        self.model = model
        self.base_url = base_url
        self.api_key_env = api_key_env
        self.temperature = temperature
        self.max_tokens = max_tokens
        self.logprobs = logprobs
        self.timeout = timeout
        self.extra_body = extra_body

    def __call__(self, prompt: str) -> Reply:
        """Send one prompt, once.

        Parameters
        ----------
        prompt : str

        Returns
        -------
        reply : Reply
            Its ``text`` is "" if the server answered without text.

        Raises
        ------
        openai.OpenAIError
            If the server refuses, fails, cannot be reached or is too slow.
        RuntimeError
            If what answers is not a chat API, or its answer is broken.
        """
        client = self._open()
        asked = self.request(prompt)
        target = asked["base_url"], self.model
        own = self._parameters().keys() - {*(self.extra_body or {})}
        body = adapt(asked["body"], own, target)
        try:
            text = _exchange(client, body, float(self.timeout))
        except Exception as error:
            hide(error, _secret(client))
            learn(error, own & body.keys(), target)
            make_portable(error)
            raise error from error.__cause__
        return read_reply(text, target[0])

    def request(self, prompt: str) -> dict[str, Any]:
        """Say what would be sent, whatever the server then refuses of it.

        Parameters
        ----------
        prompt : str

        Returns
        -------
        request : dict
            ``base_url`` (without user name and password) and ``body``, the request
            itself, all as JSON values and without the key.
        """
        return {
            "base_url": _plain(self._server() or _OPENAI),
            "body": {
                "model": self.model,
                "messages": [{"role": "user", "content": prompt}],
                **self._parameters(),
                **(self.extra_body or {}),
            },
        }

    def check(self) -> None:
        """Check the parameters and that there is a key; send nothing.

        Raises
        ------
        ImportError
            If the package ``openai`` is not installed.
        TypeError, ValueError
            If a parameter is not valid, or the key is missing.
        """
        if not isinstance(self.model, str) or not self.model:
            raise ValueError(
                f"model must be the name of a model, got {shorten(self.model)} instead."
            )
        check_number(self, "timeout", kind=Real, low=0, closed="neither")
        check_number(self, "temperature", kind=Real, low=0, optional=True)
        check_number(self, "max_tokens", low=1, optional=True)
        if not isinstance(self.logprobs, bool):
            raise TypeError(f"logprobs must be a bool, got {shorten(self.logprobs)}.")
        _check_extra(self.extra_body)
        _check_url(self._server())
        self._key()
        import_extra("openai", "OpenAIChat")

    def _parameters(self) -> dict[str, Any]:
        """Return the parameters of the request that are set, as JSON values."""
        found: dict[str, Any] = {}
        if self.temperature is not None:
            found["temperature"] = float(self.temperature)
        if self.max_tokens is not None:
            found["max_tokens"] = int(self.max_tokens)
        if self.logprobs:
            found |= {"logprobs": True, "top_logprobs": 5}
        return found

    def _server(self) -> str | None:
        return self.base_url or os.environ.get("OPENAI_BASE_URL") or None

    def _key(self) -> str:
        name = self.api_key_env
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(
                "api_key_env must be the name of an environment variable, such as "
                "'OPENAI_API_KEY'. What was given is not shown, in case it is a key."
            )
        # The key is no variable here: tools that show them would show it.
        if not os.environ.get(name, "").strip() and self._server() is None:
            raise ValueError(
                f"OpenAIChat found no API key: the environment variable {name} is not "
                "set. Set it, name another one with api_key_env=, or say with "
                "base_url= which server to ask."
            )
        if not _fits_a_header(os.environ.get(name, "").strip()):
            # The HTTP client would show a key with a line break in its error.
            raise ValueError(
                f"The environment variable {name} does not hold an API key: it must "
                "be printable ASCII without spaces. Its value is not shown."
            )
        return os.environ.get(name, "").strip() or _NO_KEY

    def _open(self) -> Any:
        """Return the client, made once per process and for these parameters."""
        made_for = (
            os.getpid(),  # sockets must not be shared with a forked child
            self._server(),
            self.api_key_env,
            self.timeout,
        )
        with _LOCK:
            if self.__dict__.get("_made_for") != made_for:
                self.check()
                self._client = _client(self._key(), self._server(), float(self.timeout))
                # Its own __del__ may come after that of its sockets, which then warn.
                weakref.finalize(self, self._client.close)
                self._made_for = made_for
            return self._client

    def __getstate__(self) -> dict[str, Any]:
        own = {"_client", "_made_for"}
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name not in own}


def _client(key: str, server: str | None, timeout: float) -> Any:
    openai = import_extra("openai", "OpenAIChat")
    try:
        return openai.OpenAI(
            api_key=key, base_url=server, timeout=timeout, max_retries=0
        )
    except Exception as error:  # such as a proxy whose URL is not valid
        hide(error, key)
        del key  # this frame is shown
        raise error from error.__cause__


def _exchange(client: Any, body: dict[str, Any], timeout: float) -> str:
    """Send a request; return the body of the answer, without the key."""
    import openai

    deadline = time.monotonic() + timeout
    more = {k: v for k, v in body.items() if k not in ("model", "messages")}
    received = bytearray()
    try:
        # The client's own timeout is one for each piece of an answer, and its parser
        # lets web pages and broken JSON through: so the bytes, as they come.
        with client.chat.completions.with_streaming_response.create(
            model=body["model"], messages=body["messages"], extra_body=more
        ) as response:
            for piece in response.iter_bytes():
                received += piece
                if time.monotonic() > deadline:
                    raise openai.APITimeoutError(response.http_request)
            text = decode(bytes(received), response.http_response.charset_encoding)
            return without(text, _secret(client))
    except openai.OpenAIError:
        raise
    except Exception as error:
        # While a body is read, the errors of the HTTP client come as they are.
        request = getattr(error, "request", None)
        if request is None:
            raise
        if "Timeout" in type(error).__name__:
            raise openai.APITimeoutError(request) from error
        raise openai.APIConnectionError(request=request) from error


def _secret(client: Any) -> str:
    return "" if client.api_key == _NO_KEY else str(client.api_key)


def _fits_a_header(key: str) -> bool:
    return key.isascii() and key.isprintable() and " " not in key


def _plain(url: str) -> str:
    """Return a URL without user name, password, query and closing slash."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}".rstrip("/")


def _check_url(url: object) -> None:
    if url is None:
        return
    try:
        parts = urlsplit(url) if isinstance(url, str) else urlsplit("")
        valid = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        valid = False
    if not valid:
        shown = url.rpartition("@")[2] if isinstance(url, str) else url
        raise ValueError(
            "base_url (or OPENAI_BASE_URL) must be a URL such as "
            f"'http://127.0.0.1:8000/v1', got {shorten(shown)} instead."
        )


def _check_extra(extra: object) -> None:
    if extra is None:
        return
    if not isinstance(extra, Mapping) or not all(isinstance(k, str) for k in extra):
        raise TypeError(f"extra_body must be a dict of fields, got {shorten(extra)}.")
    try:
        json.dumps(dict(extra), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"extra_body must hold JSON values only, got {shorten(extra)}: {error}."
        ) from None
    if extra.get("stream"):
        raise ValueError(
            "extra_body must not ask for a stream: OpenAIChat reads whole answers. "
            "Leave 'stream' out."
        )
