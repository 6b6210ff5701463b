"""What a call would send: the name under which its answer is kept."""

from __future__ import annotations

import functools
import hashlib
import inspect
import textwrap
from collections.abc import Callable
from types import CodeType
from typing import Any

from ..journal import question_key
from ._calling import Question
from ._prompts import PROMPT_VERSION

__all__ = ["as_question", "identity", "sent_by"]


def as_question(
    complete: Callable[[str], object], prompt: str, *, sample: int = 0
) -> Question:
    """Name a call by everything that it would send.

    Parameters
    ----------
    complete : callable
        From a prompt to a reply. If it has a method ``request``, that says what is
        sent; any other function is known by :func:`identity`.
    prompt : str
    sample : int, default=0
        Number of the call among those that send the same.
    """
    request = {
        "prompt_version": PROMPT_VERSION,
        "sample": sample,
        "sent": sent_by(complete, prompt),
    }
    return Question(question_key(request), request, prompt)


def sent_by(complete: Any, prompt: str) -> dict[str, Any]:
    """Say what a model would send, as it says itself or as far as it is known."""
    if callable(getattr(complete, "request", None)):
        sent: dict[str, Any] = complete.request(prompt)
        return sent
    return {**identity(complete), "prompt": prompt}


def identity(function: Callable[..., object]) -> dict[str, Any]:
    """Tell functions apart by what they do, as far as that can be seen.

    Two functions are the same if they have the same name, the same source (the same
    bytecode where there is no source), and the same strings as defaults and in their
    closure. Strings only, because numbers there are often counters, and a function
    that counts its calls is the same function afterwards.

    Parameters
    ----------
    function : callable
        A function, a method, a partial or an object with ``__call__``. Of an object,
        the parameters that it gives by ``get_params`` count, too.

    Returns
    -------
    identity : dict
        Of values that JSON can hold.
    """
    if isinstance(function, functools.partial):
        given = [*function.args, *function.keywords.items()]
        return {"partial": identity(function.func), "given": [repr(g) for g in given]}
    if inspect.ismethod(function):
        return {**_of_code(function.__func__), **_parameters(function.__self__)}
    if hasattr(function, "__code__"):
        return _of_code(function)
    if inspect.isroutine(function) or inspect.isclass(function):
        return {"function": _name(function)}  # written in C, or a class
    called = getattr(type(function).__call__, "__code__", None)
    inside = {} if called is None else _of_code(type(function).__call__)
    return {**inside, "function": _name(type(function)), **_parameters(function)}


def _of_code(function: Any) -> dict[str, Any]:
    cells = [cell for cell in function.__closure__ or () if _is_filled(cell)]
    bound = [cell.cell_contents for cell in cells] + list(function.__defaults__ or ())
    return {
        "function": _name(function),
        "source": _digest(function.__code__),
        "strings": [value for value in bound if isinstance(value, str)],
    }


# Reading source takes a file access; a fit asks for the same function a thousand times.
@functools.lru_cache(maxsize=256)
def _digest(code: CodeType) -> str:
    """Hash what a function does; lambdas share lines of source, so not by those."""
    try:
        if code.co_name == "<lambda>":
            raise OSError
        content = textwrap.dedent(inspect.getsource(code)).encode()
    except OSError:  # typed in, or compiled from a string
        content = repr(_bytecode(code)).encode()
    return hashlib.sha256(content).hexdigest()


def _bytecode(code: CodeType) -> list[Any]:
    """Give what bytecode does, without the addresses of nested functions."""
    constants = [_bytecode(c) if inspect.iscode(c) else c for c in code.co_consts]
    return [code.co_code.hex(), code.co_names, constants]


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _parameters(owner: object) -> dict[str, Any]:
    if inspect.isclass(owner) or not hasattr(owner, "get_params"):
        return {}
    params = owner.get_params(deep=False)
    return {"parameters": {name: repr(value) for name, value in params.items()}}


def _name(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"
