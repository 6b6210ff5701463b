"""Questions and answers that the tests of the journal share."""

import os
import subprocess
import sys
from pathlib import Path

from skllm_cluster.journal import Attempt, question_key
from skllm_cluster.protocols import Reply

HERE = Path(__file__).parent


def ask(i):
    """A question and its key."""
    request = {"prompt": f"question {i}", "sample": 0}
    return question_key(request), request


def answered(text="Choice 1", **more):
    return Attempt(1.5, 0.25, reply=Reply(text), **more)


FAILED = Attempt(1.5, 60.0, error="timed out")


def fill(journal, n):
    items = [(*ask(i), answered(f"answer {i}")) for i in range(n)]
    journal.record_all(items)
    return [key for key, _, _ in items]


def start(code, *arguments):
    """Run code in a process of its own, which can import what these tests can."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": f"{HERE.parent}{os.pathsep}{HERE}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(code, *arguments):
    """The same, to its end: what it printed, if it did not fail."""
    with start(code, *arguments) as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    return out
