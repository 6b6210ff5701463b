"""What an estimator and its clones, as in a search, work out once."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
from sklearn.base import clone

__all__ = ["SharesWork", "digest"]


def digest(*parts: Any) -> str:
    """Name values by their content.

    Parameters
    ----------
    *parts : ndarray, or what its ``repr`` tells apart
    """
    content = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            content.update(f"{part.dtype.str}{part.shape}".encode())
            content.update(np.ascontiguousarray(part).data)
        else:
            content.update(repr(part).encode("utf-8", "surrogatepass"))
        content.update(b"\0")
    return content.hexdigest()


class _Results:
    """The last results, by what they were made of."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any], most: int) -> Any:
        with self._lock:  # who comes second waits rather than make it too
            if key not in self._found:
                self._found[key] = make()
            self._found.move_to_end(key)
            while len(self._found) > most:
                self._found.popitem(last=False)
            return self._found[key]


class SharesWork:
    """For an estimator whose clones share results that take long.

    ``_kept`` is how many are held at most. Pickles leave them out.
    """

    _kept = 8  # as many as a search has folds, and more
    _results: _Results

    def _once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return what ``make`` returned for this key, now or in a clone."""
        return self._shared().get(key, make, self._kept)

    def _shared(self) -> _Results:
        if "_results" not in self.__dict__:
            self._results = _Results()
        return self._results

    def __sklearn_clone__(self) -> Any:
        params = self.get_params(deep=False)  # type: ignore[attr-defined]
        twin = type(self)(**{n: clone(p, safe=False) for n, p in params.items()})
        twin._results = self._shared()
        return twin

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()  # type: ignore[assignment]
        return {name: value for name, value in state.items() if name != "_results"}
