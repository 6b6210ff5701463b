"""A model behind the OpenAI chat API, at OpenAI or anywhere else."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

from sklearn.base import BaseEstimator

from .._remote import OpenAIClient
from .._validation import check_number, shorten
from ..protocols import Reply
from ._chat_api import adapt, learn, read_reply

__all__ = ["OpenAIChat"]


class OpenAIChat(OpenAIClient, BaseEstimator):
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
        create = self._open().chat.completions.with_streaming_response.create
        asked = self.request(prompt)
        target = asked["base_url"], self.model
        own = self._parameters().keys() - {*(self.extra_body or {})}
        body = adapt(asked["body"], own, target)
        more = {k: v for k, v in body.items() if k not in ("model", "messages")}
        try:
            text = self._exchange(
                lambda: create(
                    model=body["model"], messages=body["messages"], extra_body=more
                )
            )
        except Exception as error:
            learn(error, own & body.keys(), target)
            raise
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
            "base_url": self._target(),
            "body": {
                "model": self.model,
                "messages": [{"role": "user", "content": prompt}],
                **self._parameters(),
                **(self.extra_body or {}),
            },
        }

    def _check_settings(self) -> None:
        super()._check_settings()
        check_number(self, "temperature", kind=Real, low=0, optional=True)
        check_number(self, "max_tokens", low=1, optional=True)
        if not isinstance(self.logprobs, bool):
            raise TypeError(f"logprobs must be a bool, got {shorten(self.logprobs)}.")

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
