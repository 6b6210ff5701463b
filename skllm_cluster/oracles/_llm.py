"""An oracle that asks a language model."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from ..protocols import Triplet
from ._ballots import (
    ballots_for,
    count_votes,
    fit_texts,
    questions_for,
    replies_to,
    with_neither,
)
from ._batch import read_results
from ._likelihoods import score
from ._preflight import complaint, run_pilot
from ._prompts import parse_choice
from ._session import OracleError, SharesSession
from ._terms import check_settings, look_ahead

__all__ = ["LLMOracle"]


class LLMOracle(SharesSession, BaseEstimator):
    """Ask a language model which texts belong together.

    Asks many questions at a time, keeps every reply in a journal, and uses it again.

    Parameters
    ----------
    complete : callable
        From a prompt (str) to the model's reply (str, or
        :class:`~skllm_cluster.protocols.Reply`): :class:`OpenAIChat`,
        :class:`TransformersChat`, or any function of yours. With ``n_jobs`` above 1 it
        is called from several threads at once.
    perspective : str, default="topic"
        In what respect texts are compared, such as "intent" or "emotion expressed".
    texts : str or (str, str), default="texts"
        What the texts are: a plural noun phrase with the noun last, or singular and
        plural. ``PAPER_WORDINGS`` has this and the perspective for the paper's corpora.
    template : str, optional
        A prompt of yours, with fields {anchor}, {first}, {second} and, perhaps,
        {perspective}, {texts} and {text}.
    fence : {"auto", "always", "never"}, default="auto"
        Whether texts are quoted, to be told from the prompt. "auto": if one of the
        three might pose as a part of it; otherwise the prompt is the paper's.
    allow_neither : bool, default=False
        Whether the model may say that both choices or neither share the anchor's group,
        which is so for about half of the entropy triplets.
    order : {"random", "given", "both"}, default="random"
        In which order the choices of a triplet are shown. "random": by a fair coin for
        each question. "both": every question is put twice, and what the two replies do
        not agree on is no answer.
    n_votes : int, default=1
        How often each question is asked; the majority counts. Of use only with a
        temperature above 0.
    scoring : {"reply", "options", "pmi"}, default="reply"
        "reply" reads what the model says. The others compare likelihoods, which a
        local model can give (:class:`TransformersChat`): of the words "Choice 1" and
        "Choice 2" in both orders, or how much likelier the anchor makes each choice.
    min_confidence : float in [0.5, 1], default=0.5
        Answers that are known to be less sure are no answers.
    max_characters : int, default=2000
        Longer texts are cut, and counted, or refused.
    long_texts : {"cut", "raise"}, default="cut"
        Which.
    journal : path, AnswerJournal or None, default=None
        Where replies are kept, see :class:`~skllm_cluster.journal.AnswerJournal`. None:
        in memory, as long as this oracle and its clones live.
    replay : bool, default=False
        Whether to answer from the journal alone, and raise if it lacks anything.
    batch : path or None, default=None
        Where open questions are written for a provider's batch API, in place of asking
        them; see :meth:`read_batch`.
    n_jobs : int, default=16
        Calls under way at a time, each in a thread; fewer while the server says so.
    max_retries : int, default=5
        Further tries after a timeout, a lost connection or an error of the server.
    max_retry_seconds : float, default=120.0
        How long a question is tried again, at most.
    requests_per_minute, tokens_per_minute : float, optional
        Limits of the server.
    budget : int or dict, optional
        A number of questions, or limits for some of "questions", "tokens" and "cost".
        Failed calls count; one that could pass a limit is not made.
    prices : tuple of (float, float), optional
        Of a million prompt tokens and of a million completion tokens.
    preflight : int, default=30
        How many questions an estimator puts in both orders before all others.
    on_chance : {"raise", "warn"}, default="raise"
        What happens if they show no more sense than chance.
    verbose : int, default=0
        1 logs at level INFO how the asking goes, 2 shows a progress bar.
    random_state : int, default=0
        Seed of the order, which depends on it and the question's texts alone.

    See Also
    --------
    OpenAIChat, TransformersChat : Models to ask.
    FirstAnswer : Puts people, models and labels in a row.

    Notes
    -----
    The wording is the paper's [1]_; quotation marks, the sentence about them and
    "neither" are additions. A reply that is not exactly one choice is no answer (-1).

    A reply is found again if everything sent is the same. A plain function is known by
    its name, its source and the strings that it closes over.

    References
    ----------
    .. [1] Zhang, Wang and Shang, "ClusterLLM: Large Language Models as a Guide for
       Text Clustering", EMNLP 2023.

    Examples
    --------
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
        complete: Callable[[str], object],
        *,
        perspective: str = "topic",
        texts: str | tuple[str, str] = "texts",
        template: str | None = None,
        fence: str = "auto",
        allow_neither: bool = False,
        order: str = "random",
        n_votes: int = 1,
        scoring: str = "reply",
        min_confidence: float = 0.5,
        max_characters: int = 2000,
        long_texts: str = "cut",
        journal: Any = None,
        replay: bool = False,
        batch: str | PathLike[str] | None = None,
        n_jobs: int = 16,
        max_retries: int = 5,
        max_retry_seconds: float = 120.0,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        budget: Any = None,
        prices: tuple[float, float] | None = None,
        preflight: int = 30,
        on_chance: str = "raise",
        verbose: int = 0,
        random_state: int = 0,
    ):
        self.complete = complete
        self.perspective = perspective
        self.texts = texts
        self.template = template
        self.fence = fence
        self.allow_neither = allow_neither
        self.order = order
        self.n_votes = n_votes
        self.scoring = scoring
        self.min_confidence = min_confidence
        self.max_characters = max_characters
        self.long_texts = long_texts
        self.journal = journal
        self.replay = replay
        self.batch = batch
        self.n_jobs = n_jobs
        self.max_retries = max_retries
        self.max_retry_seconds = max_retry_seconds
        self.requests_per_minute = requests_per_minute
        self.tokens_per_minute = tokens_per_minute
        self.budget = budget
        self.prices = prices
        self.preflight = preflight
        self.on_chance = on_chance
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

        See Also
        --------
        judge_triplets : Answers, how sure they are, and which errors there are.
        """
        return self.judge_triplets(triplets)[0]

    def judge_triplets(
        self, triplets: Sequence[Triplet]
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Ask which of two choices is closer to an anchor, and how sure that is.

        Parameters
        ----------
        triplets : sequence of (anchor, choice 1, choice 2), all str, of length Q

        Returns
        -------
        answers : ndarray of int, shape (Q,)
            0 for the first choice, 1 for the second, -1 for no usable answer.
        confidence : ndarray of float, shape (Q,)
            Probability in [0.5, 1] that the answer is right, as far as is known: from
            log-probabilities, or from the agreement of several votes; otherwise NaN.

        Raises
        ------
        OracleError
            If ``replay`` is set and the journal lacks an answer.
        JournalError
            If the journal cannot be read or written.
        Exception
            What ``complete`` raises, if trying again is of no use.
        """
        self.check()
        fitted = fit_texts(self, self._session(), triplets)
        if self.scoring == "reply":
            ballots = ballots_for(self, fitted)
            replies = replies_to(ballots, self, self._session())
            answers, confidence = count_votes(ballots, replies)
        else:
            answers, confidence = score(self, self._session(), fitted)
        unsure = confidence < self.min_confidence  # NaN is not
        return np.where(unsure, -1, answers), np.where(unsure, np.nan, confidence)

    def preflight_triplets(
        self, triplets: Sequence[Triplet], expected: ArrayLike | None = None
    ) -> dict[str, Any]:
        """Put a few questions in both orders, to see whether the model is of any use.

        Parameters
        ----------
        triplets : sequence of (anchor, choice 1, choice 2), all str
            ``preflight`` of them are asked, up to four times as many in doubt.
        expected : array-like of int, optional
            What the embedder would answer to each.

        Returns
        -------
        report : dict
            ``n_questions``; replies ``n_unusable`` and ``n_neither``; ``flip_rate``, of
            those that the other order changes; ``first_choice_rate``;
            ``embedder_agreement``; ``verdict``: "sound", "chance", "open" or "none".

        Raises
        ------
        OracleError
            If it is "chance" or "none", unless ``on_chance`` is "warn".
        """
        self.check()
        report = run_pilot(
            fit_texts(self, self._session(), triplets),
            None if expected is None else np.asarray(expected),
            size=self.preflight or 30,
            ask=self._pilot,
        )
        self._session().note(preflight=report)
        wrong = complaint(report, self.report()["first_unusable_reply"])
        if wrong and self.on_chance == "raise":
            raise OracleError(f"{wrong} on_chance='warn' goes on all the same.")
        if wrong:
            warnings.warn(wrong, UserWarning, stacklevel=2)
        return report

    def plan(
        self,
        triplets: Sequence[Triplet],
        *,
        seconds_per_answer: float | None = None,
    ) -> dict[str, Any]:
        """Say what asking would take, and ask nothing.

        Parameters
        ----------
        triplets : sequence of (anchor, choice 1, choice 2), all str, of length Q
        seconds_per_answer : float, optional
            How long a call takes. None: the median of those in the journal.

        Returns
        -------
        plan : dict
            ``questions``, the calls that all triplets need; ``cached``, those that the
            journal answers; ``calls``, those left; and for these, if none fails,
            ``tokens`` and ``cost`` as (low, high), ``minutes``, and ``within_budget``.
            What is not known is None. A preflight comes on top.
        """
        self.check()
        session = self._session()
        questions = questions_for(self, fit_texts(self, session, triplets))
        found = session.journal.replies(list(questions))
        left = [q for key, q in questions.items() if key not in found]
        counts = {"questions": len(questions), "cached": len(found), "calls": len(left)}
        pace = session.journal.pace() if seconds_per_answer is None else None
        spent = session.journal.spent(session.ledger)
        return counts | look_ahead(left, self, spent, pace or seconds_per_answer)

    def read_batch(self, path: str | PathLike[str]) -> dict[str, int]:
        """Take the results of a batch into the journal.

        Parameters
        ----------
        path : path
            The provider's output file for the questions in ``batch``, or its error
            file.

        Returns
        -------
        counts : dict
            ``n_answered``, ``n_failed``.

        Raises
        ------
        ValueError
            If a line is no result, or the journal does not know its question.
        """
        journal = self._session().journal
        return read_results(path, journal, lambda reply: parse_choice(reply.text))

    def check(self) -> None:
        """Check the parameters, the journal, and that the model could be asked.

        Raises
        ------
        TypeError, ValueError
            If a parameter is not valid, or ``complete.check()`` says so.
        JournalError
            If the journal cannot be used.
        """
        check_settings(self)
        if callable(getattr(self.complete, "check", None)) and not self.replay:
            self.complete.check()  # type: ignore[attr-defined]
        self._session().journal.check()

    def report(self) -> dict[str, Any]:
        """Sum up what this oracle and its clones did in this process.

        Returns
        -------
        report : dict
            Of questions: ``n_asked`` (got a reply from the model), ``n_cached`` (from
            the journal), ``n_failed``, ``n_open`` (in the last round, without a reply).
            Of distinct replies: ``n_usable``, ``n_neither``, ``n_unusable``,
            ``n_cut_short`` of these, ``n_first_choice`` (that name the choice *shown*
            first), ``first_unusable_reply``. Of calls: ``n_calls``, ``n_retries``,
            ``prompt_tokens``, ``completion_tokens`` (estimated where the server does
            not count), ``cost``, ``seconds``. Also ``n_long_texts``,
            ``first_failure``, ``stopped`` ("budget", "error" or None) and
            ``preflight``.
        """
        return self._session().report()

    def needs_preflight(self, triplets: Sequence[Triplet]) -> bool:
        """Say whether a pilot is worth its price.

        Parameters
        ----------
        triplets : sequence of (anchor, choice 1, choice 2), all str

        Returns
        -------
        needed : bool
            If at least twice as many replies are missing as ``preflight``.
        """
        if not self.preflight or self.scoring != "reply" or self.batch is not None:
            return False
        session = self._session()
        questions = questions_for(self, fit_texts(self, session, triplets))
        n_missing = len(questions) - len(session.journal.replies(list(questions)))
        return n_missing >= 2 * self.preflight

    def _pilot(self, triplets: list[Triplet], swapped: bool) -> NDArray[np.intp]:
        """Answer a pilot's questions in one order."""
        ballots = ballots_for(self, triplets, (swapped,))
        replies = replies_to(ballots, self, self._session())
        return with_neither(count_votes(ballots, replies)[0], ballots, replies)
