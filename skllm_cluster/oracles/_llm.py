"""An oracle that asks a language model."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any

from sklearn.base import BaseEstimator

from .._validation import shorten
from ..protocols import Reply
from ._batch import read_results
from ._calling import Question
from ._categories import Categories, ProposesCategories
from ._choices import AnswersChoices, Choices
from ._judging import questions_for
from ._kinds import Kind, Texts
from ._pairs import AnswersPairs, Pairs
from ._parsing import CHOICE, YES_NO
from ._session import SharesSession
from ._sets import AnswersSets, Sets
from ._terms import UNLIMITED, check_settings, look_ahead
from ._triplets import AnswersTriplets, Triplets

__all__ = ["LLMOracle"]


class LLMOracle(
    AnswersTriplets,
    AnswersPairs,
    AnswersSets,
    AnswersChoices,
    ProposesCategories,
    SharesSession,
    BaseEstimator,
):
    """Ask a language model which texts belong together.

    Answers triplets, pairs, sets, and choices between categories, whose names it may
    propose, too. Asks many questions at a time, keeps every reply in a journal, and
    uses it again.

    Parameters
    ----------
    complete : callable
        From a prompt (str) to the model's reply (str, or
        :class:`~skllm_cluster.protocols.Reply`): :class:`OpenAIChat`,
        :class:`TransformersChat`, or any function of yours. With ``n_jobs`` above 1 it
        is called from several threads at once.
    perspective : str, default="topic"
        In what respect texts are compared, such as "intent" or "emotion expressed".
        The default is not named where sets are asked about.
    texts : str or (str, str), default="texts"
        What the texts are: a plural noun phrase with the noun last, or singular and
        plural. ``PAPER_WORDINGS`` has this and the perspective for the paper's corpora.
    template : str, optional
        A prompt of yours for triplets, with fields {anchor}, {first}, {second} and,
        perhaps, {perspective}, {texts} and {text}.
    demonstrations : sequence of tuple, default=()
        Pairs with known answers, shown before each pair that is asked about: (first,
        second, same) or (first, second, same, because), where ``because`` is the
        reason in words or the names of the two texts' groups.
    pair_template : str, optional
        A prompt of yours for pairs, with fields {first}, {second} and, perhaps,
        {demonstrations}, {perspective}, {texts} and {text}; such as
        ``PLAIN_PAIR_TEMPLATE``.
    fence : {"auto", "always", "never"}, default="auto"
        Whether texts are quoted, to be told from the prompt. "auto": if one of those
        in it might pose as a part of it; otherwise the prompt is the paper's.
    allow_neither : bool, default=False
        Whether the model may say that both choices or neither share the anchor's group,
        which is so for about half of the entropy triplets. For triplets alone.
    order : {"random", "given", "both"}, default="random"
        In which order the choices of a triplet, the texts of a pair or set, or the
        options of a choice are shown. "random": by chance, for each question. "both",
        not for sets: every question is put twice, and what the two replies do not
        agree on is no answer.
    n_votes : int, default=1
        How often each question is asked; the majority counts, of the votes on a choice
        the plurality. Of use only with a temperature above 0.
    scoring : {"reply", "options", "pmi"}, default="reply"
        "reply" reads what the model says. The others compare likelihoods, which a
        local model can give (:class:`TransformersChat`): of the words "Choice 1" and
        "Choice 2" (of a pair, "Yes" and "No") in both orders, or, for triplets alone,
        how much likelier the anchor makes each choice.
    min_confidence : float in [0.5, 1], default=0.5
        Answers that are known to be less sure are no answers. 0.5 leaves out none.
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
    "neither" are additions. A reply that is not exactly one answer is none (-1).

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
        demonstrations: Sequence[tuple[Any, ...]] = (),
        pair_template: str | None = None,
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
        self.demonstrations = demonstrations
        self.pair_template = pair_template
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

    def plan(
        self,
        questions: Sequence[Any],
        *,
        kind: str | None = None,
        seconds_per_answer: float | None = None,
    ) -> dict[str, Any]:
        """Say what asking would take, and ask nothing.

        Parameters
        ----------
        questions : sequence
            Triplets (anchor, choice 1, choice 2), pairs (text, text), sets, choices
            (texts, options), or what categories are asked about, (texts, known).
        kind : {"triplets", "pairs", "sets", "choices", "categories"}, optional
            Which. None: if the first question is a list of str, sets; if it begins
            with texts, choices; otherwise triplets or pairs, by its length.
        seconds_per_answer : float, optional
            How long a call takes. None: the median of those in the journal.

        Returns
        -------
        plan : dict
            ``questions``, the calls that they all need; ``cached``, those that the
            journal answers; ``calls``, those left; and for these, if none fails,
            ``tokens`` and ``cost`` as (low, high), ``minutes``, and ``within_budget``.
            What is not known is None. A preflight comes on top.

        Raises
        ------
        TypeError, ValueError
            If the questions could not be asked.
        """
        self.check()
        session = self._session()
        wanted, usual = _wanted(self, questions, kind)
        found = session.journal.replies(list(wanted))
        left = [q for key, q in wanted.items() if key not in found]
        counts = {"questions": len(wanted), "cached": len(found), "calls": len(left)}
        pace = session.journal.pace() if seconds_per_answer is None else None
        spent = session.journal.spent(session.ledger)
        pace = pace or seconds_per_answer
        return counts | look_ahead(left, self, spent, pace, usual=usual)

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
        return read_results(path, self._session().journal, _answer)

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
            first), ``n_yes`` (to a pair), ``n_none`` (of the options of a choice),
            ``n_names`` (of categories) and ``n_names_dropped`` (lines that are no
            names), ``n_sets`` and ``n_sets_unusable`` (replies about sets),
            ``n_entities`` (texts of ``n_sets``), ``n_entities_unassigned`` of these,
            ``n_lines_unmatched`` (that are neither text nor title),
            ``first_unusable_reply``. Of calls:
            ``n_calls``, ``n_retries``, ``prompt_tokens``, ``completion_tokens``
            (estimated where the server does not count), ``cost``, ``seconds``. Also
            ``n_long_texts``, ``first_failure``, ``stopped`` ("budget", "error" or
            None), ``preflight`` and ``preflight_pairs``.
        """
        return self._session().report()

    def needs_preflight(self, questions: Sequence[Texts]) -> bool:
        """Say whether a pilot is worth its price.

        Parameters
        ----------
        questions : sequence of tuple of str
            Triplets (anchor, choice 1, choice 2), or pairs (text, text).

        Returns
        -------
        needed : bool
            If at least twice as many replies are missing as ``preflight``.
        """
        if not self.preflight or self.scoring != "reply" or self.batch is not None:
            return False
        wanted = questions_for(self, _by_length(self, questions), questions)
        n_missing = len(wanted) - len(self._session().journal.replies(list(wanted)))
        return n_missing >= 2 * self.preflight


def _wanted(
    oracle: LLMOracle, questions: Sequence[Any], kind: str | None
) -> tuple[dict[str, Question], int]:
    """Give what would be asked, by key, and how many tokens a long reply may have."""
    two: dict[str, type[Triplets] | type[Pairs]]
    two = {"triplets": Triplets, "pairs": Pairs}
    more: dict[str, type[Sets] | type[Choices] | type[Categories]]
    more = {"sets": Sets, "choices": Choices, "categories": Categories}
    if kind not in (None, *two, *more):
        raise ValueError(
            "kind must be 'triplets', 'pairs', 'sets', 'choices', 'categories' or "
            f"None, got {shorten(kind)} instead."
        )
    kind = kind or _by_form(questions)
    if kind in more:
        return more[kind](oracle).wanted(questions)
    known: Kind = two[kind](oracle) if kind else _by_length(oracle, questions)
    return questions_for(oracle, known, questions), UNLIMITED


def _by_form(questions: Sequence[Any]) -> str | None:
    """Tell sets and choices by the first, None for anything else."""
    first = questions[0] if len(questions) else ()
    if not isinstance(first, (list, tuple)):
        return None
    if first and isinstance(first[0], (list, tuple)):
        return "choices"
    return "sets" if isinstance(first, list) else None


def _by_length(oracle: LLMOracle, questions: Sequence[Sequence[str]]) -> Kind:
    """Tell triplets from pairs by the first."""
    first = questions[0] if len(questions) else Triplets.form
    for kind in (Triplets, Pairs):
        if hasattr(first, "__len__") and len(first) == len(kind.form):
            return kind(oracle)
    raise TypeError(
        "questions must be triplets (anchor, choice 1, choice 2) or pairs (text, "
        "text), or sets with kind='sets', or anything else that 'kind' names, got "
        f"{shorten(first)} at index 0."
    )


def _answer(reply: Reply) -> int | None:
    """Read a reply to a triplet or a pair; None for what may be one to anything else.

    No reply is an answer to both. A number alone may be that of an option.
    """
    if not re.search("choice|yes|no", reply.text, re.IGNORECASE):
        return None
    answer = max(CHOICE.parse(reply.text), YES_NO.parse(reply.text))
    return answer if answer >= 0 else None
