"""What an error means for the next attempt, whoever raised it."""

import email.message
import email.utils
import errno
import http.client
import importlib
import inspect
import itertools
import json
import math
import random
import socket
import ssl
import subprocess
import time
import urllib.error
from datetime import datetime, timezone
from http import HTTPStatus
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skllm_cluster._remote import _errors
from skllm_cluster._remote._errors import (
    Advice,
    advise,
    chain,
    describe,
    mark,
    pauses,
    words,
)

AGAIN, SKIP, STOP = Advice("again"), Advice("skip"), Advice("stop")


class FailureError(Exception):
    """An error of a client that nobody has heard of."""

    def __init__(self, message="", **attributes):
        super().__init__(message)
        vars(self).update(attributes)


def refused(status, body=None, headers=None):
    return FailureError(status_code=status, body=body, headers=headers or {})


def said(message, code=None):
    return {"message": message, "code": code}


def caused(outer, inner):
    outer.__cause__ = inner
    return outer


# ---------------------------------------------------------------- by status


def test_every_status_has_one_meaning():
    again = {408, 409, 425, 429, *range(500, 600)}
    for status in range(100, 600):
        expected = "again" if status in again else "stop"
        expected = "skip" if status == 413 else expected
        assert advise(refused(status)).kind == expected, status


@pytest.mark.parametrize(
    "error",
    [
        FailureError(status_code=503),
        FailureError(response=SimpleNamespace(status_code=503)),
        FailureError(code=503),
        FailureError(status=503),
        FailureError(status=HTTPStatus.SERVICE_UNAVAILABLE),
        FailureError(status_code=None, response=None, code="busy", status=503),
    ],
    ids=["openai", "httpx, requests", "urllib", "aiohttp", "enum", "only one is set"],
)
def test_the_status_is_found_wherever_a_client_keeps_it(error):
    assert advise(error) == AGAIN
    assert describe(error).startswith("FailureError (503")


@pytest.mark.parametrize("value", [True, 1006, 4, "503", None, lambda: 503])
def test_what_is_no_status_is_not_taken_for_one(value):
    assert advise(FailureError(code=value, status=value)) == STOP


def test_an_attribute_that_cannot_be_read_is_no_answer():
    class GuardedError(Exception):
        status = 429

        @property
        def code(self):
            raise DeprecationWarning("use status")

        @property
        def response(self):
            raise RuntimeError("there is none")

    assert advise(GuardedError()) == Advice("again", congested=True)


@pytest.mark.parametrize(
    ("error", "congested"),
    [
        (refused(429), True),
        (refused(529), True),
        (refused(503), False),
        (refused(503, headers={"Retry-After": "1"}), True),
        (refused(500, headers={"Retry-After": "1"}), False),
        (ConnectionResetError(), False),
    ],
)
def test_congestion_is_what_fewer_questions_at_a_time_would_cure(error, congested):
    assert advise(error).congested is congested


@pytest.mark.parametrize("wish", ["true", "True "])
def test_a_server_that_says_to_try_again_is_believed(wish):
    assert advise(refused(400, headers={"X-Should-Retry": wish})) == AGAIN


def test_a_server_that_says_not_to_try_again_is_believed():
    for status in (429, 500):
        assert advise(refused(status, headers={"x-should-retry": "false"})) == STOP
    assert advise(refused(500, headers={"x-should-retry": "perhaps"})) == AGAIN


# ---------------------------------------------------- quota, and one question

RATE_LIMIT = (
    "Rate limit reached for m. You can increase your rate limit by adding a payment "
    "method to your account at https://example.org/account/billing."
)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (said("No.", "insufficient_quota"), "stop"),
        ({"type": "insufficient_quota", "message": "No.", "code": None}, "stop"),
        (said("You exceeded your current quota, please check your plan."), "stop"),
        ({"error": said("Your credit balance is too low.")}, "stop"),
        ("You exceeded your current quota", "stop"),
        (said("You exceeded your current quota. Please retry in 36.5s."), "again"),
        (said(RATE_LIMIT), "again"),
        (None, "again"),
    ],
)
def test_a_quota_that_is_used_up_is_no_rate_limit(body, kind):
    assert advise(refused(429, body)).kind == kind


def test_not_even_the_server_can_make_a_used_up_quota_worth_an_attempt():
    headers = {"x-should-retry": "true", "retry-after": "1"}
    assert advise(refused(429, said("", "insufficient_quota"), headers)) == STOP


@pytest.mark.parametrize("status", [400, 403, 422])
@pytest.mark.parametrize(
    "body",
    [
        said("No.", "content_filter"),
        said("No.", "context_length_exceeded"),
        {"type": "exceed_context_size_error", "code": 400, "message": "No."},
        {"code": None, "innererror": {"code": "ResponsibleAIPolicyViolation"}},
        {"error": {"message": "prompt is too long: 300000 tokens > 200000 maximum"}},
        said("This model's maximum context length is 4096 tokens. You asked for 9000."),
        said("Invalid prompt: your prompt was flagged as harmful."),
    ],
)
def test_an_error_of_one_question_leaves_the_others_to_be_asked(status, body):
    assert advise(refused(status, body)) == SKIP
    assert advise(refused(status, body, {"x-should-retry": "true"})) == SKIP


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, said("No.", "content_filter")),
        (403, said("Your account was flagged.")),
        (400, said("messages: wrong", "invalid_value")),
    ],
)
def test_an_error_of_every_question_stops(status, body):
    assert advise(refused(status, body)) == STOP


# ---------------------------------------------------------------- no status


class APIConnectionError(Exception):
    pass


class ReadTimeoutError(Exception):
    pass


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        BrokenPipeError(),
        TimeoutError(),
        socket.gaierror(),
        ssl.SSLEOFError(),
        OSError(errno.EHOSTUNREACH, "No route to host"),
        http.client.RemoteDisconnected(),
        http.client.IncompleteRead(b""),
        http.client.BadStatusLine(""),
        urllib.error.URLError(ConnectionResetError()),
        APIConnectionError(),
        type("Mine", (APIConnectionError,), {})(),
        ReadTimeoutError(),
        subprocess.TimeoutExpired("model", 1.0),
        caused(ValueError("no answer"), ConnectionResetError()),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_connection_that_failed_is_worth_another_attempt(error):
    assert advise(error) == AGAIN


@pytest.mark.parametrize(
    "error",
    [
        TypeError("unsupported operand"),
        KeyError("choices"),
        UnicodeDecodeError("utf-8", b"", 0, 1, "bad"),
        json.JSONDecodeError("bad", "", 0),
        OSError(errno.ENOSPC, "No space left on device"),
        http.client.InvalidURL("bad"),
        urllib.error.URLError("unknown url type"),
        AssertionError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_that_is_no_server_s_stops(error):
    assert advise(error) == STOP


@pytest.mark.parametrize(
    "cause",
    [
        ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"),
        type("UnsupportedProtocol", (Exception,), {})("no http://"),
        type("InvalidURL", (Exception,), {})("no host"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_connection_that_can_never_be_opened_stops(cause):
    assert advise(caused(APIConnectionError(), cause)) == STOP


def test_only_a_named_cause_counts_not_what_happened_to_come_before():
    try:
        try:
            raise ConnectionResetError
        except ConnectionResetError:
            raise TypeError("a bug in what was to be done about it")  # noqa: B904
    except TypeError as error:
        assert advise(error) == STOP


def test_the_outermost_error_that_says_something_counts():
    inner = refused(401)
    assert advise(caused(refused(500), inner)) == AGAIN
    assert advise(caused(ValueError(), inner)) == STOP
    assert words(caused(ValueError("outer"), refused(401, said("inner")))) == "inner"


def test_errors_that_cause_each_other_are_looked_at_once():
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert list(chain(one)) == [one, other]
    assert advise(one) == STOP
    assert describe(one) == "ValueError: one <- ValueError: other"


def test_advice_that_was_fixed_is_given():
    advice = Advice("again", free=True)
    assert advise(mark(TypeError(), advice)) is advice
    assert advise(caused(ValueError(), mark(refused(400), advice))) is advice
    assert advise(FailureError(_advice="again")) == STOP


# ---------------------------------------------------- errors of real clients


@pytest.mark.parametrize("status", [401, 429, 503])
def test_errors_of_urllib_are_understood(status):
    headers = email.message.Message()
    headers["Retry-After"] = "7"
    error = urllib.error.HTTPError("http://127.0.0.1", status, "No", headers, None)
    advice = advise(error)
    assert advice.kind == ("stop" if status == 401 else "again")
    assert advice.pause == (None if status == 401 else 7.0)
    assert describe(error) == f"HTTPError ({status}): HTTP Error {status}: No"


def test_errors_of_httpx_are_understood():
    openai = pytest.importorskip("openai")  # brings httpx, or httpx2
    found = inspect.signature(openai.APITimeoutError).parameters["request"]
    httpx = importlib.import_module(str(found.annotation).split(".")[0])
    request = httpx.Request("POST", "http://127.0.0.1")

    def status(code, **content):
        response = httpx.Response(code, request=request, **content)
        return httpx.HTTPStatusError("failed", request=request, response=response)

    slow_down = status(429, headers={"Retry-After": "3"}, json={"error": said("slow")})
    assert advise(slow_down) == Advice("again", 3.0, congested=True)
    assert describe(slow_down) == "HTTPStatusError (429): slow"
    quota = status(429, json={"error": said("no", "insufficient_quota")})
    assert advise(quota) == STOP
    unread = status(500, stream=httpx.ByteStream(b""))
    assert advise(unread) == AGAIN
    for kind in ("ConnectError", "ReadError", "RemoteProtocolError", "PoolTimeout"):
        assert advise(getattr(httpx, kind)("failed")) == AGAIN
    assert advise(httpx.UnsupportedProtocol("no http://")) == STOP


def test_errors_of_requests_are_understood():
    requests = pytest.importorskip("requests")
    response = requests.Response()
    response.status_code = 503
    response.headers["Retry-After"] = "3"
    response._content = b"<html>busy</html>"
    error = requests.HTTPError("failed", response=response)
    assert advise(error) == Advice("again", 3.0, congested=True)
    assert describe(error) == "HTTPError (503): <html>busy</html>"
    assert advise(requests.ConnectionError("refused")) == AGAIN
    assert advise(requests.ReadTimeout("slow")) == AGAIN
    assert advise(requests.exceptions.ChunkedEncodingError("cut")) == AGAIN
    assert advise(requests.exceptions.MissingSchema("no http://")) == STOP
    hidden = requests.exceptions.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] bad")
    assert advise(hidden) == STOP


# ---------------------------------------------------------------- Retry-After


def pause_of(value, name="Retry-After", said=""):
    return advise(refused(500, said, {name: value})).pause


@given(st.floats(0, 3600))
def test_seconds_are_waited_as_asked(seconds):
    assert pause_of(repr(seconds)) == seconds
    assert pause_of(f" {seconds!r} ", "RETRY-AFTER") == seconds
    assert pause_of(repr(seconds), "Retry-After-Ms") == pytest.approx(seconds / 1000)


@given(st.one_of(st.text(), st.floats().map(str), st.integers().map(str)))
def test_whatever_a_server_asks_the_pause_is_none_or_within_an_hour(value):
    for name in ("retry-after", "retry-after-ms"):
        pause = pause_of(value, name)
        assert pause is None or 0 <= pause <= 3600


@given(
    st.datetimes(
        datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=st.just(timezone.utc)
    ),
    st.integers(-10_000, 10_000),
)
def test_a_date_is_waited_for(now, seconds):
    now = now.replace(microsecond=0).timestamp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_errors.time, "time", lambda: now)
        pause = pause_of(email.utils.formatdate(now + seconds, usegmt=True))
        naive = pause_of(email.utils.formatdate(now + seconds))  # "-0000"
    assert pause == naive == min(max(seconds, 0), 3600)


def test_a_date_without_a_zone_is_one_of_greenwich(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        now = 1_700_000_000
        monkeypatch.setattr(_errors.time, "time", lambda: now)
        assert pause_of(email.utils.formatdate(now + 60)) == 60
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()


@pytest.mark.parametrize("value", ["", "soon", "-5", "nan", "Wed, 99 Foo 2026", None])
def test_what_is_neither_seconds_nor_a_date_is_ignored(value):
    assert pause_of(value) is None


def test_milliseconds_go_before_seconds_unless_they_are_nonsense():
    both = {"retry-after": "2", "retry-after-ms": "150"}
    assert advise(refused(500, None, both)).pause == 0.15
    assert advise(refused(500, None, both | {"retry-after-ms": "x"})).pause == 2.0


@pytest.mark.parametrize(
    ("sentence", "seconds"),
    [
        ("Please try again in 6ms.", 0.006),
        ("Please try again in 7m12.5s. Visit example.org", 432.5),
        ("Please retry after 20 seconds.", 20.0),
        ("Retry after 250 milliseconds", 0.25),
        ("try again in 1h2m", 3600.0),
        ("try again in 1 day", 3600.0),
        ("try again in a few minutes", None),
        ("try again in 3 apples", None),
        ("Limit 40, used 39.", None),
    ],
)
def test_a_pause_can_be_asked_for_in_words(sentence, seconds):
    assert pause_of("soon", said=sentence) == seconds
    assert pause_of("5", said=sentence) == 5.0  # a header goes before words


def test_headers_that_are_no_mapping_are_ignored():
    assert advise(FailureError(status_code=500, headers=["Retry-After: 3"])) == AGAIN


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ({"error": said("No.", "why")}, "FailureError (400, why): No."),
        ({"message": "No.", "type": "Why", "code": 7}, "FailureError (400, why): No."),
        ({"error": "No."}, "FailureError (400): No."),
        ({"detail": "No."}, "FailureError (400): No."),
        ([{"error": said("No.")}], "FailureError (400): No."),
        ({"detail": [{"loc": ["a"]}, 1]}, 'FailureError (400): [{"loc": ["a"]}, 1]'),
        ({"strange": {1}}, 'FailureError (400): {"strange": "{1}"}'),
        ("line one\n\tline\x1btwo\u2028", "FailureError (400): line one line two"),
        ({}, "FailureError (400): own message"),
        ("", "FailureError (400): own message"),
        (None, "FailureError (400): own message"),
        (7, "FailureError (400): 7"),
    ],
)
def test_the_server_s_own_words_are_found(body, line):
    error = FailureError("own message", status_code=400, body=body)
    assert describe(error) == line


def test_words_are_read_from_the_response_if_the_error_has_none():
    for text, found in (('{"detail": "No."}', "No."), ("No.", "No."), (b"No.", "own")):
        response = SimpleNamespace(status_code=400, text=text)
        assert words(FailureError("own", response=response)) == found


@given(st.text(max_size=2000), st.sampled_from([None, 500]))
def test_a_description_is_one_printable_line_of_bounded_length(text, status):
    line = describe(FailureError(text, status_code=status, body=text))
    assert line.isprintable() and len(line) <= 300
    assert line == " ".join(line.split())


def test_an_error_is_described_with_the_status_of_its_cause():
    wrapped = caused(ValueError("no answer"), refused(429, said("slow down")))
    assert describe(wrapped) == "ValueError (429): slow down"


def test_a_cause_that_says_the_same_is_not_repeated():
    same = [ConnectionResetError("reset"), ConnectionResetError("reset")]
    assert describe(caused(*same)) == "ConnectionResetError: reset"


def test_an_error_without_words_is_described_by_its_name():
    assert describe(TimeoutError()) == "TimeoutError"


@given(
    st.recursive(
        st.none() | st.text(max_size=5) | st.integers(0, 600),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(
                    ["error", "message", "code", "type", "detail", "innererror"]
                ),
                inner,
            )
        ),
        max_leaves=8,
    ),
    st.integers(0, 700),
)
def test_no_body_is_too_strange_to_be_classified(body, status):
    error = FailureError("own", status_code=status, body=body, headers={"a": object()})
    assert advise(error).kind in ("again", "skip", "stop")
    assert describe(error).startswith("FailureError")


# ---------------------------------------------------------------- pauses


def test_pauses_are_drawn_below_a_bound_that_doubles_up_to_twenty_seconds():
    tops = SimpleNamespace(uniform=lambda low, high: high)
    assert list(itertools.islice(pauses(tops), 9)) == [
        0.5, 1, 2, 4, 8, 16, 20, 20, 20,
    ]  # fmt: skip
    bottoms = SimpleNamespace(uniform=lambda low, high: low)
    assert set(itertools.islice(pauses(bottoms), 2000)) == {0.0}


@pytest.mark.parametrize("make", [random.Random, np.random.default_rng])
def test_pauses_depend_on_the_seed_alone(make):
    def first(seed):
        return list(itertools.islice(pauses(make(seed)), 5))

    assert first(1) == first(1) != first(2)
    assert all(type(pause) is float for pause in first(1))


def test_time_is_only_read_for_a_date(monkeypatch):
    monkeypatch.setattr(time, "time", lambda: math.nan)
    assert pause_of("3") == 3.0
