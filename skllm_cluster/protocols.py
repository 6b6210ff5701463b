"""The two seams that carry state: who answers questions, and who embeds texts.

Everything else that can be exchanged (a sampler, a loss, a metric) is a plain
function. Nothing has to inherit from the classes below and nothing is registered
anywhere: an object with the right methods will do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import torch

__all__ = [
    "CategoryOracle",
    "ChoiceOracle",
    "ChoiceQuestion",
    "Embedder",
    "Oracle",
    "Pair",
    "PairOracle",
    "Reply",
    "SetOracle",
    "TrainableEmbedder",
    "Triplet",
]

#: anchor, choice 1, choice 2
Triplet = tuple[str, str, str]
#: two texts
Pair = tuple[str, str]
#: texts that belong together, and options: each a name, or texts of a group
ChoiceQuestion = tuple[Sequence[str], Sequence[str | Sequence[str]]]


@dataclass(frozen=True)
class Reply:
    """What a model said to one request, and what the server told about it.

    A function that asks a model may return one of these in place of a str, and what
    it knows is then counted, kept in the journal, and used.

    Parameters
    ----------
    text : str
        The reply itself; "" if there was none.
    finish_reason : str, optional
        Why the model stopped: "stop"; "length" if it was cut short.
    model : str, optional
        The model that answered, as the server names it.
    prompt_tokens, completion_tokens : int, optional
        What the server counted.
    top_logprobs : tuple of dict, default=()
        For each token of the reply, the log-probabilities of the likeliest tokens.

    Examples
    --------
    >>> from skllm_cluster.protocols import Reply
    >>> Reply("Choice 1", finish_reason="stop", prompt_tokens=70, completion_tokens=3)
    Reply(text='Choice 1', finish_reason='stop', model=None, prompt_tokens=70, ...)
    """

    text: str
    finish_reason: str | None = None
    model: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    top_logprobs: tuple[dict[str, float], ...] = ()


@runtime_checkable
class Oracle(Protocol):
    """Answers questions about texts: an LLM, a person, or known labels.

    An oracle implements only the questions that it can answer: triplets, described
    here, pairs (:class:`PairOracle`), sets (:class:`SetOracle`), choices between
    categories (:class:`ChoiceOracle`), or several of these; and it may propose
    categories (:class:`CategoryOracle`). Wherever an answer is a number,
    **-1 means "no usable answer"**; an oracle never guesses to avoid it. Oracles that
    are to be cloned (``GridSearchCV``) should be :class:`~sklearn.base.BaseEstimator`
    with plain values as parameters.

    See Also
    --------
    CategoryOracle : Names the categories that texts need.
    ChoiceOracle : Says which category or group texts belong to.
    PairOracle : Says whether two texts belong together.
    SetOracle : Says which texts of a set belong together.

    Notes
    -----
    An oracle that knows how sure it is may have a method ``judge_triplets`` as well.
    It returns the answers and, for each, the probability that it is right, shape
    (Q,), NaN where that is not known. For pairs the method is ``judge_pairs``, for
    choices ``judge_choices``.
    """

    def answer_triplets(self, triplets: Sequence[Triplet]) -> ArrayLike:
        """Say which of two choices is closer to an anchor.

        Parameters
        ----------
        triplets : sequence of (anchor, choice 1, choice 2), all str, of length Q

        Returns
        -------
        answers : array-like of int, shape (Q,)
            0 for the first choice, 1 for the second, -1 for no usable answer.
        """
        ...


@runtime_checkable
class PairOracle(Protocol):
    """An oracle that says of two texts whether they belong together.

    See Also
    --------
    Oracle : Says which of two texts is closer to a third; the rules for every oracle.
    """

    def answer_pairs(self, pairs: Sequence[Pair]) -> ArrayLike:
        """Say whether two texts belong together.

        Parameters
        ----------
        pairs : sequence of (text, text), all str, of length P

        Returns
        -------
        answers : array-like of int, shape (P,)
            1 if they do, 0 if they do not, -1 for no usable answer.
        """
        ...


@runtime_checkable
class SetOracle(Protocol):
    """An oracle that says which texts of a set belong together.

    See Also
    --------
    Oracle : Says which of two texts is closer to a third; the rules for every oracle.
    """

    def answer_sets(self, sets: Sequence[Sequence[str]]) -> Sequence[ArrayLike]:
        """Say which texts of each set belong together.

        Parameters
        ----------
        sets : sequence of sequence of str
            What belongs together may depend on what else is in the set.

        Returns
        -------
        labels : sequence of array-like of int, each of shape (size of the set,)
            Equal numbers of at least 0 within a set belong together; -1 for no usable
            answer about that text.
        """
        ...


@runtime_checkable
class ChoiceOracle(Protocol):
    """An oracle that says which of several categories or groups texts belong to.

    See Also
    --------
    CategoryOracle : Names the categories that texts need.
    Oracle : Says which of two texts is closer to a third; the rules for every oracle.
    """

    def answer_choices(self, questions: Sequence[ChoiceQuestion]) -> ArrayLike:
        """Say which option texts belong to.

        Parameters
        ----------
        questions : sequence of (texts, options), of length M
            Texts: at least one str; several are of one group, and asked about together.
            Options: each a str, the name of a category, or a sequence of str, texts of
            a group.

        Returns
        -------
        answers : array-like of int, shape (M,)
            Number of the option, from 0; ``len(options)`` for none of them; -1 for no
            usable answer.
        """
        ...


@runtime_checkable
class CategoryOracle(Protocol):
    """An oracle that names the categories that texts need.

    See Also
    --------
    ChoiceOracle : Says which category or group texts belong to.
    """

    def propose_categories(
        self, texts: Sequence[str], known: Sequence[str] = ()
    ) -> Sequence[str]:
        """Name the categories that texts need beyond the known ones.

        Parameters
        ----------
        texts : sequence of str
        known : sequence of str, default=()
            Names of categories that there are already.

        Returns
        -------
        names : sequence of str
            None of them known; empty if the known ones will do.
        """
        ...


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into vectors.

    An embedder that can be trained has two more members, which
    :class:`~skllm_cluster.adaptation.FineTuner` looks for:

    ``module`` : torch.nn.Module
        What is trained.
    ``forward_from(texts, frozen=0.0)`` : method
        Prepares ``texts`` once and returns a function from row numbers, shape (B,),
        to a tensor, shape (B, d), that carries gradients. The lowest ``frozen`` share
        of the layers is not trained, so that its output is computed once and kept.

    A black-box embedder has neither. ``copy.deepcopy`` of a trainable embedder must
    give one with weights of its own; ``sklearn.base.clone`` must not copy weights.
    """

    def encode(
        self, texts: Sequence[str], groups: Sequence[int] | None = None
    ) -> NDArray[np.float32]:
        """Embed texts for inference.

        Parameters
        ----------
        texts : sequence of str, of length n
        groups : sequence of int of length n, optional
            Equal numbers form one set. None: every text stands alone.

        Returns
        -------
        embeddings : ndarray of float32, shape (n, d)
        """
        ...


@runtime_checkable
class TrainableEmbedder(Embedder, Protocol):
    """An :class:`Embedder` whose weights can be trained."""

    module: torch.nn.Module

    def forward_from(
        self, texts: Sequence[str], frozen: float = 0.0
    ) -> Callable[[NDArray[np.intp]], torch.Tensor]:
        """Prepare texts for training.

        Parameters
        ----------
        texts : sequence of str
        frozen : float in [0, 1), default=0.0
            Share of the layers, from below, that is not trained.

        Returns
        -------
        forward : callable
            From row numbers, shape (B,), to a tensor with gradient, shape (B, d).
        """
        ...
