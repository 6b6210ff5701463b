"""Whole fits that ask a chat server, whose answers are simulated from known labels."""

from __future__ import annotations

import functools
import json
import os
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from chat_server import ChatServer

from skllm_cluster import ClusterLLMClusterer
from skllm_cluster.datasets import load_support_messages
from skllm_cluster.embedders import HashingEmbedder
from skllm_cluster.oracles import LLMOracle, OpenAIChat

os.environ["NO_PROXY"] = "127.0.0.1"  # also in processes that begin later

N_TEXTS, N_QUESTIONS = 200, 120
#: Distinct prompts of one fit: one half of the pilot is part of the questions.
N_PROMPTS = N_QUESTIONS + 30


@functools.cache
def topics() -> dict[str, str]:
    """The messages that are clustered, and the topic of each."""
    texts, names = load_support_messages(return_labels="topic")
    return dict(zip(texts[:N_TEXTS], names[:N_TEXTS], strict=True))


def messages() -> list[str]:
    return list(topics())


def shown(prompt: str) -> list[str]:
    """The texts that a prompt shows: query, choice 1, choice 2."""
    names = ("Query: ", "Choice 1: ", "Choice 2: ")
    lines = [
        line.partition(": ")[2]
        for line in prompt.splitlines()
        if line.startswith(names)
    ]
    return [line if line in topics() else json.loads(line) for line in lines]


def simulated(prompt: str) -> str:
    """Answer by the topics, and where they do not decide alike in both orders."""
    query, one, two = shown(prompt)
    same = [topics()[text] == topics()[query] for text in (one, two)]
    return f"Choice {1 if (same[0] if sum(same) == 1 else one < two) else 2}"


def clusterer(
    url: str, *, chat: Mapping[str, Any] | None = None, **oracle: Any
) -> ClusterLLMClusterer:
    """An estimator whose labels depend on what a server answers."""
    return ClusterLLMClusterer(
        HashingEmbedder(128, n_features=1024),
        LLMOracle(
            OpenAIChat("served", base_url=url, **(chat or {})),
            **({"perspective": "topic"} | oracle),
        ),
        n_clusters=8,
        n_questions=N_QUESTIONS,
        guard=None,  # whatever is answered counts
        random_state=0,
    )


def prompt_of(request: Mapping[str, Any]) -> str:
    """The prompt of a request, as a server gets it or a journal keeps it."""
    body = request["sent"]["body"] if "sent" in request else request
    return str(body["messages"][0]["content"])


def prompts(server: ChatServer) -> Counter[str]:
    """How often a server was asked each question."""
    return Counter(map(prompt_of, server.requests))


def sprinkled(faults: Mapping[str, Any], share: float) -> Callable[[str], str | None]:
    """Say which fault, if any, a prompt is met with; it depends on the prompt alone."""
    names, n_turns = list(faults), round(len(faults) / share)

    def fault_of(prompt: str) -> str | None:
        turn = zlib.crc32(prompt.encode()) % n_turns
        return names[turn] if turn < len(names) else None

    return fault_of
