"""Fits in processes of their own: killed at any moment, and several at once.

Every answer is simulated by a server in this process, which counts what it is asked.
"""

import itertools
import json
import os
import random
import signal
import threading
import time
from concurrent.futures import Future

import numpy as np
import pytest
from chat_server import ChatServer
from fits import N_PROMPTS, clusterer, messages, prompt_of, prompts, simulated
from journals import start

from skllm_cluster.journal import AnswerJournal

pytest.importorskip("openai")
pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork"), reason="forks, so that no process has to import everything"
)

# Forks a process for each fit that is ordered, and waits for one when told so. What a
# fit has seen made durable, it notes at once, in a file that outlives it.
FORKING = r"""
import json, os, sys
import torch._dynamo
from fits import clusterer, messages
from skllm_cluster.journal import AnswerJournal

def fit(url, journal, notes):
    file = os.open(notes, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

    class Noting(AnswerJournal):
        def record(self, key, attempt):
            super().record(key, attempt)
            os.write(file, f"{key}\n".encode())

    fitted = clusterer(url, journal=Noting(journal)).fit(messages())
    os.write(file, json.dumps(fitted.labels_.tolist()).encode())

# What a first call and a first fit import and build would take each fork half a second.
warm = clusterer(sys.argv[1])
warm.oracle.complete("hello")
warm.set_params(oracle=None).fit(messages())
for line in sys.stdin:
    order = json.loads(line)
    if "pid" in order:
        print(os.waitpid(order["pid"], 0)[1], flush=True)
    elif pid := os.fork():
        print(pid, flush=True)
    else:
        fit(**order)
        os._exit(0)
"""


class Forks:
    """Fits in forked processes."""

    def __init__(self, process):
        self.process = process

    def order(self, **order):
        self.process.stdin.write(f"{json.dumps(order)}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline() or self.process.stderr.read())

    def begin(self, server, journal, notes):
        return self.order(url=server.url, journal=str(journal), notes=str(notes))

    def wait(self, pid):
        """How it ended, as ``os.waitpid`` tells it."""
        return self.order(pid=pid)


@pytest.fixture(scope="module")
def forks():
    with ChatServer(str) as server, start(FORKING, server.url) as process:
        yield Forks(process)
        process.kill()


@pytest.fixture(scope="module")
def unbroken():
    with ChatServer(simulated) as server:
        return clusterer(server.url).fit(messages()).labels_


class Killer:
    """Answers, and kills whoever is named a moment after so many requests.

    The last questions are answered after that, so that it comes while there are some.
    """

    def __init__(self, n_requests, seconds=0.0):
        self.n_requests, self.seconds = n_requests, seconds
        self.n_met, self.lock = 0, threading.Lock()
        self.victim, self.killed = Future(), threading.Event()

    def __call__(self, prompt):
        with self.lock:
            self.n_met += 1
            n_met = self.n_met
        if n_met == self.n_requests:
            pid = self.victim.result(60)
            time.sleep(self.seconds)
            os.kill(pid, signal.SIGKILL)
            self.killed.set()
        elif n_met > N_PROMPTS - 10:
            self.killed.wait(60)
        return simulated(prompt)


def kept_in(journal):
    """Keys and prompts that are answered."""
    found = [a for a in AnswerJournal(journal).attempts() if a["text"] is not None]
    return {a["key"] for a in found}, {prompt_of(a["request"]) for a in found}


@pytest.mark.parametrize("moment", range(20))
def test_a_killed_fit_loses_nothing_and_the_next_one_asks_the_rest(
    forks, unbroken, tmp_path, moment
):
    journal, notes = tmp_path / "answers.db", tmp_path / "notes"
    rng = random.Random(moment)
    killer = Killer(rng.randint(1, 130), rng.uniform(0.0, 0.01))
    with ChatServer(killer, delay=0.005) as server:
        pid = forks.begin(server, journal, notes)
        killer.victim.set_result(pid)
        assert forks.wait(pid) == signal.SIGKILL
        told = notes.read_text().split()
        keys, kept = kept_in(journal)
        assert set(told) <= keys
        assert len(told) == len(set(told))
        assert len(kept) < N_PROMPTS  # it was killed while it asked

        n_before = len(server.requests)
        estimator = clusterer(server.url, journal=journal)
        labels = estimator.fit(messages()).labels_
    n = prompts(server)
    assert len(n) == N_PROMPTS
    assert len(server.requests) - n_before == N_PROMPTS - len(kept)
    assert {n[prompt] for prompt in kept} <= {1}
    # Those that were under way when it died.
    again = [prompt for prompt in n if n[prompt] > 1]
    assert len(again) <= estimator.oracle.n_jobs
    assert max(n.values()) <= 2
    np.testing.assert_array_equal(labels, unbroken)


def once_both_ask(answer, n_jobs=16):
    """Answer nothing until more questions are under way than one fit asks at a time."""
    numbers, both = itertools.count(), threading.Barrier(n_jobs + 1)

    def patient(prompt):
        if next(numbers) <= n_jobs:
            both.wait(60)
        return answer(prompt)

    return patient


def test_fits_at_the_same_time_ask_each_question_once(forks, unbroken, tmp_path):
    journal, notes = tmp_path / "answers.db", [tmp_path / "one", tmp_path / "two"]
    with ChatServer(once_both_ask(simulated)) as server:
        pids = [forks.begin(server, journal, each) for each in notes]
        assert [forks.wait(pid) for pid in pids] == [0, 0]
    assert set(prompts(server).values()) == {1}
    assert len(server.requests) == N_PROMPTS
    told = [each.read_text().splitlines() for each in notes]
    assert all(len(lines) > 1 for lines in told)  # each asked some of them
    for *_, labels in told:
        np.testing.assert_array_equal(json.loads(labels), unbroken)


def test_a_fit_asks_what_another_was_asking_when_it_was_killed(
    forks, unbroken, tmp_path
):
    journal, notes = tmp_path / "answers.db", [tmp_path / "one", tmp_path / "two"]
    killer = Killer(70)
    with ChatServer(once_both_ask(killer)) as server:
        pids = [forks.begin(server, journal, each) for each in notes]
        killer.victim.set_result(pids[0])
        assert [forks.wait(pid) for pid in pids] == [signal.SIGKILL, 0]
    n = prompts(server)
    assert len(n) == N_PROMPTS == len(kept_in(journal)[0])
    assert max(n.values()) <= 2
    assert n.total() - N_PROMPTS <= 16  # calls that were under way
    *_, labels = notes[1].read_text().splitlines()
    np.testing.assert_array_equal(json.loads(labels), unbroken)
