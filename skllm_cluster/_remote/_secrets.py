"""Errors of an HTTP client that may be shown, kept and handed on: no key is in them."""

from __future__ import annotations

import copyreg
from typing import Any

from ._errors import chain, peek

__all__ = ["hide", "make_portable", "without"]


def make_portable(error: BaseException) -> None:
    """Let an error of the client, and all of its class, travel between processes.

    Their constructors want more than their arguments, so that in a pool of processes
    the provider's words would give way to one about a result that cannot be read.
    """
    if type(error).__module__.partition(".")[0] == "openai":
        copyreg.pickle(type(error), _reduced)


def _reduced(error: BaseException) -> tuple[Any, ...]:
    return _revived, (type(error), error.args), vars(error)


def _revived(kind: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    return kind.__new__(kind, *args)


def hide(error: BaseException, key: str) -> None:
    """Take the key out of an error, its causes, and the requests that they carry.

    The frames of the HTTP client hold the key too: they are cut off.
    """
    for one in list(chain(error)):
        one.__traceback__ = one.__context__ = None
        one.args = _cleaned(one.args, key)
        _hide_in_traffic(one, key)
        vars(one).update(_cleaned(vars(one), key))


def _hide_in_traffic(error: Any, key: str) -> None:
    response = peek(error, "response")
    responses = [] if response is None else [response, *response.history]
    for owner in [error, *responses]:
        headers = peek(peek(owner, "request"), "headers") or {}
        if "authorization" in headers:
            headers["authorization"] = "***"
    for one in responses:
        said = f"{peek(one, 'text')} {dict(one.headers)}"
        if without(said, key) != said:
            error.response = None  # its status and words are on the error itself


def _cleaned(value: Any, key: str) -> Any:
    if isinstance(value, str):
        return without(value, key)
    if isinstance(value, dict):
        return {_cleaned(k, key): _cleaned(v, key) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        cleaned = [_cleaned(one, key) for one in value]
        return cleaned if isinstance(value, list) else tuple(cleaned)
    return value


def without(text: str, key: str) -> str:
    """Take the key out of a text."""
    # A made-up key of a few letters is no secret, and replacing it would garble.
    return text.replace(key, "***") if len(key) >= 8 else text
