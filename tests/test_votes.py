"""Several replies, one answer."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skllm_cluster.oracles._parsing import YES_NO
from skllm_cluster.oracles._votes import combine, vote
from skllm_cluster.protocols import Reply

NAN = math.nan
votes = st.lists(
    st.tuples(st.sampled_from([-1, 0, 1]), st.just(NAN)), min_size=1, max_size=9
)


def same(a, b):
    return a[0] == b[0] and (a[1] == b[1] or (math.isnan(a[1]) and math.isnan(b[1])))


def sure(text, first):
    """A reply whose only token was drawn with these probabilities."""
    return Reply(text, top_logprobs=({"1": math.log(first), "2": math.log1p(-first)},))


def test_a_reply_refers_to_the_order_given():
    assert same(vote(Reply("Choice 1"), swapped=False), (0, NAN))
    assert same(vote(Reply("Choice 1"), swapped=True), (1, NAN))
    assert same(vote(Reply("Choice 2"), swapped=True), (0, NAN))
    assert same(vote(Reply("Hm"), swapped=True), (-1, NAN))
    assert same(vote(None, swapped=True), (-1, NAN))


def test_a_probability_refers_to_the_order_given():
    assert vote(sure("1", 0.9), swapped=False) == (0, pytest.approx(0.9))
    assert vote(sure("1", 0.9), swapped=True) == (1, pytest.approx(0.1))


@pytest.mark.parametrize("swapped", [False, True])
def test_the_order_of_a_pair_does_not_turn_its_answer(swapped):
    listed = ({"Yes": math.log(0.9), "No": math.log(0.1)},)
    sure = vote(Reply("Yes", top_logprobs=listed), swapped=swapped, reading=YES_NO)
    assert sure == (1, pytest.approx(0.1))
    assert combine([sure]) == (1, pytest.approx(0.9))
    assert same(vote(Reply("No"), swapped=swapped, reading=YES_NO), (0, NAN))
    assert same(vote(Reply("1"), swapped=swapped, reading=YES_NO), (-1, NAN))


@pytest.mark.parametrize(
    ("cast", "unanimous", "expected"),
    [
        ([(0, NAN)], False, (0, NAN)),
        ([(-1, NAN)], False, (-1, NAN)),
        ([(0, 0.9)], False, (0, 0.9)),
        ([(1, 0.2)], False, (1, 0.8)),
        ([(1, 0.7)], False, (1, 0.5)),  # says the one, finds the other likelier
        ([(0, 0.9), (0, 0.7)], True, (0, 0.8)),
        ([(0, 0.9), (1, 0.4)], True, (-1, NAN)),
        ([(0, NAN), (-1, NAN)], True, (-1, NAN)),
        ([(0, NAN), (0, NAN)], True, (0, 3 / 4)),
        ([(0, NAN), (0, NAN), (1, NAN)], False, (0, 3 / 5)),
        ([(0, NAN), (-1, NAN), (-1, NAN)], False, (0, 2 / 3)),
        ([(0, NAN), (1, NAN)], False, (-1, NAN)),
        ([(1, NAN)] * 5, False, (1, 6 / 7)),
    ],
)
def test_votes_make_an_answer(cast, unanimous, expected):
    answer, confidence = combine(cast, unanimous=unanimous)
    assert answer == expected[0]
    assert confidence == pytest.approx(expected[1], nan_ok=True)


@given(votes, st.booleans())
def test_the_choices_have_equal_rights(cast, unanimous):
    turned = [(a if a < 0 else 1 - a, p) for a, p in cast]
    answer, confidence = combine(cast, unanimous=unanimous)
    other, as_sure = combine(turned, unanimous=unanimous)
    assert other == (answer if answer < 0 else 1 - answer)
    assert same((0, confidence), (0, as_sure))
    assert math.isnan(confidence) or 0.5 <= confidence <= 1


@given(votes, st.randoms())
def test_the_order_of_votes_does_not_count(cast, random):
    shuffled = cast.copy()
    random.shuffle(shuffled)
    assert same(combine(cast), combine(shuffled))
