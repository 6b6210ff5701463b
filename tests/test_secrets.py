"""A key in the environment, and where it must not turn up when fits have used it.

The server, whose answers are simulated, repeats the key wherever a server could.
"""

import io
import json
import logging
import os
import pickle
import stat
import traceback
import warnings
from types import SimpleNamespace

import joblib
import pytest
from chat_server import ChatServer, completion
from faults import error, in_turn, unsupported
from fits import clusterer, messages, prompts, shown, simulated, sprinkled
from sklearn.base import clone
from sklearn.utils import estimator_html_repr

from skllm_cluster._remote._errors import chain
from skllm_cluster.journal import AnswerJournal
from skllm_cluster.oracles import _calling as calling

openai = pytest.importorskip("openai")

CANARY = "sk-canary-0123456789abcdef"
ECHO = f"Incorrect API key provided: Bearer {CANARY}. Your key {CANARY} is wrong."

#: Faults in which the key comes back; the next attempt is answered.
PASSING = {
    "500": (500, error(ECHO)),
    "500 text": (500, f"Bearer {CANARY}"),
    "429": (429, error(ECHO, CANARY, param=CANARY, type=CANARY)),
    "no JSON": (200, ECHO),
    "error with 200": (200, error(ECHO, 503, param=CANARY)),
    "filter": (400, error(ECHO, "content_filter")),
}
#: Faults that end a fit.
LASTING = {
    "400": (400, error(ECHO, param=[CANARY])),
    "401": (401, error(ECHO, "invalid_api_key")),
    "401 text": (401, ECHO),
    "401 header": (401, error("no"), {"X-Echo": CANARY, "Location": f"/{CANARY}"}),
    "404": (404, {"detail": [{"loc": [CANARY], "msg": ECHO}]}),
    "quota": (429, error(ECHO, "insufficient_quota")),
    "page": (200, f"<html>{ECHO}</html>"),
    "outage": (500, error(ECHO)),
}
#: Replies in which it comes back; they name no choice.
REPLIES = {
    "content": ECHO,
    "reason": (200, {**completion(CANARY, finish_reason=CANARY), "model": CANARY}),
    "refusal": (200, completion(None, refusal=ECHO)),
}
#: Where a fit leaves something behind.
PLACES = (
    "repr", "HTML repr", "get_params", "attributes", "pickle", "joblib", "report",
    "plan", "files", "attempts", "table", "warnings", "log",
)  # fmt: skip


def holds_key(one):
    """Whether the key is in it, or its beginning, as where a text is cut short."""
    content = one if isinstance(one, bytes) else str(one).encode()
    return CANARY[:14].encode() in content


class Listener(logging.Handler):
    """All that any logger says from a level on, while the context is open."""

    def __init__(self, level):
        super().__init__(level)
        self.records = []

    def emit(self, record):
        self.records.append(record)

    def __enter__(self):
        names = [*logging.root.manager.loggerDict, "httpcore2.http11", "httpx2"]
        loggers = [logging.root, *map(logging.getLogger, names)]
        self.before = [(logger, logger.level) for logger in loggers]
        for logger in loggers:
            logger.setLevel(self.level)
        logging.root.addHandler(self)
        return self

    def __exit__(self, *exc_info):
        logging.root.removeHandler(self)
        for logger, level in self.before:
            logger.setLevel(level)


@pytest.fixture(scope="module")
def _environment():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("OPENAI_BASE_URL", raising=False)
        patch.setenv("OPENAI_API_KEY", CANARY)
        patch.setattr(calling, "pauses", lambda rng: iter([0.0] * 9))
        yield


@pytest.fixture(scope="module")
def _open_umask():
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture(scope="module")
def used(tmp_path_factory, _environment, _open_umask):
    """A fitted estimator and all that it left behind, the journal still being open."""
    folder = tmp_path_factory.mktemp("secret") / "made" / "here"
    fault_of, reply_of = sprinkled(PASSING, 0.5), sprinkled(REPLIES, 0.1)
    turns = {name: in_turn(fault, simulated) for name, fault in PASSING.items()}

    def answer(prompt):
        if "temperature" in server.current:
            return unsupported("temperature", f" {ECHO}")
        if reply_of(prompt):
            return REPLIES[reply_of(prompt)]
        return turns.get(fault_of(prompt), simulated)(prompt)

    with (
        ChatServer(answer) as server,
        Listener(1) as log,
        warnings.catch_warnings(record=True) as told,
    ):
        warnings.simplefilter("always")
        chat, journal = {"temperature": 0.5}, folder / "journal.db"
        estimator = clusterer(server.url, chat=chat, journal=journal, verbose=1)
        planned = estimator.set_params(verbose=1).plan(messages())
        fitted = estimator.fit(messages())
        batched = clone(estimator).set_params(
            oracle__batch=str(folder / "batch.jsonl"), oracle__perspective="tone"
        )
        batched.fit(messages())

    # It was at work, and came back in every way.
    assert {r["headers"]["authorization"] for r in server.requests} == {
        f"Bearer {CANARY}"
    }
    met = {fault_of(p) for p in prompts(server) if not reply_of(p)}
    assert met == {*PASSING, None}
    assert {reply_of(p) for p in prompts(server)} == {*REPLIES, None}

    oracle, kept, dumped = fitted.oracle, AnswerJournal(journal), io.BytesIO()
    joblib.dump(fitted, dumped)
    kept.to_jsonl(folder / "export.jsonl")
    models = (fitted, clone(fitted), batched, oracle, oracle.complete)
    return SimpleNamespace(
        folder=folder,
        records=log.records,
        left={
            "repr": [text(m) for m in models for text in (repr, str)],
            "HTML repr": [
                estimator_html_repr(m) + m._repr_html_() + str(m._repr_mimebundle_())
                for m in models
            ],
            "get_params": [m.get_params(deep=True) for m in models],
            "attributes": [vars(fitted), *[m.__getstate__() for m in models]],
            "pickle": [pickle.dumps(m, protocol=p) for m in models for p in (0, 5)],
            "joblib": [dumped.getvalue()],
            "report": [fitted.oracle_report_, oracle.report()],
            "plan": [planned],
            "files": [path.read_bytes() for path in folder.iterdir()],
            "attempts": [json.dumps(one) for one in kept.attempts()],
            "table": [kept.to_frame().to_csv(), kept.summary()],
            "warnings": [vars(one) for one in told],
            "log": [(r.getMessage(), vars(r)) for r in log.records],
        },
    )


@pytest.mark.parametrize("place", PLACES)
def test_the_key_is_in_nothing_that_a_fit_leaves_behind(used, place):
    assert used.left[place]
    assert not [one for one in used.left[place] if holds_key(one)]


@pytest.mark.parametrize("place", ["report", "attempts", "table", "warnings", "files"])
def test_what_a_server_said_is_kept_without_the_key(used, place):
    """Guards the test above: where its words are not kept, no key could be found."""
    assert any("***" in str(one) for one in used.left[place])


def test_the_loggers_of_all_who_know_the_key_were_listened_to(used):
    names = {record.name.split(".")[0] for record in used.records}
    assert {"skllm_cluster", "openai"} < names
    assert any(name.startswith("httpcore") for name in names)
    assert min(record.levelno for record in used.records) <= logging.DEBUG


def test_what_a_fit_writes_can_be_read_by_its_owner_alone(used):
    def mode(path):
        return stat.S_IMODE(path.stat().st_mode)

    names = {path.name for path in used.folder.iterdir()}
    assert names >= {"journal.db", "journal.db-wal", "batch.jsonl", "export.jsonl"}
    assert {mode(path) for path in used.folder.iterdir()} == {0o600}
    assert mode(used.folder) == mode(used.folder.parent) == 0o700


@pytest.mark.usefixtures("_environment")
@pytest.mark.parametrize("name", LASTING)
def test_no_traceback_of_a_fit_shows_the_key(name, tmp_path):
    with ChatServer(lambda prompt: LASTING[name]) as server:
        estimator = clusterer(server.url, journal=tmp_path / "j.db", max_retries=1)
        try:
            estimator.fit(messages())
        except Exception as caught:
            raised, plain = caught, traceback.format_exc()
        assert server.requests
    found = traceback.TracebackException.from_exception(raised, capture_locals=True)
    detailed = "".join(found.format())
    assert type(raised).__name__ in plain
    assert "self = ClusterLLMClusterer(" in detailed
    everything = [plain, detailed, pickle.dumps(raised)]
    everything += [vars(one) for one in chain(raised)]
    assert not [one for one in everything if holds_key(one)]
    kept = list(AnswerJournal(tmp_path / "j.db").attempts())
    assert kept and not holds_key(kept)
    assert not holds_key(estimator.oracle.report())


@pytest.mark.parametrize("verbose", [0, 1])
def test_no_text_is_logged(verbose):
    """Though the model quotes them in replies that are no answer."""

    def answer(prompt):
        if sprinkled({"prose": ""}, 0.1)(prompt):
            return f"'{shown(prompt)[0]}' is about something else."
        if sprinkled({"filter": ""}, 0.2)(prompt):
            return (400, error(f"Flagged: '{shown(prompt)[1]}'", "content_filter"))
        return simulated(prompt)

    with (
        ChatServer(answer) as server,
        Listener(logging.INFO) as log,
        pytest.warns(UserWarning, match="could not be answered"),
    ):
        estimator = clusterer(server.url, verbose=verbose).set_params(verbose=verbose)
        estimator.fit(messages())
    said = "\n".join(record.getMessage() for record in log.records)
    assert "/chat/completions" in said  # httpx tells of each request
    assert ("asked: {" in said) == bool(verbose)
    assert not [text for text in messages() if text in said]
