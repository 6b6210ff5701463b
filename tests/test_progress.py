"""How far the asking has come, in a bar or in the log."""

import logging
import sys

import pytest

from skllm_cluster.oracles import _progress as progress_module
from skllm_cluster.oracles._calling import Outcome
from skllm_cluster.oracles._progress import Progress
from skllm_cluster.protocols import Reply

DONE = Outcome(
    replies={str(i): Reply("Choice 1") for i in range(1500)},
    failed={"a": "500: no"},
    n_cached=300,
    n_retries=2,
    cost=0.012345,
)
FACTS = "answered 1,200, cached 300, failed 1, retries 2, cost 0.01235"


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO, logger="skllm_cluster")
    return caplog


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(progress_module, "LOG_SECONDS", -1.0)


@pytest.mark.usefixtures("at_once")
def test_nothing_is_shown_unless_it_is_wanted(log, capsys):
    with Progress(2000, 0) as show:
        show(DONE)
    assert log.messages == []
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("at_once")
def test_the_log_says_how_far_it_is(log, capsys):
    with Progress(2000, 1) as show:
        show(Outcome())
        show(DONE)
    assert log.messages == [
        "0 of 2000 questions: answered 0, cached 0, failed 0, retries 0",
        f"1501 of 2000 questions: {FACTS}",
    ]
    assert capsys.readouterr() == ("", "")


def test_the_log_is_not_flooded(log, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    with Progress(9, 1) as show:
        for _ in range(70):  # for 35 seconds
            now[0] += 0.5
            show(DONE)
    assert len(log.messages) == 3


@pytest.mark.usefixtures("at_once")
def test_the_bar_shows_the_same_and_leaves_the_log_alone(log, capsys):
    pytest.importorskip("tqdm")
    with Progress(1501, 2) as show:
        show(Outcome())
        show(DONE)
        show(DONE)  # another attempt that brought nothing
    shown = capsys.readouterr()
    last = shown.err.replace("\r", "\n").strip().splitlines()[-1]
    assert last.startswith("asking: 100%")
    assert "1501/1501" in last
    assert FACTS in last
    assert shown.out == ""
    assert log.messages == []


def test_the_bar_is_closed_if_an_error_comes(monkeypatch):
    tqdm = pytest.importorskip("tqdm.auto")
    bars = []

    class Bar:
        def __init__(self, **how):
            self.how, self.n, self.is_open = how, 0, True
            bars.append(self)

        def close(self):
            self.is_open = False

    monkeypatch.setattr(tqdm, "tqdm", Bar)
    with pytest.raises(KeyboardInterrupt), Progress(5, 2):
        raise KeyboardInterrupt
    assert [bar.is_open for bar in bars] == [False]
    assert bars[0].how["total"] == 5


@pytest.mark.usefixtures("at_once")
def test_without_tqdm_the_log_is_used(log, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with Progress(2000, 2) as show:
        show(DONE)
    assert log.messages == [f"1501 of 2000 questions: {FACTS}"]
    assert capsys.readouterr() == ("", "")
