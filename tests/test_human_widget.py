"""Questions to a person in a notebook."""

import sys
from html.parser import HTMLParser

import pytest
from people import HOSTILE, PAIRS, TRIPLETS, asked, question_of

from skllm_cluster.oracles import HumanOracle


def tags_of(markup):
    tags, parser = [], HTMLParser()
    parser.handle_starttag = lambda tag, attrs: tags.append((tag, attrs))
    parser.feed(markup)
    parser.close()
    return tags


@pytest.fixture
def widgets():
    return pytest.importorskip("ipywidgets")


WORDS = {"1": "1", "2": "2", "y": "Same", "s": "Skip", "b": "Back"}


def click(box, *keys):
    for key in keys:
        buttons = {b.description: b for b in box.children[-1].children}
        neither = "Neither or both" if "1" in buttons else "Different"
        buttons[neither if key == "n" else WORDS[key]].click()


def test_a_click_in_the_widget_is_recorded_at_once(widgets, tmp_path):
    oracle = HumanOracle(journal=tmp_path / "a.db")
    box = oracle.widget(TRIPLETS[:4])
    found = []
    for key in "1n2":
        click(box, key)
        other = HumanOracle(journal=tmp_path / "a.db", max_questions=0)
        other.answer_triplets(TRIPLETS[:4])
        found.append((other.report()["n_usable"], other.report()["n_neither"]))
    assert found == [(1, 0), (1, 1), (2, 1)]


def test_the_widget_answers_what_was_shown_goes_back_and_ends(widgets):
    oracle = HumanOracle(interface="widget")
    box = oracle.widget(TRIPLETS[:3])
    head, body, row = box.children
    firsts = [question_of(oracle, t).texts[1] for t in TRIPLETS[:3]]
    assert head.value == "Question 1, 0 of 3 answered"
    click(box, "2", "b")
    assert head.value.endswith("your answer so far: 2")
    click(box, "1", "1", "s")
    assert head.value == "That was the last question; 2 of 3 answered."
    assert body.value == ""
    assert [button.disabled for button in row.children] == [True] * 4 + [False]
    click(box, "b")
    assert not any(button.disabled for button in row.children)
    answers = asked(oracle, TRIPLETS[:3])
    wanted = [t.index(f) - 1 for t, f in zip(TRIPLETS[:2], firsts[:2], strict=True)]
    assert answers.tolist() == [*wanted, -1]
    assert oracle.report()["n_skipped"] == 1


def test_the_widget_goes_through_triplets_and_pairs(widgets):
    oracle = HumanOracle()
    box = oracle.widget([TRIPLETS[0], *PAIRS[:3]])
    head, body, row = box.children
    ways = ["1", "2", "Neither or both", "Skip", "Back"]
    assert [button.description for button in row.children] == ways
    click(box, "n")
    assert "Do these two texts have the same topic?" in body.value
    assert "Which of these" not in body.value
    ways = ["Same", "Different", "Skip", "Back"]
    assert [button.description for button in row.children] == ways
    click(box, "y", "n", "b")
    assert head.value.endswith("your answer so far: different")
    click(box, "s", "s")
    assert [button.disabled for button in row.children] == [True] * 3 + [False]
    oracle.set_params(max_questions=0)
    assert oracle.answer_pairs(PAIRS[:3]).tolist() == [1, 0, -1]
    assert oracle.report()["n_neither"] == 1
    assert oracle.report()["n_skipped"] == 1


def test_a_widget_with_nothing_to_ask_says_so(widgets):
    head, body, row = HumanOracle().widget([]).children
    assert head.value == "That was the last question; 0 of 0 answered."
    assert body.value == ""
    assert [button.disabled for button in row.children] == [True, False]


def test_what_is_neither_triplet_nor_pair_is_refused_by_the_widget(widgets):
    with pytest.raises(ValueError, match=r"must be 3 texts, got \('a',\)"):
        HumanOracle().widget([("a",)])


@pytest.mark.parametrize("more", [("b",), ("b", "c")], ids=["pair", "triplet"])
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_text_in_the_widget(widgets, text, more):
    def markup(text, perspective):
        oracle = HumanOracle(perspective=perspective)
        return oracle.widget([(text, *more)]).children[1].value

    found = markup(text, "<b>")
    assert tags_of(found) == tags_of(markup("a", "p"))
    assert all(c.isprintable() or c == "\n" for c in found)


def test_an_answer_that_cannot_be_kept_is_said_where_the_person_looks(
    widgets, monkeypatch, caplog
):
    oracle = HumanOracle()
    box = oracle.widget(TRIPLETS[:2])

    def full(*_, **__):
        raise OSError("<disk> full")

    monkeypatch.setattr(oracle._record().journal, "record_all", full)
    click(box, "1")  # outside a notebook, ipywidgets logs what a handler raises
    assert "<disk> full" in caplog.text
    assert oracle.report()["n_open"] == 2
    assert box.children[0].value == "<b>Not kept: &lt;disk&gt; full</b>"


def test_outside_a_notebook_it_is_said_how_to_show_the_widget(widgets, monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    with pytest.warns(UserWarning, match=r"2\. Show oracle\.widget\(triplets\)"):
        answers = HumanOracle(interface="widget").answer_triplets(TRIPLETS[:2])
    assert answers.tolist() == [-1, -1]
    with pytest.warns(UserWarning, match=r"3\. Show oracle\.widget\(pairs\)") as warned:
        answers = HumanOracle(interface="widget").answer_pairs(PAIRS[:3])
    assert answers.tolist() == [-1] * 3
    assert warned[0].filename == __file__


def test_in_a_notebook_the_widget_is_shown(widgets, monkeypatch):
    ipython = pytest.importorskip("IPython")
    from IPython import display

    shown = []
    monkeypatch.setattr(display, "display", shown.append)
    oracle = HumanOracle(interface="widget")
    asked(oracle, TRIPLETS[:2])  # IPython is loaded, but nothing runs in it
    assert shown == []
    monkeypatch.setattr(ipython, "get_ipython", object)
    with pytest.warns(UserWarning, match=r"2\. Answer in the widget, and fit again"):
        oracle.answer_triplets(TRIPLETS[:2])
    (box,) = shown
    click(box, "n", "n")
    assert oracle.answer_triplets(TRIPLETS[:2]).tolist() == [-1, -1]
    assert len(shown) == 1


def test_without_ipywidgets_the_command_that_brings_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    oracle = HumanOracle(interface="widget")
    for use in (oracle.check, lambda: HumanOracle().widget(TRIPLETS)):
        with pytest.raises(ImportError, match=r"pip install .*\[notebook\]"):
            use()
