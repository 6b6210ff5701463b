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
from people import HOSTILE, TRIPLETS, asked, swap
from sklearn.base import BaseEstimator

from skllm_cluster import ClusterLLMClusterer
from skllm_cluster.embedders import HashingEmbedder
from skllm_cluster.oracles import HumanOracle, TruthOracle
from skllm_cluster.oracles._human_page import render_page
from skllm_cluster.oracles._human_sitting import Sitting, visible

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
    answers = [
        {
            "key": question["key"],
            "anchor": question["anchor"],
            "choices": question["choices"],
            "answer": choose(question),
        }
        for question in data["questions"]
    ]
    path = Path(folder) / "answers.json"
    path.write_text(json.dumps(change({**data["answers"], "answers": answers})))
    return path


def leftmost(question):
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


def rendered(triplets, **params):
    oracle = HumanOracle(**params)
    questions = [oracle._question(*triplet) for triplet in triplets]
    return render_page(questions, oracle._instruction(), oracle._task())


def _joined(text):
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def check_inert(texts):
    task = {"perspective": f"a{texts[0]}", "annotator": f"b{texts[1]}"}
    page = rendered([tuple(texts)], **task)
    assert page.isascii()
    found, plain = Parts(page), Parts(rendered([("a", "b", "c")]))
    assert found.tags == plain.tags
    assert found.script == plain.script
    assert not set("<>&") & set(found.inside["script", "data"])
    (question,) = found.data["questions"]
    assert question["anchor"] == texts[0]
    assert sorted(question["choices"]) == sorted(texts[1:])
    assert question["shown"][0] == visible(texts[0])
    assert found.data["answers"]["task"] == {"texts": "texts", **task}


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
        (of(3, answer=True), "must answer 0, 1 or -1, got True at index 3"),
        (of(3, answer=2), "must answer 0, 1 or -1, got 2 at index 3"),
        (of(3, answer="1"), "must answer 0, 1 or -1, got '1' at index 3"),
        (of(3, answer=float("nan")), "must answer 0, 1 or -1, got nan at index 3"),
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
    shown = [oracle._question(*triplet).texts for triplet in triplets]
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
    here = Sitting([oracle._question(*t) for t in TRIPLETS[:4]], lambda *_: None)
    for look, key in zip(looks, [*keys, None], strict=True):
        assert look["where"].startswith(here.progress().split(";")[0])
        assert look["hidden"] == (here.question is None)
        if here.question is not None:
            said = here.choices.get(here.question.key)
            name = {0: ["1"], 1: ["2"], -1: ["n"], None: []}[said]
            assert look["pressed"] == name
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
