"""Questions to a person at a terminal, and what becomes of the answers."""

import functools
import io
import os
import pickle
import re
import signal
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from people import HOSTILE, PAIRS, TRIPLETS, Person, question_of, swap
from sklearn.base import clone

from skllm_cluster.journal import AnswerJournal, Attempt, JournalError, question_key
from skllm_cluster.oracles import HumanOracle, _human
from skllm_cluster.oracles._human_question import visible
from skllm_cluster.oracles._human_sitting import Sitting, ask_in_terminal
from skllm_cluster.protocols import Oracle, PairOracle, Reply

relaxed = settings(deadline=None)  # a busy machine may pause at any example
any_text = st.text(st.characters(exclude_categories=()), max_size=30)


@pytest.fixture
def sits_down(monkeypatch):
    """A function that puts a person at the terminal: types keys, or decides."""

    def sit(typed):
        def decide(shown, i):
            return typed[i] if i < len(typed) else EOFError()

        person = Person(typed if callable(typed) else decide)
        asking = functools.partial(
            ask_in_terminal, read=person.read, write=person.write
        )
        monkeypatch.setattr(_human, "ask_in_terminal", asking)
        return person

    return sit


def left(shown, i):
    """Pick the text on the left, wherever it is shown."""
    if not shown:
        return ""
    return "1" if shown["1"].startswith("left") else "2"


def sitting(triplets, record=lambda *_: None):
    oracle = HumanOracle()
    return Sitting([question_of(oracle, t) for t in triplets], record)


def test_it_is_an_oracle():
    assert isinstance(HumanOracle(), Oracle)
    assert isinstance(HumanOracle(), PairOracle)


def test_answers_refer_to_the_order_given_and_come_in_order(sits_down):
    sits_down(left)
    mixed = [t if i % 3 else swap([t])[0] for i, t in enumerate(TRIPLETS)]
    answers = HumanOracle().answer_triplets(mixed)
    assert answers.dtype.kind == "i"
    assert answers.tolist() == [int(i % 3 == 0) for i in range(len(mixed))]


def test_whoever_always_takes_the_first_prefers_no_text(sits_down):
    sits_down(["1"] * len(TRIPLETS))
    share = np.mean(HumanOracle().answer_triplets(TRIPLETS))
    assert share == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(len(TRIPLETS)))


def test_a_question_looks_alike_in_any_batch_and_order_of_choices(sits_down):
    seen = []
    for triplets in (TRIPLETS[:5], swap(TRIPLETS[:5])[::-1]):
        person = sits_down(["s"] * 5)
        HumanOracle().answer_triplets(triplets)
        seen.append({page.split("?", 1)[1] for page in person.pages if "?" in page})
    assert seen[0] == seen[1]
    assert len(seen[0]) == 5


def test_the_seed_changes_the_order_in_which_choices_are_shown(sits_down):
    first = [question_of(HumanOracle(random_state=s), TRIPLETS[0]) for s in range(20)]
    assert {question.swapped for question in first} == {False, True}
    assert len({question.key for question in first}) == 1


@pytest.mark.parametrize("turn", [list, swap], ids=["as asked", "other way round"])
def test_what_was_answered_is_not_asked_again(sits_down, turn):
    sits_down(left)
    oracle = HumanOracle()
    before = oracle.answer_triplets(TRIPLETS)
    person = sits_down([])
    after = oracle.answer_triplets(turn(TRIPLETS))
    assert person.prompts == []
    assert after.tolist() == [a ^ (turn is swap) for a in before]


def test_a_question_that_occurs_twice_is_asked_once(sits_down):
    person = sits_down(left)
    twice = [TRIPLETS[0], TRIPLETS[0], *swap(TRIPLETS[:1])]
    assert HumanOracle().answer_triplets(twice).tolist() == [0, 0, 1]
    assert person.n_questions == 1


def test_another_oracle_finds_the_answers_in_the_journal(sits_down, tmp_path):
    sits_down(left)
    path = tmp_path / "answers.db"
    HumanOracle(journal=path).answer_triplets(TRIPLETS)
    person = sits_down([])
    for journal in (str(path), AnswerJournal(path)):
        answers = HumanOracle(journal=journal).answer_triplets(TRIPLETS)
        assert answers.tolist() == [0] * len(TRIPLETS)
    assert person.prompts == []


@pytest.mark.parametrize(
    "other", [{"perspective": "tone"}, {"texts": "songs"}, {"annotator": "Ada"}]
)
def test_an_answer_to_another_task_or_of_another_person_does_not_count(
    sits_down, tmp_path, other
):
    sits_down(left)
    HumanOracle(journal=tmp_path / "a.db").answer_triplets(TRIPLETS[:3])
    person = sits_down(left)
    HumanOracle(journal=tmp_path / "a.db", **other).answer_triplets(TRIPLETS[:3])
    assert person.n_questions == 3


def test_neither_is_no_usable_answer_and_is_not_asked_again(sits_down):
    sits_down(["n"])
    oracle = HumanOracle()
    assert oracle.answer_triplets(TRIPLETS[:1]).tolist() == [-1]
    person = sits_down(["1"])
    assert oracle.answer_triplets(swap(TRIPLETS[:1])).tolist() == [-1]
    assert person.prompts == []


def test_what_was_skipped_is_asked_again(sits_down):
    sits_down(["s", "1"])
    oracle = HumanOracle()
    assert (oracle.answer_triplets(TRIPLETS[:2]) < 0).tolist() == [True, False]
    person = sits_down(left)
    assert oracle.answer_triplets(TRIPLETS[:2])[0] == 0
    assert person.n_questions == 1


@pytest.mark.parametrize("end", ["q", " Q ", EOFError(), KeyboardInterrupt()])
def test_whoever_stops_keeps_what_was_said(sits_down, end):
    def decide(shown, i):
        return left(shown, i) if i < 3 else end

    person = sits_down(decide)
    oracle = HumanOracle()
    answers = oracle.answer_triplets(TRIPLETS)
    assert answers.tolist() == [0] * 3 + [-1] * (len(TRIPLETS) - 3)
    assert len(person.prompts) == 4


def test_an_answer_is_in_the_journal_before_the_next_question(sits_down, tmp_path):
    path, found = tmp_path / "answers.db", []

    def decide(shown, i):
        other = HumanOracle(journal=path, max_questions=0)
        found.append(int((other.answer_triplets(TRIPLETS[:5]) >= 0).sum()))
        return left(shown, i)

    sits_down(decide)
    HumanOracle(journal=path).answer_triplets(TRIPLETS[:5])
    assert found == [0, 1, 2, 3, 4, 5]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_process_that_is_killed_loses_no_answer(tmp_path):
    code = f"""
import os, signal, sys
from skllm_cluster.oracles._human import HumanOracle
class Keys:
    left = 3
    def readline(self):
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1
        return "n\\n"
sys.stdin = Keys()
HumanOracle(journal={str(tmp_path / "a.db")!r}).answer_triplets({TRIPLETS!r})
"""
    root = str(Path(_human.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    oracle = HumanOracle(journal=tmp_path / "a.db", max_questions=0)
    oracle.answer_triplets(TRIPLETS)
    assert oracle.report()["n_neither"] == 3


def test_back_corrects_the_last_answer_even_after_the_last_question(sits_down):
    person = sits_down(["1", "b", "2", "1", "b", "n", ""])
    oracle = HumanOracle()
    answers = oracle.answer_triplets(TRIPLETS[:2])
    second = question_of(oracle, TRIPLETS[0]).texts[2]
    assert answers.tolist() == [TRIPLETS[0].index(second) - 1, -1]
    assert "your answer so far: 1" in person.pages[2]
    assert "your answer so far" not in person.pages[1]
    assert oracle.report()["n_neither"] == 1


def test_back_at_the_first_question_stays_there_and_skip_keeps_an_answer(sits_down):
    person = sits_down(["b", "n", "b", "s", "n"])
    oracle = HumanOracle()
    oracle.answer_triplets(TRIPLETS[:2])
    assert ["Question 1," in page for page in person.pages[:3]] == [True, True, False]
    assert oracle.report() == {
        "n_asked": 2,
        "n_usable": 0,
        "n_neither": 2,
        "n_open": 0,
        "n_skipped": 0,
    }


@pytest.mark.parametrize("key", ["", "3", "yes", "12", "\x1b[A"])
def test_another_key_answers_nothing_and_says_so(sits_down, key):
    person = sits_down([key, "n"])
    oracle = HumanOracle()
    oracle.answer_triplets(TRIPLETS[:1])
    assert person.notes == ["That key does nothing.\n"]
    assert oracle.report()["n_neither"] == 1


def test_after_the_last_question_no_key_answers_any(sits_down):
    person = sits_down(["n", "1", "s", "q"])
    oracle = HumanOracle()
    oracle.answer_triplets(TRIPLETS[:1])
    assert len(person.notes) == 2
    assert oracle.report()["n_neither"] == 1


def test_no_more_questions_are_put_than_wanted_and_the_first_come_first(sits_down):
    person = sits_down(left)
    oracle = HumanOracle(max_questions=2)
    assert oracle.answer_triplets(TRIPLETS[:5]).tolist() == [0, 0, -1, -1, -1]
    assert oracle.answer_triplets(TRIPLETS[:5]).tolist() == [0, 0, 0, 0, -1]
    assert person.n_questions == 4
    oracle.set_params(max_questions=0).answer_triplets(TRIPLETS)
    assert person.n_questions == 4


def test_the_question_names_the_texts_and_the_perspective(sits_down):
    person = sits_down([])
    HumanOracle(perspective="in\x1btent", texts="utterances").answer_triplets(TRIPLETS)
    wanted = "Which of these utterances is closer to the Query in terms of in[U+001B]"
    assert wanted in person.pages[0]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_no_text_reaches_a_terminal_but_as_text(sits_down, text, place):
    triplet = ["one", "two", "three"]
    triplet[place] = text
    person = sits_down(["n"])
    HumanOracle().answer_triplets([tuple(triplet)])
    (page,) = (page for page in person.pages if "Question" in page)
    for label in ("Query", "1", "2"):
        assert sum(row.startswith(f"  {label}:") for row in page.splitlines()) == 1
    assert all(c.isprintable() or c == "\n" for c in page)
    page.encode("utf-8")


@relaxed
@given(any_text)
def test_what_is_shown_cannot_steer_anything(text):
    kinds = {unicodedata.category(c) for c in visible(text) if c not in "\n\t"}
    assert not kinds & {"Cc", "Cs", "Zl", "Zp"}
    assert not set(visible(text)) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068")


@pytest.mark.parametrize(
    "text", ["", "plain", "zażółć 你好 سلم", "👩\u200d🚀", "می\u200cشود", "a\n\tb"]
)
def test_what_can_be_read_is_shown_as_it_is(text):
    assert visible(text) == text


def test_long_texts_are_wrapped_and_what_is_not_shown_is_counted():
    written = []
    long = "word " * 1_000
    ask_in_terminal(
        sitting([(long, "b", "c")]), read=lambda _: "q", write=written.append
    )
    lines = written[0].splitlines()
    assert max(map(len, lines)) <= 100
    assert sum("[1,000 more characters are not shown]" in line for line in lines) == 1
    assert sum(line.count("word") for line in lines) == 800


def test_the_lines_of_a_text_stay_lines_in_a_margin_of_their_own():
    written = []
    ask_in_terminal(
        sitting([("one\n\ntwo", "b", "c")]),
        read=lambda _: "q",
        write=written.append,
    )
    assert "  Query:  one\n\n          two\n" in re.sub(" +\n", "\n", written[0])


def test_a_terminal_that_lacks_a_character_gets_its_code(monkeypatch, tmp_path):
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="ascii"))
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    HumanOracle().answer_triplets([("café", "b", "c")])
    assert b"caf\\xe9" in raw.getvalue()


def test_the_report_counts_each_question_once(sits_down):
    oracle = HumanOracle()
    assert set(oracle.report().values()) == {0}
    sits_down(["1", "2", "n", "s", "q"])
    oracle.answer_triplets(TRIPLETS[:6] + TRIPLETS[:2])
    assert oracle.report() == {
        "n_asked": 6,
        "n_usable": 2,
        "n_neither": 1,
        "n_open": 3,
        "n_skipped": 1,
    }


def test_what_a_person_says_is_taken_for_certain(sits_down):
    sits_down(["1", "n"])
    answers, confidence = HumanOracle().judge_triplets(TRIPLETS[:3])
    assert (answers >= 0).tolist() == [True, False, False]
    np.testing.assert_array_equal(confidence, [1.0, np.nan, np.nan])


def test_a_journal_that_cannot_be_used_is_found_before_anything_is_asked(
    sits_down, tmp_path
):
    person = sits_down(left)
    oracle = HumanOracle(journal=tmp_path)  # a folder
    for use in (oracle.check, lambda: oracle.answer_triplets(TRIPLETS)):
        with pytest.raises(JournalError):
            use()
    assert person.prompts == []


def test_no_questions_have_no_answers():
    assert HumanOracle().answer_triplets([]).shape == (0,)


def test_a_clone_shares_answers_that_are_in_memory(sits_down):
    sits_down(left)
    oracle = HumanOracle(perspective="tone")
    copy = clone(oracle)
    assert copy.get_params() == oracle.get_params()
    copy.answer_triplets(TRIPLETS)
    person = sits_down([])
    assert oracle.answer_triplets(TRIPLETS).tolist() == [0] * len(TRIPLETS)
    assert clone(oracle).answer_triplets(TRIPLETS).tolist() == [0] * len(TRIPLETS)
    assert person.prompts == []


def test_a_clone_shares_answers_and_counts_until_it_has_another_journal(
    sits_down, tmp_path
):
    sits_down(left)
    oracle = HumanOracle(journal=tmp_path / "a.db")
    copy = clone(oracle)
    oracle.answer_triplets(TRIPLETS)
    assert copy.answer_triplets(TRIPLETS).tolist() == [0] * len(TRIPLETS)
    assert copy.report() == oracle.report()
    copy.set_params(journal=tmp_path / "b.db")
    assert set(copy.report().values()) == {0}
    assert oracle.report()["n_usable"] == len(TRIPLETS)


def test_a_pickle_carries_the_parameters_and_nothing_else(sits_down, tmp_path):
    sits_down(left)
    oracle = HumanOracle(journal=str(tmp_path / "a.db"), annotator="Ada")
    oracle.answer_triplets(TRIPLETS)
    copy = pickle.loads(pickle.dumps(oracle))
    assert copy.get_params() == oracle.get_params()
    assert copy.report()["n_asked"] == 0
    person = sits_down([])
    assert copy.answer_triplets(TRIPLETS).tolist() == [0] * len(TRIPLETS)
    assert person.prompts == []


def test_another_journal_can_be_set(sits_down, tmp_path):
    person = sits_down(left)
    oracle = HumanOracle(journal=tmp_path / "a.db")
    for name in ("a.db", "b.db", "a.db"):
        oracle.set_params(journal=tmp_path / name).answer_triplets(TRIPLETS[:1])
    assert person.n_questions == 2


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"perspective": " "}, "perspective must be a str that says something"),
        ({"texts": None}, "texts must be a str that says something, got None"),
        ({"annotator": ""}, "annotator must be a str that says something"),
        ({"interface": "phone"}, "interface must be one of .* got 'phone'"),
        ({"max_questions": -1}, "'max_questions' parameter of HumanOracle"),
        ({"max_questions": 2.5}, "'max_questions' parameter of HumanOracle"),
        ({"random_state": None}, "'random_state' parameter of HumanOracle"),
        ({"interface": "page", "page": "no/such/folder.html"}, "folder that exists"),
    ],
)
def test_a_wrong_parameter_is_named_before_anything_is_asked(params, message):
    oracle = HumanOracle(**params)
    for use in (oracle.check, lambda: oracle.answer_triplets(TRIPLETS)):
        with pytest.raises((TypeError, ValueError), match=message):
            use()


# Pairs


def even(shown, i):
    """Say that texts with an even number are the same, whichever is shown first."""
    if not shown:
        return ""
    return "y" if int(shown["First"].split()[1]) % 2 == 0 else "n"


EVEN = [int(i % 2 == 0) for i in range(len(PAIRS))]


def test_pairs_are_asked_in_words_of_their_own_with_keys_of_their_own(sits_down):
    person = sits_down(["y", "1", "2", "n"])
    oracle = HumanOracle(perspective="intent", texts="banking customer utterances")
    assert oracle.answer_pairs(PAIRS[:2]).tolist() == [1, 0]
    first, second = question_of(oracle, PAIRS[0]).texts
    assert person.pages[0].splitlines() == [
        "",
        "Question 1, 0 of 2 answered",
        "Do these two banking customer utterances have the same intent?",
        f"  First:  {first}",
        f"  Second: {second}",
    ]
    keys = "y (same), n (different), s (skip for now), b (back), q (quit): "
    assert person.prompts[0] == keys
    assert person.notes == ["That key does nothing.\n"] * 2


def test_keys_of_pairs_answer_no_triplet(sits_down):
    person = sits_down(["y", "1"])
    oracle = HumanOracle()
    assert oracle.answer_triplets(TRIPLETS[:1])[0] >= 0
    assert len(person.notes) == 1
    keys = "1, 2, n (neither or both), s (skip for now), b (back), q (quit): "
    assert person.prompts[0] == keys


def test_a_pair_is_the_same_question_in_both_orders(sits_down):
    sits_down(even)
    oracle = HumanOracle()
    mixed = [p if i % 3 else swap([p])[0] for i, p in enumerate(PAIRS)]
    answers = oracle.answer_pairs(mixed)
    assert answers.dtype.kind == "i"
    assert answers.tolist() == EVEN
    person = sits_down([])
    assert oracle.answer_pairs(swap(mixed)[::-1]).tolist() == EVEN[::-1]
    assert oracle.answer_pairs([PAIRS[0], *swap(PAIRS[:1])]).tolist() == [1, 1]
    assert person.prompts == []


def test_either_text_of_a_pair_may_come_first_and_always_the_same(sits_down):
    seen = []
    for pairs in (PAIRS, swap(PAIRS)[::-1]):
        person = sits_down(["s"] * len(PAIRS))
        HumanOracle().answer_pairs(pairs)
        seen.append({page.split("?", 1)[1] for page in person.pages if "?" in page})
    assert seen[0] == seen[1]
    share = np.mean(["First:  first" in page for page in seen[0]])
    assert share == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(len(PAIRS)))


def test_answers_to_pairs_survive_and_are_found_by_another_oracle(sits_down, tmp_path):
    person = sits_down(lambda shown, i: even(shown, i) if i < 5 else EOFError())
    answers = HumanOracle(journal=tmp_path / "a.db").answer_pairs(PAIRS)
    assert answers.tolist() == EVEN[:5] + [-1] * (len(PAIRS) - 5)
    person = sits_down([])
    twin = HumanOracle(journal=tmp_path / "a.db", max_questions=0)
    assert twin.answer_pairs(PAIRS).tolist() == answers.tolist()
    assert person.prompts == []
    other = HumanOracle(journal=tmp_path / "a.db", max_questions=0, annotator="Ada")
    assert (other.answer_pairs(PAIRS) == -1).all()


def test_what_is_said_of_a_pair_can_be_corrected_and_skipped(sits_down):
    person = sits_down(["y", "b", "n", "s", "q"])
    oracle = HumanOracle()
    assert oracle.answer_pairs(PAIRS[:3]).tolist() == [0, -1, -1]
    assert "your answer so far: same" in person.pages[2]
    assert oracle.report() == {
        "n_asked": 3,
        "n_usable": 1,
        "n_neither": 0,
        "n_open": 2,
        "n_skipped": 1,
    }


def test_what_a_person_says_of_a_pair_is_taken_for_certain(sits_down):
    sits_down(["n", "q"])
    answers, confidence = HumanOracle().judge_pairs(PAIRS[:2])
    assert answers.tolist() == [0, -1]
    np.testing.assert_array_equal(confidence, [1.0, np.nan])


def test_pairs_and_triplets_of_the_same_texts_are_different_questions(sits_down):
    sits_down(["n"])
    oracle = HumanOracle()
    oracle.answer_pairs([("a", "b")])
    person = sits_down(["1"])
    assert oracle.answer_triplets([("", "a", "b")])[0] >= 0
    assert person.n_questions == 1


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("place", [0, 1])
def test_no_text_of_a_pair_reaches_a_terminal_but_as_text(sits_down, text, place):
    pair = ["one", "two"]
    pair[place] = text
    person = sits_down(["n"])
    HumanOracle(perspective=f"p{text}").answer_pairs([tuple(pair)])
    (page,) = (page for page in person.pages if "Question" in page)
    for label in ("First", "Second"):
        assert sum(row.startswith(f"  {label}:") for row in page.splitlines()) == 1
    assert all(c.isprintable() or c == "\n" for c in page)
    page.encode("utf-8")


@pytest.mark.parametrize(
    ("ask", "questions", "message"),
    [
        ("answer_pairs", TRIPLETS, "Each of the pairs must be 2 texts, got .'anchor"),
        ("answer_triplets", PAIRS, "Each of the triplets must be 3 texts, got"),
        ("answer_triplets", [("a",)], "Each of the triplets must be 3 texts, got"),
    ],
)
def test_a_question_of_another_length_is_refused(sits_down, ask, questions, message):
    person = sits_down(left)
    with pytest.raises(ValueError, match=message):
        getattr(HumanOracle(), ask)(questions)
    assert person.prompts == []


def test_no_pairs_have_no_answers():
    assert HumanOracle().answer_pairs([]).shape == (0,)


def test_a_journal_knows_triplets_by_what_it_always_knew_them_by(sits_down, tmp_path):
    """Journals of earlier versions stay of use."""
    task = {"perspective": "topic", "texts": "texts", "annotator": None}
    triplet = {"anchor": "q", "choices": ["a", "b"]}
    key = question_key({"asks": "a person", "version": 1, **task, **triplet})
    assert key == "1f1b5bb507cfc597ea35179ba3cbcf6c3cd0f394a0ed1c4fd9fe750869ef87d1"
    question = question_of(HumanOracle(), ("q", "b", "a"))
    assert question.key == key
    assert question.request == {"asks": "a person", "version": 1, **task, **triplet}
    looks = [question_of(HumanOracle(), t).swapped for t in TRIPLETS[:12]]
    assert "".join(str(int(swapped)) for swapped in looks) == "101000011111"
    journal = AnswerJournal(tmp_path / "a.db")
    replies = {"Choice 1": 0, "Choice 2": 1, "Neither": -1}
    for i, (text, answer) in enumerate(replies.items()):
        question = question_of(HumanOracle(), ("q", f"b {i}", f"a {i}"))
        attempt = Attempt(0.0, 1.0, Reply(text, model="human"), None, answer)
        journal.record_all([(question.key, question.request, attempt)])
    oracle = HumanOracle(journal=journal, max_questions=0)
    asked = [("q", f"a {i}", f"b {i}") for i in range(3)]
    assert oracle.answer_triplets(asked).tolist() == [0, 1, -1]
    assert oracle.report()["n_neither"] == 1


def test_what_the_journal_keeps_of_a_pair_says_what_it_is(sits_down, tmp_path):
    sits_down(["y", "n"])
    HumanOracle(journal=tmp_path / "a.db").answer_pairs([("b", "a"), ("a", "c")])
    kept = list(AnswerJournal(tmp_path / "a.db").attempts())
    assert [entry["request"]["pair"] for entry in kept] == [["a", "b"], ["a", "c"]]
    assert [entry["text"] for entry in kept] == ["Same", "Different"]
    assert [entry["answer"] for entry in kept] == [1, 0]
