"""A pilot tells sense from chance."""

import math

import numpy as np
import pytest

from skllm_cluster.oracles._preflight import (
    NEITHER,
    complaint,
    judge_pair_pilot,
    judge_pilot,
    run_pilot,
    verdict,
)

TRIPLETS = [(f"anchor {i}", f"left {i}", f"right {i}") for i in range(1000)]


def simulated(seed, *, sense, first=0.5, abstains=0.0):
    """A simulated oracle: knows the left text with probability ``sense``.

    What it does not know it answers by position, the first with probability ``first``.
    """
    rng = np.random.default_rng(seed)
    known = {t[0]: rng.random() < sense for t in TRIPLETS}

    def ask(pilot, swapped):
        answers = []
        for anchor, *_ in pilot:
            if rng.random() < abstains:
                answers.append(-1)
            elif known[anchor]:
                answers.append(0)
            else:
                shown_first = rng.random() < first
                answers.append(int(shown_first == swapped))
        return np.array(answers)

    return ask


def test_the_verdict_is_walds_test_and_never_both():
    threshold = math.log(0.98 / 0.02)
    for same in range(40):
        for flipped in range(40):
            odds = same * math.log(1.5) + flipped * math.log(0.5)
            expected = "open" if abs(odds) < threshold else "chance"
            if odds >= threshold:
                expected = "sound"
            assert verdict(same, flipped) == expected


@pytest.mark.parametrize("first", [0.5, 0.8, 1.0])
def test_an_oracle_without_sense_is_found_out(first):
    found = [
        run_pilot(TRIPLETS, None, size=30, ask=simulated(s, sense=0.0, first=first))
        for s in range(60)
    ]
    verdicts = [report["verdict"] for report in found]
    assert verdicts.count("sound") <= 3
    assert verdicts.count("chance") >= 55
    asked = np.median([report["n_questions"] for report in found])
    assert asked <= 60


def test_an_oracle_that_always_names_the_first_choice_is_found_out_after_one_pilot():
    report = run_pilot(TRIPLETS, None, size=30, ask=simulated(0, sense=0, first=1.0))
    assert report["n_questions"] == 30
    assert report["flip_rate"] == report["first_choice_rate"] == 1.0
    assert report["verdict"] == "chance"
    assert "not better than chance" in complaint(report, None)
    assert "100% of its replies" in complaint(report, None)


@pytest.mark.parametrize(("sense", "first"), [(0.9, 0.5), (0.75, 0.7), (1.0, 0.5)])
def test_an_oracle_with_sense_passes_though_it_prefers_a_position(sense, first):
    verdicts = [
        run_pilot(TRIPLETS, None, size=30, ask=simulated(s, sense=sense, first=first))[
            "verdict"
        ]
        for s in range(60)
    ]
    assert verdicts.count("chance") <= 3


def test_a_pilot_in_doubt_grows_to_four_times_and_is_then_left_open():
    sizes = []

    def ask(pilot, swapped):
        sizes.append(len(pilot))
        rows = np.arange(len(pilot))
        return np.where(swapped & (rows % 8 % 3 == 0), 1, 0)  # five of eight agree

    report = run_pilot(TRIPLETS, None, size=30, ask=ask)
    assert sizes == [30, 30, 60, 60, 120, 120]
    assert report["verdict"] == "open"
    assert complaint(report, None) is None


def test_a_larger_pilot_goes_on_from_the_smaller_one():
    pilots = []

    def ask(pilot, swapped):
        pilots.append(pilot)
        return np.where(swapped & (np.arange(len(pilot)) % 8 % 3 == 0), 1, 0)

    run_pilot(TRIPLETS, None, size=30, ask=ask)
    small, _, middle, _, large, _ = pilots
    assert small == middle[:30]
    assert middle == large[:60]
    assert len(set(large)) == 120
    # Drawn from all of them, not from the first ones.
    numbers = [TRIPLETS.index(triplet) for triplet in large]
    assert np.histogram(numbers, bins=4, range=(0, 1000))[0].min() >= 15


def test_a_pilot_is_no_larger_than_what_is_to_be_asked():
    def ask(pilot, swapped):
        return np.zeros(len(pilot), dtype=int)

    assert run_pilot(TRIPLETS[:5], None, size=30, ask=ask)["n_questions"] == 5


def test_what_is_expected_belongs_to_the_questions_of_the_pilot():
    expected = np.arange(1000) % 2

    def ask(pilot, swapped):
        return np.array([TRIPLETS.index(triplet) % 2 for triplet in pilot])

    report = run_pilot(TRIPLETS, expected, size=30, ask=ask)
    assert report["embedder_agreement"] == 1.0


def test_a_pilot_in_doubt_stays_a_small_part_of_what_is_to_be_asked():
    def ask(pilot, swapped):
        return np.where(swapped & (np.arange(len(pilot)) % 8 % 3 == 0), 1, 0)

    for n, asked in ((60, 30), (160, 40), (400, 100), (1000, 120)):
        report = run_pilot(TRIPLETS[:n], None, size=30, ask=ask)
        assert report["n_questions"] == asked


def test_neither_is_an_answer_that_speaks_for_nothing():
    def neither(pilot, swapped):
        return np.full(len(pilot), NEITHER)

    report = run_pilot(TRIPLETS, None, size=30, ask=neither)
    assert (report["verdict"], report["n_neither"]) == ("open", 240)
    assert complaint(report, None) is None
    given = np.array([0] * 10 + [NEITHER] * 20)
    report = judge_pilot(given, given)
    assert (report["verdict"], report["flip_rate"]) == ("sound", 0.0)
    assert (report["n_neither"], report["n_unusable"]) == (40, 0)


def test_rates_are_those_of_the_replies():
    given = np.array([0, 0, 1, -1, 0])
    swapped = np.array([0, 1, 1, 1, -1])
    report = judge_pilot(given, swapped, expected=[0, 0, 0, 1, 1])
    assert report == {
        "n_questions": 5,
        "n_unusable": 2,
        "n_neither": 0,
        "flip_rate": 1 / 3,
        # Shown first: given 0, 0, 0 of 4; swapped 1, 1, 1 of 4.
        "first_choice_rate": 6 / 8,
        # Agree: given 0, 0 of (0, 0, 1, 0); swapped 0 and the fourth 1 of 4.
        "embedder_agreement": 4 / 8,
        "verdict": "open",
    }


def test_hardly_any_usable_reply_is_a_verdict_of_its_own():
    report = run_pilot(TRIPLETS, None, size=30, ask=simulated(0, sense=1, abstains=1))
    assert report["verdict"] == "none"
    assert report["flip_rate"] is report["first_choice_rate"] is None
    said = complaint(report, "As a language model")
    assert "60 of 60 replies are no choice" in said
    assert "'As a language model'" in said


def test_neither_is_an_answer_but_names_no_text():
    given = np.array([0, NEITHER, NEITHER, -1, 1])
    swapped = np.array([0, NEITHER, 1, -1, NEITHER])
    report = judge_pilot(given, swapped, expected=[0, 0, 1, 1, 0])
    assert report["n_neither"] == 4
    assert report["n_unusable"] == 2
    assert report["flip_rate"] == 0.0
    assert report["first_choice_rate"] == 2 / 4  # of 0, 1 and swapped 0, 1
    assert report["embedder_agreement"] == 3 / 4
    assert report["verdict"] == "open"


def test_an_oracle_that_abstains_on_half_of_the_questions_passes():
    ask = simulated(0, sense=1, abstains=0.4)
    assert run_pilot(TRIPLETS, None, size=30, ask=ask)["verdict"] == "sound"


# Pairs


def simulated_pairs(seed, *, sense, yes):
    """A simulated oracle: knows a pair with probability ``sense``, else says anything.

    Either way it says Yes with probability ``yes``.
    """
    rng = np.random.default_rng(seed)
    known = {t[0]: (rng.random() < sense, rng.random() < yes) for t in TRIPLETS}

    def ask(pilot, swapped):
        answers = []
        for name, *_ in pilot:
            is_known, same = known[name]
            answers.append(int(same if is_known else rng.random() < yes))
        return np.array(answers)

    return ask


def pilot_pairs(ask, n=1000):
    return run_pilot(TRIPLETS[:n], None, size=30, ask=ask, judge=judge_pair_pilot)


@pytest.mark.parametrize("yes", [0.5, 0.25, 0.15])
def test_pairs_answered_by_chance_are_found_out_however_rare_yes_is(yes):
    verdicts = [
        pilot_pairs(simulated_pairs(seed, sense=0.0, yes=yes))["verdict"]
        for seed in range(60)
    ]
    assert verdicts.count("sound") <= 6
    assert verdicts.count("chance") >= 40


@pytest.mark.parametrize("yes", [0.5, 0.25, 0.1])
def test_pairs_answered_with_sense_pass_however_rare_yes_is(yes):
    verdicts = [
        pilot_pairs(simulated_pairs(seed, sense=0.8, yes=yes))["verdict"]
        for seed in range(60)
    ]
    assert verdicts.count("chance") <= 3


@pytest.mark.parametrize("answer", [0, 1])
def test_one_answer_to_all_pairs_is_consistent_and_passes_at_once(answer):
    report = pilot_pairs(lambda pilot, swapped: np.full(len(pilot), answer))
    assert report == {
        "n_questions": 30,
        "n_unusable": 0,
        "flip_rate": 0.0,
        "yes_rate": float(answer),
        "embedder_agreement": None,
        "verdict": "sound",
    }
    assert complaint(report, None) is None


def test_pairs_whose_order_decides_are_answered_by_chance():
    report = pilot_pairs(lambda pilot, swapped: np.full(len(pilot), int(swapped)))
    assert report["verdict"] == "chance"
    said = complaint(report, None)
    assert "it gives another answer in 100% of them, and says Yes in 50% of" in said


def test_pairs_without_a_usable_answer_have_a_verdict_of_their_own():
    report = pilot_pairs(lambda pilot, swapped: np.full(len(pilot), -1))
    assert report["verdict"] == "none"
    assert report["flip_rate"] is report["yes_rate"] is None
    assert "60 of 60 replies are no answer" in complaint(report, "Hm")
    assert complaint(report, None) is None


def test_usable_answers_to_different_pairs_contradict_nothing():
    given = np.array([1, -1, 0, -1])
    swapped = np.array([-1, 0, -1, -1])
    report = judge_pair_pilot(given, swapped, expected=[1, 1, 1, 0])
    assert report == {
        "n_questions": 4,
        "n_unusable": 5,
        "flip_rate": None,
        "yes_rate": 1 / 3,
        "embedder_agreement": 1 / 3,
        "verdict": "open",
    }


def test_chance_of_one_half_is_that_of_two_choices():
    for same, flipped in ((27, 3), (15, 15), (20, 10), (0, 0)):
        assert verdict(same, flipped, 0.5) == verdict(same, flipped)
    assert verdict(40, 2, 0.9) == "open"  # where it would be sound, were chance less
    assert verdict(40, 2) == "sound"
