"""The client of a server that speaks the OpenAI API, and its key, which nobody sees."""

from __future__ import annotations

import json
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from numbers import Real
from typing import Any
from urllib.parse import urlsplit

from .._validation import check_number, import_extra, shorten
from ._errors import Advice, mark
from ._secrets import hide, make_portable, without

__all__ = ["OpenAIClient", "decode", "no_api"]

_OPENAI = "https://api.openai.com/v1"
_NO_KEY = "not-needed"  # the client insists on a key, local servers do not
_LOCK = threading.Lock()  # held to open a client, never while asking


class OpenAIClient:
    """For an estimator that speaks to a server with the OpenAI API.

    It has the parameters ``model``, ``base_url``, ``api_key_env``, ``timeout`` and
    ``extra_body``. The client is made at first use, and left out of pickles and clones.
    """

    model: str
    base_url: str | None
    api_key_env: str
    timeout: float
    extra_body: Mapping[str, Any] | None

    def check(self) -> None:
        """Check the parameters and that there is a key; send nothing.

        Raises
        ------
        ImportError
            If the package ``openai`` is not installed.
        TypeError, ValueError
            If a parameter is not valid, or the key is missing.
        """
        self._check_settings()
        self._key()
        import_extra("openai", type(self).__name__)

    def _check_settings(self) -> None:
        """Check the parameters, all but the key."""
        if not isinstance(self.model, str) or not self.model:
            raise ValueError(
                f"model must be the name of a model, got {shorten(self.model)} instead."
            )
        check_number(self, "timeout", kind=Real, low=0, closed="neither")
        _check_extra(self.extra_body, type(self).__name__)
        _check_url(self._server())

    def _target(self) -> str:
        """Return where the server is, without what is secret in it."""
        return _plain(self._server() or _OPENAI)

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
                f"{type(self).__name__} found no API key: the environment variable "
                f"{name} is not set. Set it, name another one with api_key_env=, or "
                "say with base_url= which server to ask."
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

    def _exchange(self, send: Callable[[], AbstractContextManager[Any]]) -> str:
        """Send a request, once; return the body of the answer, without the key.

        ``send`` asks the client for a streaming response.
        """
        client = self._open()
        try:
            return _read(client, send, float(self.timeout))
        except Exception as error:
            hide(error, _secret(client))
            make_portable(error)
            raise error from error.__cause__

    def __getstate__(self) -> dict[str, Any]:
        own = {"_client", "_made_for"}
        state: dict[str, Any] = super().__getstate__()  # type: ignore[assignment]
        return {name: value for name, value in state.items() if name not in own}


def decode(content: bytes, charset: str | None) -> str:
    """Decode a body: as JSON wants it, else as the server declares it, else roughly."""
    try:
        return content.decode(json.detect_encoding(content))
    except UnicodeDecodeError:
        pass
    try:
        return content.decode(charset or "utf-8", errors="replace")
    except (LookupError, UnicodeError):  # not an encoding that can be used
        return content.decode(errors="replace")


def no_api(api: str, server: str, text: str, fault: object = None) -> RuntimeError:
    """Make the error for an answer with status 200 that is none of the OpenAI API.

    Parameters
    ----------
    api : str
        Which part of it: "chat".
    server : str
        Where the answer came from.
    text : str
        Its body.
    fault : object, optional
        The error in it, as some proxies send one.

    Returns
    -------
    error : RuntimeError
        No second attempt will change a web page; what is broken may be whole then.
    """
    error = RuntimeError(
        f"The server at {server} did not answer like the OpenAI {api} API: got "
        f"{shorten(text, 200)}. Check base_url."
    )
    status = fault.get("code") if isinstance(fault, dict) else None
    if isinstance(status, int) and 400 <= status <= 599:
        # A proxy that passes an error on, with a status of 200 on the envelope.
        vars(error).update(status_code=status, body=fault)
        return error
    is_page = text.lstrip().startswith("<")
    return mark(error, Advice("stop" if is_page else "again"))


def _client(key: str, server: str | None, timeout: float) -> Any:
    import openai

    try:
        return openai.OpenAI(
            api_key=key, base_url=server, timeout=timeout, max_retries=0
        )
    except Exception as error:  # such as a proxy whose URL is not valid
        hide(error, key)
        del key  # this frame is shown
        raise error from error.__cause__


def _read(
    client: Any, send: Callable[[], AbstractContextManager[Any]], timeout: float
) -> str:
    import openai

    deadline = time.monotonic() + timeout
    received = bytearray()
    try:
        # The client's own timeout is one for each piece of an answer, and its parser
        # lets web pages and broken JSON through: so the bytes, as they come.
        with send() as response:
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


def _check_extra(extra: object, who: str) -> None:
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
            f"extra_body must not ask for a stream: {who} reads whole answers. "
            "Leave 'stream' out."
        )
