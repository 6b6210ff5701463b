"""An oracle that asks a language model."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from .._validation import shorten
from ..protocols import Triplet
from ._prompts import keyed_uniform, parse_choice, triplet_prompt

__all__ = ["LLMOracle"]

_log = logging.getLogger(__name__)
_ORDERS = ("random", "given")
_PENDING = object()  # no reply yet; None is a reply that some callables give
_COUNTING = threading.Lock()


class LLMOracle(BaseEstimator):
    """Ask a language model which texts belong together.

    Turns questions into prompts, asks many at a time, and reads the replies.

    Parameters
    ----------
    complete : callable
        From a prompt (str) to the model's reply (str): :class:`OpenAIChat`, or any
        function of yours. With ``n_jobs`` above 1 it is called from several threads
        at once. If it has a method ``check()``, that is called before any question.
    perspective : str, default="topic"
        In what respect texts are compared, such as "intent" or "emotion expressed".
        It completes "... better corresponds with the Query in terms of".
    texts : str, default="texts"
        What the texts are: a plural noun phrase with the noun last, such as "banking
        customer utterances".
    order : {"random", "given"}, default="random"
        In which order the two choices of a triplet are shown. "random": a fair coin
        for each question, which keeps a model's preference for a position from
        becoming a preference for a text. Answers always refer to the order given.
    n_jobs : int, default=16
        How many questions are under way at a time, each in a thread; with 1 there
        are no threads.
    verbose : int, default=0
        Above 0, every call is summed up through :mod:`logging` at level INFO.
    random_state : int, default=0
        Seed of the order. A plain number: in which order a question is shown depends
        on the seed and its texts alone, whatever else is asked, so the same question
        always gives the same prompt.

    See Also
    --------
    OpenAIChat : Asks any server that speaks the OpenAI chat API.
    TruthOracle : Answers from known labels; a simulation.

    Notes
    -----
    The prompt is the paper's [1]_. Two things differ from its released code: a reply
    that is not exactly one choice is no answer (-1) instead of being searched for the
    words, and line breaks inside a text are shown as spaces. The instruction says
    what to do with a text, but a text that gives orders of its own ("answer Choice
    2") may still sway a model.

    Questions that are equal, up to the order of the choices if that is random, are
    asked once per call. Nothing is kept between calls: a call that is cut short
    loses its answers.

    References
    ----------
    .. [1] Zhang, Wang and Shang, "ClusterLLM: Large Language Models as a Guide for
       Text Clustering", EMNLP 2023.

    Examples
    --------
    Any function will do as a model. This one prefers the choice that comes first in
    the alphabet:

    >>> from skllm_cluster.oracles import LLMOracle
    >>> def complete(prompt):
    ...     first, second = prompt.splitlines()[3:5]
    ...     swapped = first.split(": ")[1] > second.split(": ")[1]
    ...     return "Choice 2" if swapped else "Choice 1"
    >>> oracle = LLMOracle(complete, perspective="intent", texts="utterances")
    >>> oracle.answer_triplets([("hi", "apple", "pear"), ("hi", "pear", "apple")])
    array([0, 1])
    >>> oracle.report()["n_asked"]  # both are the same question
    1
    """

    def __init__(
        self,
        complete: Callable[[str], str],
        *,
        perspective: str = "topic",
        texts: str = "texts",
        order: str = "random",
        n_jobs: int = 16,
        verbose: int = 0,
        random_state: int = 0,
    ):
        self.complete = complete
        self.perspective = perspective
        self.texts = texts
        self.order = order
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    def answer_triplets(self, triplets: Sequence[Triplet]) -> NDArray[np.intp]:
        """Ask which of two choices is closer to an anchor.

        Parameters
        ----------
        triplets : sequence of (anchor, choice 1, choice 2), all str, of length Q

        Returns
        -------
        answers : ndarray of int, shape (Q,)
            0 for the first choice, 1 for the second, -1 for no usable answer.

        Raises
        ------
        Exception
            Whatever ``complete`` raises. No new question is begun after an error;
            those under way are waited for, and a note on the error (Python 3.11)
            says how many were answered.
        """
        self.check()
        swapped = [self._is_swapped(*triplet) for triplet in triplets]  # (Q,)
        prompts = [
            self._prompt(*triplet, swap)
            for triplet, swap in zip(triplets, swapped, strict=True)
        ]
        choices = self._ask(list(dict.fromkeys(prompts)))
        answers = np.array([choices[prompt] for prompt in prompts], dtype=np.intp)
        shown = np.array(swapped, dtype=np.intp)
        return np.where(answers < 0, answers, answers ^ shown)  # (Q,)

    def check(self) -> None:
        """Check the parameters, and that the model could be asked; ask nothing.

        Raises
        ------
        TypeError, ValueError
            If a parameter is not valid, or ``complete.check()`` says so.
        """
        if not callable(self.complete):
            raise TypeError(
                "complete must be a callable from a prompt to a reply, got "
                f"{type(self.complete).__name__} instead. For the name of a model: "
                "LLMOracle(OpenAIChat(name))."
            )
        for name in ("perspective", "texts"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise ValueError(
                    f"{name} must be a str that says something, got {shorten(value)} "
                    "instead."
                )
        if self.order not in _ORDERS:
            raise ValueError(
                f"order must be one of {_ORDERS}, got {shorten(self.order)} instead."
            )
        for name, least in (("n_jobs", 1), ("random_state", 0)):
            value = getattr(self, name)
            if not isinstance(value, Integral) or value < least:
                raise ValueError(
                    f"{name} must be an int of at least {least}, got {shorten(value)} "
                    "instead."
                )
        if hasattr(self.complete, "check"):
            self.complete.check()

    def report(self) -> dict[str, Any]:
        """Sum up what was asked since this oracle was made.

        Returns
        -------
        report : dict
            ``n_asked`` (questions that got a reply), ``n_usable``, ``n_unusable``,
            ``n_first_choice`` (replies that name the choice *shown* first; about half
            of ``n_usable`` if the model has no preference for a position),
            ``first_unusable_reply`` (str or None), ``seconds`` spent on asking, and,
            if ``complete`` counts them, ``prompt_tokens`` and ``completion_tokens``.
        """
        with _COUNTING:
            counts = dict(self._counts())
        usage = getattr(self.complete, "usage_", {})
        tokens = ("prompt_tokens", "completion_tokens")
        return counts | {name: usage[name] for name in tokens if name in usage}

    def _is_swapped(self, anchor: str, first: str, second: str) -> bool:
        if self.order == "given":
            return False
        coin = keyed_uniform(int(self.random_state), "order", anchor, first, second)
        # The coin names the text shown first, so both orders give one prompt.
        return (coin < 0.5) != (first <= second)

    def _prompt(self, anchor: str, first: str, second: str, swap: bool) -> str:
        if swap:
            first, second = second, first
        return triplet_prompt(
            anchor, first, second, perspective=self.perspective, texts=self.texts
        )

    def _ask(self, prompts: list[str]) -> dict[str, int]:
        """Ask each prompt once; return the number of the choice shown, or -1."""
        replies: list[object] = [_PENDING] * len(prompts)
        start = time.perf_counter()
        try:
            _fill(replies, prompts, self.complete, int(self.n_jobs))
        except BaseException as error:
            _note(error, sum(reply is not _PENDING for reply in replies), len(prompts))
            raise
        finally:
            self._count(replies, time.perf_counter() - start)
        return {
            prompt: parse_choice(reply)
            for prompt, reply in zip(prompts, replies, strict=True)
        }

    def _count(self, replies: list[object], seconds: float) -> None:
        replies = [reply for reply in replies if reply is not _PENDING]
        choices = [parse_choice(reply) for reply in replies]
        n_unusable = choices.count(-1)
        with _COUNTING:
            counts = self._counts()
            counts["n_asked"] += len(replies)
            counts["n_usable"] += len(replies) - n_unusable
            counts["n_unusable"] += n_unusable
            counts["n_first_choice"] += choices.count(0)
            counts["seconds"] += seconds
            if n_unusable and counts["first_unusable_reply"] is None:
                reply = replies[choices.index(-1)]
                shown = reply if isinstance(reply, str) else repr(reply)
                counts["first_unusable_reply"] = shown
        if self.verbose:
            _log.info(
                "Asked %d questions in %.1f s; %d of the replies are no usable answer.",
                len(replies),
                seconds,
                n_unusable,
            )

    def _counts(self) -> dict[str, Any]:
        if "_counted" not in self.__dict__:
            self._counted: dict[str, Any] = {
                "n_asked": 0,
                "n_usable": 0,
                "n_unusable": 0,
                "n_first_choice": 0,
                "first_unusable_reply": None,
                "seconds": 0.0,
            }
        return self._counted

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_counted"}


def _fill(
    replies: list[object],
    prompts: list[str],
    complete: Callable[[str], object],
    n_jobs: int,
) -> None:
    """Put the reply to each prompt into its place, asking n_jobs at a time."""
    stopped = threading.Event()

    def ask(i: int) -> None:
        if stopped.is_set():
            return
        try:
            replies[i] = complete(prompts[i])
        except BaseException:
            stopped.set()
            raise

    if n_jobs == 1:
        for i in range(len(prompts)):
            ask(i)
        return
    pool = ThreadPoolExecutor(n_jobs, thread_name_prefix="LLMOracle")
    wait = True
    try:
        for _ in pool.map(ask, range(len(prompts))):
            pass
    except KeyboardInterrupt:
        wait = False  # who interrupts does not want to sit out a slow server
        raise
    finally:
        stopped.set()
        pool.shutdown(wait=wait, cancel_futures=True)


def _note(error: BaseException, n_answered: int, n_questions: int) -> None:
    if hasattr(error, "add_note"):  # Python 3.11
        error.add_note(
            f"LLMOracle had answers to {n_answered:,} of {n_questions:,} questions "
            "when this happened; they are not kept."
        )
