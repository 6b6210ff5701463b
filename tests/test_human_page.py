"""Questions on a page, and the file of answers that it gives back."""

import base64
import hashlib
import json
import random
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from people import HOSTILE, PAIRS, TRIPLETS, asked, question_of, swap
from sklearn.base import BaseEstimator, clone

from skllm_cluster import ClusterLLMClusterer
from skllm_cluster.embedders import HashingEmbedder
from skllm_cluster.oracles import HumanOracle, TruthOracle
from skllm_cluster.oracles._human_page import render_page
from skllm_cluster.oracles._human_question import visible
from skllm_cluster.oracles._human_sitting import Sitting

relaxed = settings(deadline=None)  # a busy machine may pause at any example
any_text = st.text(st.characters(exclude_categories=()), max_size=30)


def page_oracle(folder, **params):
    folder = Path(folder)
    defaults = {"interface": "page", "page": folder / "q.html"}
    return HumanOracle(**{**defaults, "journal": folder / "a.db", **params})


class Parts(HTMLParser):
    """What an HTML parser makes of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.inside, self.open = [], {}, None
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open = (tag, dict(attrs).get("id"))

    def handle_endtag(self, tag):
        self.open = None

    def handle_data(self, data):
        if self.open is not None:
            self.inside[self.open] = self.inside.get(self.open, "") + data

    @property
    def data(self):
        return json.loads(self.inside["script", "data"])

    @property
    def script(self):
        return self.inside["script", None]


def written(folder):
    return Parts((Path(folder) / "q.html").read_text(encoding="utf-8"))


def given_back(folder, choose=lambda question: 0, change=lambda file: file):
    """The file that the button of the page saves, made without a browser."""
    data = written(folder).data
    fields = ("key", "anchor", "choices", "pair")
    answers = [
        {name: question[name] for name in fields if name in question}
        | {"answer": choose(question)}
        for question in data["questions"]
    ]
    path = Path(folder) / "answers.json"
    path.write_text(json.dumps(change({**data["answers"], "answers": answers})))
    return path


def leftmost(question):
    """Pick the text on the left; say of pairs that those with even numbers are same."""
    if "pair" in question:
        return int(int(question["pair"][0].split()[1]) % 2 == 0)
    return 0 if question["choices"][0].startswith("left") else 1


def test_a_page_is_written_and_says_what_to_do(tmp_path):
    oracle = page_oracle(tmp_path)
    with pytest.warns(UserWarning) as warned:
        answers = oracle.answer_triplets(TRIPLETS)
    assert (answers == -1).all()
    (warning,) = warned
    text = str(warning.message)
    assert f"{len(TRIPLETS)}. Open {tmp_path / 'q.html'} in a browser" in text
    assert "oracle.read_answers('answers.json')" in text
    assert warning.filename == __file__
    assert sorted(p.name for p in tmp_path.iterdir() if "a.db" not in p.name) == [
        "q.html"
    ]


def test_the_page_asks_the_open_questions_in_the_order_given(tmp_path):
    oracle = page_oracle(tmp_path)
    asked(oracle, TRIPLETS[5:7])
    oracle.read_answers(given_back(tmp_path))
    asked(oracle.set_params(max_questions=10), TRIPLETS[::-1])
    anchors = [question["anchor"] for question in written(tmp_path).data["questions"]]
    wanted = [t[0] for t in TRIPLETS[::-1] if t not in TRIPLETS[5:7]]
    assert anchors == wanted[:10]


def test_answers_from_the_page_are_used_in_either_order(tmp_path):
    oracle = page_oracle(tmp_path)
    asked(oracle)
    assert oracle.read_answers(given_back(tmp_path, leftmost)) == len(TRIPLETS)
    assert oracle.answer_triplets(TRIPLETS).tolist() == [0] * len(TRIPLETS)
    assert oracle.answer_triplets(swap(TRIPLETS)).tolist() == [1] * len(TRIPLETS)
    assert oracle.report()["n_usable"] == len(TRIPLETS)


def test_answers_can_be_read_where_nothing_was_asked(tmp_path):
    asked(page_oracle(tmp_path))
    fresh = HumanOracle()
    assert fresh.read_answers(given_back(tmp_path, leftmost)) == len(TRIPLETS)
    assert fresh.answer_triplets(TRIPLETS).tolist() == [0] * len(TRIPLETS)


def test_reading_again_brings_what_is_new_or_was_corrected(tmp_path):
    oracle = page_oracle(tmp_path)
    asked(oracle)

    def some(n):
        return lambda file: {**file, "answers": file["answers"][:n]}

    assert oracle.read_answers(given_back(tmp_path, change=some(10))) == 10
    assert oracle.read_answers(given_back(tmp_path, change=some(15))) == 5
    assert oracle.read_answers(given_back(tmp_path, change=some(15))) == 0
    assert oracle.read_answers(given_back(tmp_path, lambda q: -1, some(3))) == 3
    asked(oracle)
    assert oracle.report()["n_neither"] == 3
    assert oracle.report()["n_usable"] == 12


def test_a_page_is_not_written_when_nothing_is_open(tmp_path):
    oracle = page_oracle(tmp_path)
    asked(oracle)
    oracle.read_answers(given_back(tmp_path))
    (tmp_path / "q.html").unlink()
    oracle.answer_triplets(TRIPLETS)
    assert not (tmp_path / "q.html").exists()


def test_only_a_page_of_questions_is_overwritten(tmp_path):
    oracle = page_oracle(tmp_path)
    asked(oracle)
    asked(oracle, TRIPLETS[:2])
    assert len(written(tmp_path).data["questions"]) == 2
    (tmp_path / "q.html").write_text("<!doctype html>my thesis")
    with pytest.raises(ValueError, match="is not overwritten"):
        oracle.answer_triplets(TRIPLETS)
    assert (tmp_path / "q.html").read_text() == "<!doctype html>my thesis"
    with pytest.raises(ValueError, match="is not overwritten"):
        page_oracle(tmp_path, page=tmp_path).check()


def test_a_page_loads_nothing_and_sends_nothing(tmp_path):
    asked(page_oracle(tmp_path))
    page = written(tmp_path)
    fetching = {"src", "href", "action", "srcset", "data", "poster", "background"}
    fetching |= {"formaction", "ping", "style"}
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"link", "img", "iframe", "object", "embed", "base", "form"}
    assert not {name for _, attrs in page.tags for name in attrs} & fetching
    text = (tmp_path / "q.html").read_text(encoding="utf-8")
    for word in ("://", "fetch(", "XMLHttpRequest", "innerHTML", "eval(", "import("):
        assert word not in text
    assert not [name for _, attrs in page.tags for name in attrs if name[:2] == "on"]


def test_the_policy_of_a_page_allows_its_script_and_style_and_nothing_else(tmp_path):
    asked(page_oracle(tmp_path))
    page = written(tmp_path)
    (policy,) = (
        attrs["content"]
        for tag, attrs in page.tags
        if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))

    def digest(text):
        raw = hashlib.sha256(text.encode()).digest()
        return f"'sha256-{base64.b64encode(raw).decode()}'"

    assert rules == {
        "default-src": "'none'",
        "script-src": digest(page.script),
        "style-src": digest(page.inside["style", None]),
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def rendered(asked_about, **params):
    oracle = HumanOracle(**params)
    questions = [question_of(oracle, texts) for texts in asked_about]
    return render_page(questions, oracle._task())


def _joined(text):
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def check_inert(texts):
    task = {"perspective": f"a{texts[0]}", "annotator": f"b{texts[1]}"}
    page = rendered([tuple(texts), tuple(texts[:2])], **task)
    assert page.isascii()
    found, plain = Parts(page), Parts(rendered([("a", "b", "c"), ("a", "b")]))
    assert found.tags == plain.tags
    assert found.script == plain.script
    assert not set("<>&") & set(found.inside["script", "data"])
    triplet, pair = found.data["questions"]
    assert triplet["anchor"] == texts[0]
    assert sorted(triplet["choices"]) == sorted(texts[1:])
    assert triplet["shown"][0] == visible(texts[0])
    assert sorted(pair["pair"]) == sorted(texts[:2])
    assert pair["shown"] == [visible(text) for text in pair["pair"]]
    assert found.data["answers"]["task"] == {"texts": "texts", **task}
    for kind, instruction in found.data["instructions"].items():
        plainly = plain.data["instructions"][kind]
        assert instruction == plainly.replace("topic", visible(task["perspective"]))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_nothing_but_data_to_a_page(text):
    check_inert([text, "b" + text, text + "c"])


@relaxed
@given(st.lists(any_text, min_size=3, max_size=3))
def test_any_text_is_nothing_but_data_to_a_page(texts):
    # Two halves that meet are a whole character in JSON: not the same text any more.
    check_inert([_joined(text) for text in texts])


def of(i, **changes):
    """Change a field of the answer number i."""

    def change(file):
        file["answers"][i].update(changes)
        return file

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: [], "is no file of answers"),
        (lambda file: {**file, "format": "x"}, "is no file of answers"),
        (
            lambda file: {**file, "version": 2},
            "is of version 2, and this library reads",
        ),
        (lambda file: {**file, "more": 1}, "must have the fields"),
        (lambda file: {**file, "answers": {}}, "must have the fields"),
        (lambda file: {**file, "answers": [1]}, "for each answer, got 1 at index 0"),
        (lambda file: {**file, "task": None}, "other questions than this oracle"),
        (of(3, more=1), "for each answer, got .* at index 3"),
        (of(3, choices=["a"]), "two as choices, got .* at index 3"),
        (of(3, choices="ab"), "two as choices, got .* at index 3"),
        (of(3, choices=["a", 1]), "two as choices, got .* at index 3"),
        (of(3, anchor=None), "a str as anchor .* at index 3"),
        (of(3, answer=True), r"must answer one of \[-1, 0, 1\], got True at index 3"),
        (of(3, answer=2), r"must answer one of \[-1, 0, 1\], got 2 at index 3"),
        (of(3, answer="1"), r"must answer one of \[-1, 0, 1\], got '1' at index 3"),
        (
            of(3, answer=float("nan")),
            r"must answer one of \[-1, 0, 1\], got nan at index 3",
        ),
        (of(3, anchor="another"), "was changed: the key at index 3"),
        (of(3, key=None), "was changed: the key at index 3"),
        (
            lambda file: {
                **file,
                "answers": [*file["answers"], {**file["answers"][2], "answer": 1}],
            },
            "two answers, the second at index 40",
        ),
    ],
)
def test_a_file_with_anything_wrong_is_refused_and_none_of_it_kept(
    tmp_path, change, message
):
    oracle = page_oracle(tmp_path)
    asked(oracle)
    with pytest.raises(ValueError, match=message):
        oracle.read_answers(given_back(tmp_path, change=change))
    assert oracle.report()["n_open"] == len(TRIPLETS)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe\x00\xd8", b"[" * 100_000, b"9" * 10_000]
)
def test_a_file_that_is_no_json_is_refused(tmp_path, content):
    (tmp_path / "answers.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"answers\.json.*Download answers"):
        HumanOracle().read_answers(tmp_path / "answers.json")


def test_a_file_that_is_not_there_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        HumanOracle().read_answers(tmp_path / "answers.json")


@pytest.mark.parametrize(
    "other", [{"perspective": "tone"}, {"texts": "songs"}, {"annotator": "Ada"}]
)
def test_answers_to_another_task_or_of_another_person_are_refused(tmp_path, other):
    asked(page_oracle(tmp_path))
    path = given_back(tmp_path)
    with pytest.raises(ValueError, match="other questions than this oracle asks"):
        HumanOracle(**other).read_answers(path)


# Pairs


EVEN = [int(i % 2 == 0) for i in range(len(PAIRS))]


def kinds_on(folder):
    return [question["kind"] for question in written(folder).data["questions"]]


def test_pairs_are_asked_on_the_page_and_answered_in_either_order(tmp_path):
    oracle = page_oracle(tmp_path)
    assert (asked(oracle, PAIRS) == -1).all()
    data = written(tmp_path).data
    (instruction,) = data["instructions"].values()
    assert instruction == "Do these two texts have the same topic?"
    assert [sorted(q["pair"]) for q in data["questions"]] == [sorted(p) for p in PAIRS]
    assert any(q["pair"] != sorted(q["pair"]) for q in data["questions"])
    assert oracle.read_answers(given_back(tmp_path, leftmost)) == len(PAIRS)
    assert oracle.answer_pairs(PAIRS).tolist() == EVEN
    assert oracle.answer_pairs(swap(PAIRS)).tolist() == EVEN


def test_one_page_and_one_file_carry_triplets_and_pairs(tmp_path):
    oracle = page_oracle(tmp_path)
    asked(oracle, TRIPLETS[:3])
    asked(oracle, PAIRS[:2])
    assert kinds_on(tmp_path) == ["triplets"] * 3 + ["pairs"] * 2
    fresh = HumanOracle()
    assert fresh.read_answers(given_back(tmp_path, leftmost)) == 5
    assert fresh.answer_triplets(TRIPLETS[:3]).tolist() == [0] * 3
    assert fresh.answer_pairs(PAIRS[:2]).tolist() == [1, 0]


def test_a_page_holds_what_was_asked_last_of_each_kind_and_is_still_open(tmp_path):
    oracle = page_oracle(tmp_path)
    asked(oracle, TRIPLETS[:3])
    asked(oracle, PAIRS[:2])
    asked(oracle, PAIRS[2:6])
    assert kinds_on(tmp_path) == ["triplets"] * 3 + ["pairs"] * 4
    oracle.read_answers(given_back(tmp_path, change=lambda file: keep_of(file, [0, 4])))
    asked(oracle, TRIPLETS[:3])
    assert kinds_on(tmp_path) == ["triplets"] * 2 + ["pairs"] * 3
    asked(oracle.set_params(max_questions=1), PAIRS[:2])
    assert kinds_on(tmp_path) == ["triplets"] * 2 + ["pairs"]


def keep_of(file, numbers):
    return {**file, "answers": [file["answers"][i] for i in numbers]}


def test_a_clone_goes_on_with_the_page(tmp_path):
    """A fit asks about pairs with a clone that has demonstrations."""
    oracle = page_oracle(tmp_path)
    asked(oracle, TRIPLETS[:3])
    asked(clone(oracle), PAIRS[:2])
    assert kinds_on(tmp_path) == ["triplets"] * 3 + ["pairs"] * 2
    assert oracle.report()["n_open"] == 5


@pytest.mark.parametrize("other", [{"perspective": "tone"}, {"page": "other.html"}])
def test_another_task_or_another_page_begins_with_nothing(tmp_path, monkeypatch, other):
    monkeypatch.chdir(tmp_path)
    oracle = page_oracle(tmp_path, page="q.html")
    asked(oracle, TRIPLETS[:3])
    asked(oracle.set_params(**other), PAIRS[:2])
    page = Parts((tmp_path / oracle.page).read_text(encoding="utf-8"))
    assert [question["kind"] for question in page.data["questions"]] == ["pairs"] * 2


def test_a_file_of_answers_from_an_earlier_version_is_read(tmp_path):
    path = tmp_path / "answers.json"
    path.write_text(
        """{
 "format": "skllm_cluster answers",
 "version": 1,
 "task": {"perspective": "topic", "texts": "texts", "annotator": null},
 "answers": [
  {
   "key": "1f1b5bb507cfc597ea35179ba3cbcf6c3cd0f394a0ed1c4fd9fe750869ef87d1",
   "anchor": "q",
   "choices": ["b", "a"],
   "answer": 1
  }
 ]
}"""
    )
    oracle = HumanOracle(max_questions=0)
    assert oracle.read_answers(path) == 1
    assert oracle.answer_triplets([("q", "a", "b"), ("q", "b", "a")]).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (of(3, answer=-1), r"must answer one of \[0, 1\], got -1 at index 3"),
        (of(3, answer=True), r"must answer one of \[0, 1\], got True at index 3"),
        (of(3, pair=["a"]), "must have two as pair, got .* at index 3"),
        (of(3, pair="ab"), "must have two as pair, got .* at index 3"),
        (of(3, pair=["a", None]), "must have two as pair, got .* at index 3"),
        (of(3, anchor="a"), r"must have the fields \['answer', 'key', 'pair'\]"),
        (of(3, pair=["a", "b"]), "was changed: the key at index 3"),
        (
            lambda file: keep_of(file, [0, 1, 2, 3, 2]) | {"task": {}},
            "answers other questions",
        ),
    ],
)
def test_a_file_with_anything_wrong_about_a_pair_is_refused(tmp_path, change, message):
    oracle = page_oracle(tmp_path)
    asked(oracle, PAIRS)
    with pytest.raises(ValueError, match=message):
        oracle.read_answers(given_back(tmp_path, change=change))
    assert oracle.report()["n_open"] == len(PAIRS)


def test_two_answers_to_one_pair_are_refused_in_either_order(tmp_path):
    oracle = page_oracle(tmp_path)
    asked(oracle, PAIRS)

    def contradict(file):
        first = file["answers"][0]
        other = {**first, "pair": first["pair"][::-1], "answer": 1 - first["answer"]}
        return {**file, "answers": [*file["answers"], other]}

    with pytest.raises(ValueError, match="two answers, the second at index 40"):
        oracle.read_answers(given_back(tmp_path, change=contradict))


class Spy(BaseEstimator):
    """An adapter that learns nothing and remembers what it was to learn from."""

    seen = ()

    def adapt(self, embedder, texts, triplets, **_):
        type(self).seen = triplets.tolist()
        return embedder


def test_a_fit_writes_the_page_and_the_next_one_uses_the_answers(tmp_path, support):
    texts, topics = support[0][:60], list(support[1][:60])
    topic_of = dict(zip(texts, topics, strict=True))
    oracle = page_oracle(tmp_path)

    def fit(oracle):
        model = ClusterLLMClusterer(
            HashingEmbedder(), oracle, n_clusters=6, n_questions=100, random_state=0
        )
        return model.set_params(adapter=Spy(), guard=None).fit(texts)

    with pytest.warns(UserWarning) as warned:
        base = fit(oracle)
    assert sum("q.html" in str(warning.message) for warning in warned) == 1
    assert (base.answers_ < 0).all()

    def choose(question):
        same = [
            topic_of[question["anchor"]] == topic_of[c] for c in question["choices"]
        ]
        return -1 if same[0] == same[1] else int(same[1])

    assert oracle.read_answers(given_back(tmp_path, choose)) == 100
    by_person, learnt = fit(oracle).answers_, Spy.seen
    by_labels = fit(TruthOracle(texts, topics)).answers_
    assert by_person.tolist() == by_labels.tolist()
    assert set(by_person) == {-1, 0, 1}
    assert learnt == Spy.seen


# The script of the page, run by Node

node = shutil.which("node")
needs_node = pytest.mark.skipif(node is None, reason="the page's script needs Node")
BROWSER = Path(__file__).with_name("fake_browser.js")


def browse(folder, does, stored=()):
    """Open the page in a fake browser; press keys, click, download ("get")."""
    page = written(folder)
    script = Path(folder) / "page.js"
    script.write_text(page.script, encoding="utf-8")
    actions = [
        action if isinstance(action, dict) else {"key": action} for action in does
    ]
    storage = None if stored is None else dict(stored)
    done = subprocess.run(
        [node, str(BROWSER), str(script)],
        input=json.dumps({"data": page.data, "stored": storage, "does": actions}),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


GET = {"get": True}


@needs_node
def test_keys_on_the_page_become_answers_of_the_oracle(tmp_path):
    oracle = page_oracle(tmp_path)
    triplets = [
        (f"{i} {text}", text + "1", text + "2") for i, text in enumerate(HOSTILE)
    ]
    asked(oracle, triplets)
    done = browse(tmp_path, [*("12" * 4), "N", "s", GET])
    (file,) = done["files"]
    assert file["name"] == "answers.json"
    (tmp_path / file["name"]).write_text(file["text"], encoding="utf-8")
    assert oracle.read_answers(tmp_path / file["name"]) == 9
    shown = [question_of(oracle, triplet).texts for triplet in triplets]
    wanted = [triplets[i].index(shown[i][1 + i % 2]) - 1 for i in range(8)]
    answers = asked(page_oracle(tmp_path, interface="widget"), triplets)
    assert answers.tolist() == [*wanted, -1, -1]
    assert oracle.report()["n_open"] == 1
    for look, texts in zip(done["looks"], shown, strict=False):
        assert look["texts"] == [visible(text) for text in texts]


@needs_node
def test_page_and_terminal_step_through_questions_alike(tmp_path):
    asked(page_oracle(tmp_path), TRIPLETS[:4])
    rng = random.Random(0)
    keys = [rng.choice("12nsbx") for _ in range(60)]
    looks = browse(tmp_path, keys)["looks"]
    oracle = HumanOracle()
    here = Sitting([question_of(oracle, t) for t in TRIPLETS[:4]], lambda *_: None)
    for look, key in zip(looks, [*keys, None], strict=True):
        assert look["where"].startswith(here.progress().split(";")[0])
        assert look["hidden"] == (here.question is None)
        if here.question is not None:
            said = here.choices.get(here.question.key)
            assert look["pressed"] == ([] if said is None else [said])
        if key is not None:
            here.press(key)
    assert {look["hidden"] for look in looks} == {False, True}


@needs_node
def test_buttons_do_what_keys_do(tmp_path):
    asked(page_oracle(tmp_path), TRIPLETS[:4])
    keys = "12snb1"
    by_key = browse(tmp_path, keys)
    by_button = browse(tmp_path, [{"button": key} for key in keys])
    assert by_key == by_button


@needs_node
def test_a_page_that_is_written_anew_finds_what_the_browser_kept(tmp_path):
    oracle = page_oracle(tmp_path)
    asked(oracle)
    before = browse(tmp_path, ["1", "2", "s", "n"])
    asked(oracle, TRIPLETS[1:5])
    after = browse(tmp_path, [GET], before["stored"])
    assert after["looks"][0]["where"] == "Question 2, 2 of 4 answered"
    answers = json.loads(after["files"][0]["text"])["answers"]
    assert [a["anchor"] for a in answers] == ["anchor 1", "anchor 3"]
    assert [a["answer"] for a in answers] == [1, -1]
    foreign = browse(tmp_path, [], dict.fromkeys(before["stored"], "7"))
    assert foreign["looks"][0]["where"] == "Question 1, 0 of 4 answered"
    all_said = browse(tmp_path, "1111")["stored"]
    assert "last question" in browse(tmp_path, [], all_said)["looks"][0]["where"]


@needs_node
def test_a_browser_that_keeps_nothing_is_told_about_and_asks_before_closing(tmp_path):
    asked(page_oracle(tmp_path), TRIPLETS[:4])
    lost = browse(tmp_path, ["1", "2"], stored=None)
    assert "download them before you close" in lost["looks"][-1]["kept"]
    assert lost["asksBeforeClosing"]
    assert not browse(tmp_path, ["1", "2", GET], stored=None)["asksBeforeClosing"]
    kept = browse(tmp_path, ["1", "2"])
    assert kept["looks"][-1]["kept"] == ""
    assert not kept["asksBeforeClosing"]


@needs_node
@pytest.mark.parametrize("with_", ["repeat", "ctrlKey", "metaKey", "altKey"])
def test_a_key_held_down_or_with_another_answers_nothing(tmp_path, with_):
    asked(page_oracle(tmp_path), TRIPLETS[:4])
    done = browse(tmp_path, [{"key": "1", with_: True}])
    assert done["stored"] == {}


@needs_node
def test_keys_on_the_page_answer_pairs(tmp_path):
    oracle = page_oracle(tmp_path)
    pairs = [(f"{i} {text}", text + "1") for i, text in enumerate(HOSTILE)]
    asked(oracle, pairs)
    done = browse(tmp_path, [*("yn" * 4), "1", "Y", "s", GET])
    (file,) = done["files"]
    (tmp_path / file["name"]).write_text(file["text"], encoding="utf-8")
    assert oracle.read_answers(tmp_path / file["name"]) == 9
    answers = asked(page_oracle(tmp_path, interface="widget"), pairs)
    assert answers.tolist() == [1, 0] * 4 + [1, -1]
    assert done["looks"][8] == done["looks"][9]  # 1 is no answer to a pair
    for look, pair in zip(done["looks"][:9], pairs, strict=False):
        shown = question_of(oracle, pair).texts
        assert look["texts"] == [visible(text) for text in shown]


@needs_node
def test_the_page_goes_from_triplets_to_pairs_and_back(tmp_path):
    oracle = page_oracle(tmp_path)
    asked(oracle, TRIPLETS[:2])
    asked(oracle, PAIRS[:2])
    done = browse(tmp_path, ["n", "y", "2", "n", "b", "b", GET])
    parts = [look["parts"] for look in done["looks"]]
    triplets, pairs = ["triplets"], ["pairs"]
    assert parts == [*[triplets] * 3, *[pairs] * 3, triplets, triplets]
    assert [look["pressed"] for look in done["looks"][-3:-1]] == [["n"], ["2"]]
    instructions = [look["instruction"] for look in done["looks"]]
    assert instructions[0] == question_of(oracle, TRIPLETS[0]).instruction
    assert instructions[3] == question_of(oracle, PAIRS[0]).instruction
    answers = json.loads(done["files"][0]["text"])["answers"]
    assert [a["answer"] for a in answers] == [-1, 1, 0]
    assert [set(a) for a in answers] == [
        *[{"key", "anchor", "choices", "answer"}] * 2,
        {"key", "pair", "answer"},
    ]


@needs_node
def test_page_and_terminal_step_through_pairs_alike(tmp_path):
    asked(page_oracle(tmp_path), PAIRS[:4])
    rng = random.Random(0)
    keys = [rng.choice("ynsbx1") for _ in range(40)]
    looks = browse(tmp_path, keys)["looks"]
    oracle = HumanOracle()
    here = Sitting([question_of(oracle, p) for p in PAIRS[:4]], lambda *_: None)
    for look, key in zip(looks, [*keys, None], strict=True):
        assert look["where"].startswith(here.progress().split(";")[0])
        if here.question is not None:
            said = here.choices.get(here.question.key)
            assert look["pressed"] == ([] if said is None else [said])
        if key is not None:
            here.press(key)


@needs_node
def test_buttons_of_pairs_do_what_keys_do(tmp_path):
    asked(page_oracle(tmp_path), PAIRS[:4])
    keys = "ynsby"
    by_key = browse(tmp_path, keys)
    assert by_key == browse(tmp_path, [{"button": key} for key in keys])


@needs_node
def test_what_the_browser_kept_of_pairs_is_found_again(tmp_path):
    oracle = page_oracle(tmp_path)
    asked(oracle, PAIRS[:4])
    before = browse(tmp_path, ["y", "s", "n"])["stored"]
    asked(oracle, PAIRS[:3])
    after = browse(tmp_path, [GET], before)
    answers = json.loads(after["files"][0]["text"])["answers"]
    assert [a["answer"] for a in answers] == [1, 0]
    foreign = browse(tmp_path, [], dict.fromkeys(before, "-1"))  # of no pair
    assert foreign["looks"][0]["where"] == "Question 1, 0 of 3 answered"


@needs_node
def test_the_fake_browser_has_the_buttons_that_the_page_has(tmp_path):
    """Guards the tests above: they press what the fake browser thinks is there."""
    asked(page_oracle(tmp_path), TRIPLETS[:1])
    page = written(tmp_path)
    keys = [attrs["data-key"] for _, attrs in page.tags if "data-key" in attrs]
    ids = [attrs["id"] for tag, attrs in page.tags if tag == "bdi"]
    assert keys == ["1", "2", "n", "y", "n", "b", "s"]
    assert ids == ["query", "first", "second", "one", "other"]
    text = BROWSER.read_text()
    for part in (ids[:3], ids[3:], keys[:3], keys[3:5], keys[5:]):
        assert json.dumps(part) in text
