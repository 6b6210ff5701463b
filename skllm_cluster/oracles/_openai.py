"""A model behind the OpenAI chat API, at OpenAI or anywhere else."""

from __future__ import annotations

import json
import os
import re
import threading
import weakref
from numbers import Integral, Real
from typing import Any

from sklearn.base import BaseEstimator

from .._validation import import_extra, shorten

__all__ = ["OpenAIChat"]

_NO_KEY = "not-needed"  # the client insists on a key, local servers do not
_LOCK = threading.Lock()  # held to open a client and to count, never while asking


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
    timeout : float, default=60.0
        Seconds until an attempt is given up.
    max_retries : int, default=5
        How often the client tries again after a timeout, a lost connection or a
        status 408, 409, 429 or 5xx, waiting longer each time or as long as the
        server says.
    extra_body : dict, optional
        More fields for the request, such as
        ``{"max_completion_tokens": 500, "reasoning_effort": "low"}``.

    Attributes
    ----------
    usage_ : dict
        ``prompt_tokens`` and ``completion_tokens`` so far, as the server counts them
        (0 where it does not). There after the first reply.

    See Also
    --------
    LLMOracle : Turns questions into prompts, and asks many at a time.

    Notes
    -----
    Nothing is sent that was not asked for: the model, one user message without a
    system message, and the parameters that are not None. Reasoning models refuse
    ``temperature`` and ``max_tokens``, or spend all of ``max_tokens`` on thoughts and
    reply with nothing, which is counted as no usable answer: leave both None there.

    The key is read from the environment at first use. It is no parameter, is not
    pickled, and is removed from the text of an error in which a server repeats it.
    Other settings that the client reads by itself (OPENAI_ORG_ID, proxies) work.

    Examples
    --------
    >>> from skllm_cluster.oracles import OpenAIChat
    >>> OpenAIChat("qwen3", base_url="http://127.0.0.1:8000/v1", max_tokens=10)
    OpenAIChat(base_url='http://127.0.0.1:8000/v1', max_tokens=10, model='qwen3')
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key_env: str = "OPENAI_API_KEY",
        temperature: float | None = None,
        max_tokens: int | None = None,
        timeout: float = 60.0,
        max_retries: int = 5,
        extra_body: dict[str, Any] | None = None,
    ):
        self.model = model
        self.base_url = base_url
        self.api_key_env = api_key_env
        self.temperature = temperature
        self.max_tokens = max_tokens
        self.timeout = timeout
        self.max_retries = max_retries
        self.extra_body = extra_body

    def __call__(self, prompt: str) -> str:
        """Send one prompt.

        Parameters
        ----------
        prompt : str

        Returns
        -------
        reply : str
            "" if the server answered without text.

        Raises
        ------
        openai.OpenAIError
            If the server refuses, or still fails after ``max_retries``.
        RuntimeError
            If what answers is not a chat API.
        """
        client = self._open()
        try:
            reply = client.chat.completions.create(**self._request(prompt))
        except json.JSONDecodeError as error:
            raise _no_chat(client, error.doc) from None
        except Exception as error:
            _hide(client.api_key, error)
            raise
        if not getattr(reply, "choices", None):
            raise _no_chat(client, reply)
        self._count(getattr(reply, "usage", None))
        message = getattr(reply.choices[0], "message", None)
        content = getattr(message, "content", None)
        return content if isinstance(content, str) else ""

    def check(self) -> None:
        """Check the parameters and that there is a key; send nothing.

        Raises
        ------
        ImportError
            If the package ``openai`` is not installed.
        ValueError
            If a parameter is not valid, or the key is missing.
        """
        if not isinstance(self.model, str) or not self.model:
            raise ValueError(
                f"model must be the name of a model, got {shorten(self.model)} instead."
            )
        retries: Any = self.max_retries
        if not isinstance(retries, Integral) or retries < 0:
            raise ValueError(
                f"max_retries must be an int of at least 0, got {shorten(retries)} "
                "instead."
            )
        timeout: Any = self.timeout
        if not isinstance(timeout, Real) or not float(timeout) > 0:
            raise ValueError(
                "timeout must be a positive number of seconds, got "
                f"{shorten(timeout)} instead."
            )
        self._key()
        import_extra("openai", "OpenAIChat")

    def _request(self, prompt: str) -> dict[str, Any]:
        optional = {
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "extra_body": self.extra_body,
        }
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            **{name: value for name, value in optional.items() if value is not None},
        }

    def _server(self) -> str | None:
        return self.base_url or os.environ.get("OPENAI_BASE_URL") or None

    def _key(self) -> str:
        name = self.api_key_env
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(
                "api_key_env must be the name of an environment variable, such as "
                "'OPENAI_API_KEY'. What was given is not shown, in case it is a key."
            )
        key = os.environ.get(name, "").strip()
        if not key and self._server() is None:
            raise ValueError(
                f"OpenAIChat found no API key: the environment variable {name} is not "
                "set. Set it, name another one with api_key_env=, or say with "
                "base_url= which server to ask."
            )
        if not (key.isascii() and key.isprintable() and " " not in key):
            # The HTTP client would show a key with a line break in its error.
            raise ValueError(
                f"The environment variable {name} does not hold an API key: it must "
                "be printable ASCII without spaces. Its value is not shown."
            )
        return key or _NO_KEY

    def _open(self) -> Any:
        """Return the client, made once per process and for these parameters."""
        made_for = (
            os.getpid(),  # sockets must not be shared with a forked child
            self._server(),
            self.api_key_env,
            self.timeout,
            self.max_retries,
        )
        with _LOCK:
            if self.__dict__.get("_made_for") != made_for:
                self.check()
                openai = import_extra("openai", "OpenAIChat")
                self._client = openai.OpenAI(
                    api_key=self._key(),
                    base_url=self._server(),
                    timeout=self.timeout,
                    max_retries=self.max_retries,
                )
                # Its own __del__ may come after that of its sockets, which then warn.
                weakref.finalize(self, self._client.close)
                self._made_for = made_for
            return self._client

    def _count(self, usage: object) -> None:
        with _LOCK:
            so_far = self.__dict__.get("usage_", {})
            # Replaced, not changed: whoever reads it never sees half a sum.
            self.usage_ = {
                name: so_far.get(name, 0) + _tokens(usage, name)
                for name in ("prompt_tokens", "completion_tokens")
            }

    def __getstate__(self) -> dict[str, Any]:
        own = {"_client", "_made_for", "usage_"}
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name not in own}


def _tokens(usage: object, name: str) -> int:
    count = getattr(usage, name, 0)
    return count if isinstance(count, int) else 0


def _without(key: str, text: str) -> str:
    # A made-up key of a few letters is no secret, and replacing it would garble.
    return text.replace(key, "***") if len(key) >= 8 else text


def _hide(key: str, error: Any) -> None:
    """Take the key out of an error in which the server repeats it."""
    error.args = tuple(
        _without(key, arg) if isinstance(arg, str) else arg for arg in error.args
    )
    if isinstance(getattr(error, "message", None), str):
        error.message = _without(key, error.message)
    body = str(getattr(error, "body", ""))
    if _without(key, body) != body:
        error.body = None


def _no_chat(client: Any, answer: object) -> RuntimeError:
    url = re.sub(r"//[^/@]*@", "//", str(client.base_url))  # without a password
    answer = answer.to_dict() if hasattr(answer, "to_dict") else answer
    shown = answer if isinstance(answer, str) else repr(answer)
    return RuntimeError(
        f"The server at {url} did not answer like the OpenAI chat API: got "
        f"{shorten(_without(client.api_key, shown), 200)}. Check base_url."
    )
