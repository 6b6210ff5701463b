"""How many calls may be under way, on a clock of our own."""

import itertools
import threading

import pytest

from skllm_cluster._remote._limits import Limiter


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def never():
    return False


def fill(limiter):
    """Begin as many calls as are allowed now."""
    return [limiter.begin(1, never) for _ in range(max(1, int(limiter.allowed)))]


def test_no_more_calls_are_under_way_than_allowed():
    limiter, most, now = Limiter(3), [0], [0]
    lock = threading.Lock()

    def work():
        for _ in range(50):
            ticket = limiter.begin(1, never)
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            with lock:
                now[0] -= 1
            limiter.end(ticket)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= most[0] <= 3
    assert limiter.under_way == 0


def test_calls_that_were_under_way_together_halve_the_number_once():
    limiter = Limiter(16)
    for ticket in fill(limiter):
        limiter.end(ticket, congested=True)
    assert limiter.allowed == 8
    for ticket in fill(limiter):
        limiter.end(ticket, congested=True)
    assert limiter.allowed == 4


def test_the_number_never_falls_below_one_and_climbs_to_the_most_again():
    limiter = Limiter(8)
    for _ in range(10):
        limiter.end(limiter.begin(1, never), congested=True)
    assert limiter.allowed == 1
    seen = [limiter.allowed]
    for _ in range(100):
        limiter.end(limiter.begin(1, never))
        seen.append(limiter.allowed)
    assert seen == sorted(seen)
    assert seen[-1] == 8
    # One more for every round of answers: 1 + 2 + ... + 7 of them from 1 to 8.
    assert 20 <= next(i for i, n in enumerate(seen) if n == 8) <= 40


def test_a_pause_holds_back_every_call():
    clock = Clock()
    limiter = Limiter(2, clock=clock)
    limiter.end(limiter.begin(1, never), congested=True, pause=5)
    looks = []

    def stopped():
        looks.append(clock.now)
        clock.now += 2.6  # time passes from look to look
        limiter.wake()
        return False

    limiter._changed = _NeverWaits()
    assert limiter.begin(1, stopped) is not None
    assert looks == [100.0, 102.6]


class _NeverWaits(threading.Condition):
    def wait(self, timeout=None):
        assert timeout is None or timeout > 0
        return True


@pytest.mark.parametrize(
    ("rates", "tokens", "spacing"),
    [
        ({"requests_per_minute": 60}, 1, 1.0),
        ({"tokens_per_minute": 600}, 20, 2.0),
        ({"requests_per_minute": 60, "tokens_per_minute": 600}, 5, 1.0),
        ({"requests_per_minute": 60, "tokens_per_minute": 600}, 50, 5.0),
        ({}, 1000, 0.0),
    ],
)
def test_begins_are_spread_so_that_no_minute_holds_more(rates, tokens, spacing):
    clock = Clock()
    limiter = Limiter(1000, clock=clock, **rates)
    limiter._changed = _NeverWaits()

    def stopped():
        clock.now += 0.25
        return False

    begun = []
    for _ in range(5):
        limiter.begin(tokens, stopped)
        begun.append(clock.now)
    gaps = [after - before for before, after in itertools.pairwise(begun)]
    assert all(gap >= spacing - 1e-9 for gap in gaps)
    assert sum(gaps) <= 4 * max(spacing, 0.25) + 0.25 + 1e-9


def test_who_waits_leaves_when_all_is_over():
    limiter, over = Limiter(1), threading.Event()
    limiter.begin(1, over.is_set)
    got = []
    thread = threading.Thread(target=lambda: got.append(limiter.begin(1, over.is_set)))
    thread.start()
    over.set()
    limiter.wake()
    thread.join(10)
    assert got == [None]
    assert limiter.under_way == 1
