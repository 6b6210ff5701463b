"""Questions to a person in a notebook."""

import sys
from html.parser import HTMLParser

import pytest
from people import HOSTILE, TRIPLETS, asked

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


def click(box, *keys):
    for key in keys:
        box.children[-1].children["12nsb".index(key)].click()


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
    firsts = [oracle._question(*t).texts[1] for t in TRIPLETS[:3]]
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


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_text_in_the_widget(widgets, text):
    def markup(text, perspective):
        oracle = HumanOracle(perspective=perspective)
        return oracle.widget([(text, "b", "c")]).children[1].value

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

    monkeypatch.setattr(oracle._journal(), "record_all", full)
    click(box, "1")  # outside a notebook, ipywidgets logs what a handler raises
    assert "<disk> full" in caplog.text
    assert oracle.report()["n_open"] == 2
    assert box.children[0].value == "<b>Not kept: &lt;disk&gt; full</b>"


def test_outside_a_notebook_it_is_said_how_to_show_the_widget(widgets, monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    with pytest.warns(UserWarning, match=r"2\. Show oracle\.widget\(triplets\)"):
        answers = HumanOracle(interface="widget").answer_triplets(TRIPLETS[:2])
    assert answers.tolist() == [-1, -1]


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
