"""The terms on which questions are asked: budget, prices, and a look ahead."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

from .._validation import check_number, shorten
from ._calling import Question, Terms
from ._prompts import (
    check_demonstrations,
    check_pair_template,
    check_template,
    nouns,
    token_bound,
    token_range,
)

__all__ = ["check_prices", "check_settings", "limits_of", "look_ahead", "terms_of"]

_CHOICES = {
    "fence": ("auto", "always", "never"),
    "order": ("random", "given", "both"),
    "scoring": ("reply", "options", "pmi"),
    "long_texts": ("cut", "raise"),
    "on_chance": ("raise", "warn"),
}
_INTEGERS = {
    "n_votes": 1,
    "max_characters": 1,
    "n_jobs": 1,
    "max_retries": 0,
    "preflight": 0,
    "verbose": 0,
    "random_state": 0,
}
_LIMITS = ("questions", "tokens", "cost")
# Tokens of a reply whose length nothing limits: a choice takes 3, thoughts take more.
UNLIMITED = 500
# What a chat template adds to a prompt, at most; most add 3 to 30.
TEMPLATE = 40


def limits_of(budget: Any, prices: Any, complete: Any) -> dict[str, float]:
    """Check a budget and give it as limits; {} for none.

    Raises
    ------
    TypeError, ValueError
        If it is no budget, or could not be held.
    """
    if budget is None:
        return {}
    if _is_number(budget):
        budget = {"questions": budget}
    if not isinstance(budget, Mapping) or not budget or set(budget) - set(_LIMITS):
        raise TypeError(
            "budget must be a number of questions or a dict with some of "
            f"{_LIMITS}, got {shorten(budget)} instead."
        )
    for name, limit in budget.items():
        if not (_is_number(limit) and limit >= 0):
            raise ValueError(
                f"budget[{name!r}] must be a number of at least 0, got "
                f"{shorten(limit)} instead."
            )
    if "cost" in budget and prices is None:
        raise ValueError(
            "budget has a 'cost', which needs prices=(of a million prompt tokens, of a "
            "million completion tokens)."
        )
    if {"tokens", "cost"} & set(budget) and _reply_tokens(complete) is None:
        raise ValueError(
            f"A budget of tokens or cost cannot be held while {type(complete).__name__}"
            " may reply at any length. Give it max_tokens=."
        )
    return {name: float(limit) for name, limit in budget.items()}


def check_prices(prices: Any) -> tuple[float, float]:
    """Check prices; None are (0, 0).

    Raises
    ------
    ValueError
        If they are not two numbers of at least 0.
    """
    if prices is None:
        return 0.0, 0.0
    valid = isinstance(prices, (tuple, list)) and len(prices) == 2
    if not valid or not all(_is_number(p) and 0 <= p < math.inf for p in prices):
        raise ValueError(
            "prices must be two numbers of at least 0, of a million prompt tokens and "
            f"of a million completion tokens, got {shorten(prices)} instead."
        )
    return float(prices[0]), float(prices[1])


def bound_of(complete: Any) -> Callable[[str], tuple[int, int]]:
    """Give a function from a prompt to the most tokens that it and its reply use."""
    reply = _reply_tokens(complete)

    def bound(prompt: str) -> tuple[int, int]:
        return token_bound(prompt), UNLIMITED if reply is None else reply

    return bound


def terms_of(oracle: Any, ledger: str) -> Terms:
    """Gather an oracle's terms."""
    return Terms(
        n_jobs=oracle.n_jobs,
        max_retries=oracle.max_retries,
        max_retry_seconds=oracle.max_retry_seconds,
        requests_per_minute=oracle.requests_per_minute,
        tokens_per_minute=oracle.tokens_per_minute,
        ledger=ledger,
        limits=limits_of(oracle.budget, oracle.prices, oracle.complete),
        prices=check_prices(oracle.prices),
        bound=bound_of(oracle.complete),
        estimate=lambda text: token_range(text)[1],
    )


def look_ahead(
    questions: Sequence[Question],
    oracle: Any,
    spent: Mapping[str, float],
    seconds_per_answer: float | None,
    *,
    usual: int = UNLIMITED,
) -> dict[str, Any]:
    """Say what it would take to ask these questions, if no attempt fails.

    A reply whose length nothing limits is taken for ``usual`` tokens.

    Returns
    -------
    plan : dict
        ``tokens``, ``cost``, ``minutes``, ``within_budget``: see
        :meth:`LLMOracle.plan`.
    """
    n, most = len(questions), _reply_tokens(oracle.complete, usual)
    ranges = [token_range(question.prompt) for question in questions]
    prompt = (sum(r[0] for r in ranges), sum(r[1] + TEMPLATE for r in ranges))
    if oracle.scoring != "reply":  # nothing is said, and one after the other
        most, n_jobs = 0, 1
    else:
        n_jobs = oracle.n_jobs
    reply = (0 if most == 0 else n, n * (usual if most is None else most))
    tokens = (prompt[0] + reply[0], prompt[1] + reply[1])
    of_prompt, of_reply = check_prices(oracle.prices)
    cost = tuple(
        (p * of_prompt + r * of_reply) / 1e6 for p, r in zip(prompt, reply, strict=True)
    )
    minutes = [
        n * seconds_per_answer / n_jobs / 60 if seconds_per_answer else None,
        n / oracle.requests_per_minute if oracle.requests_per_minute else None,
        tokens[1] / oracle.tokens_per_minute if oracle.tokens_per_minute else None,
    ]
    limits = limits_of(oracle.budget, oracle.prices, oracle.complete)
    # A call is made if its worst case fits, also the last one.
    room = max((token_bound(q.prompt) for q in questions), default=0)
    most_of = {
        "questions": n,
        "tokens": tokens[1] + room,
        "cost": cost[1] + room * of_prompt / 1e6,
    }
    return {
        "tokens": tokens,
        "cost": None if oracle.prices is None else cost,
        "minutes": max((m for m in minutes if m is not None), default=None),
        "within_budget": not n
        or all(
            spent.get(name, 0.0) + most_of[name] <= limit
            for name, limit in limits.items()
        ),
    }


def check_settings(oracle: Any) -> None:
    """Check an oracle's parameters, each by itself and against each other.

    Raises
    ------
    TypeError, ValueError
        If one of them is not valid.
    """
    if not callable(oracle.complete):
        raise TypeError(
            "complete must be a callable from a prompt to a reply, got "
            f"{type(oracle.complete).__name__} instead. For the name of a model: "
            "LLMOracle(OpenAIChat(name))."
        )
    _check_words(oracle)
    for name, allowed in _CHOICES.items():
        value = getattr(oracle, name)
        if value not in allowed:
            raise ValueError(
                f"{name} must be one of {allowed}, got {shorten(value)} instead."
            )
    for name, low in _INTEGERS.items():
        check_number(oracle, name, low=low)
    for name in ("requests_per_minute", "tokens_per_minute"):
        check_number(oracle, name, kind=Real, low=0, closed="neither", optional=True)
    check_number(oracle, "max_retry_seconds", kind=Real, low=0)
    check_number(oracle, "min_confidence", kind=Real, low=0.5, high=1, closed="both")
    check_prices(oracle.prices)
    limits_of(oracle.budget, oracle.prices, oracle.complete)
    _check_scoring(oracle)


def _check_words(oracle: Any) -> None:
    if not isinstance(oracle.perspective, str) or not oracle.perspective.strip():
        raise ValueError(
            "perspective must be a str that says something, got "
            f"{shorten(oracle.perspective)} instead."
        )
    nouns(oracle.texts)
    if oracle.template is not None:
        check_template(oracle.template)
    examples = check_demonstrations(oracle.demonstrations)
    if oracle.pair_template is None:
        return
    if "demonstrations" not in check_pair_template(oracle.pair_template) and examples:
        raise ValueError(
            f"pair_template has no field {{demonstrations}}, so the {len(examples)} "
            "demonstrations would not be shown. Add the field, or set "
            "demonstrations=()."
        )


def _check_scoring(oracle: Any) -> None:
    if oracle.batch is not None and oracle.budget is not None:
        raise ValueError(
            "batch= asks nothing, so budget= cannot be held. Set the limit with the "
            "provider, or ask for fewer questions."
        )
    if oracle.scoring == "reply":
        return
    if not callable(getattr(oracle.complete, "log_likelihoods", None)):
        raise TypeError(
            f"scoring={oracle.scoring!r} needs a model that gives likelihoods, such as "
            f"TransformersChat; {type(oracle.complete).__name__} does not."
        )
    if oracle.budget is not None or oracle.batch is not None:
        raise ValueError(
            f"scoring={oracle.scoring!r} runs a model here, which budget= and batch= "
            "cannot be used with."
        )


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real)


def _reply_tokens(complete: Any, usual: int = UNLIMITED) -> int | None:
    """Most tokens of a reply; None without a limit, ``usual`` if that is not told."""
    most = getattr(complete, "max_tokens", usual)
    if most is None:
        body = getattr(complete, "extra_body", None) or {}
        most = body.get("max_completion_tokens", body.get("max_tokens"))
    return None if most is None else int(most)
