"""Which texts of a set belong together, asked of functions as models."""

import itertools
import json
import pickle
import random
import re
import threading

import numpy as np
import pytest
from hostile import HOSTILE
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from skllm_cluster.journal import AnswerJournal
from skllm_cluster.oracles import LLMOracle, OpenAIChat, OracleError, TransformersChat
from skllm_cluster.oracles import _calling as calling
from skllm_cluster.oracles._prompts import renumbered, set_lines
from skllm_cluster.protocols import Reply, SetOracle

GROUPS = ("card", "fee", "pin", "app")


def draw_sets(n, seed=0):
    rng = random.Random(seed)
    texts = [f"{group} {i}" for group in GROUPS for i in range(9)]
    return [rng.sample(texts, rng.randint(2, 12)) for _ in range(n)]


SETS = draw_sets(20)


def truth(texts):
    return renumbered([GROUPS.index(text.split()[0]) for text in texts])


TRUTH = [truth(texts) for texts in SETS]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(calling, "pauses", lambda rng: itertools.repeat(0.0))
    monkeypatch.setattr(calling, "POLL_SECONDS", 0.001)


def shown(prompt):
    """The lines of the set, as they are shown."""
    lines = prompt.split("\n")
    return lines[1 : lines.index("", 1)]


def clusters(lines, name=lambda line: re.search(r"\w+", line)[0]):
    """Reply with a cluster for each name."""
    named = {}
    for line in lines:
        named.setdefault(name(line), []).append(f"- {line}")
    return "\n\n".join("\n".join([f"**{k}s**", *own]) for k, own in named.items())


def truthful(prompt):
    """A model that knows the groups."""
    return clusters(shown(prompt))


class Recorder:
    """A model that remembers its prompts."""

    def __init__(self, reply=truthful):
        self.reply, self.prompts, self.lock = reply, [], threading.Lock()

    def __call__(self, prompt):
        with self.lock:
            self.prompts.append(prompt)
        return self.reply(prompt)


class Chat:
    """What would be sent to a chat server."""

    max_tokens = 2000

    def request(self, prompt):
        messages = [{"role": "user", "content": prompt}]
        return {"body": {"model": "m", "messages": messages}}

    def __call__(self, prompt):
        raise AssertionError("asked")


def as_lists(labels):
    return [own.tolist() for own in labels]


# Answers


@pytest.mark.parametrize("order", ["random", "given"])
@pytest.mark.parametrize("fence", ["auto", "always", "never"])
def test_labels_say_which_texts_belong_together(order, fence):
    oracle = LLMOracle(truthful, order=order, fence=fence)
    labels = oracle.answer_sets(SETS)
    assert all(own.dtype.kind == "i" for own in labels)
    assert as_lists(labels) == TRUTH
    assert isinstance(oracle, SetOracle)


@pytest.mark.parametrize("container", [tuple, np.array, lambda s: np.array(s, object)])
def test_sets_may_be_any_sequence(container):
    labels = LLMOracle(truthful).answer_sets([container(texts) for texts in SETS])
    assert as_lists(labels) == TRUTH


def test_any_order_of_a_set_is_one_question():
    model, rng = Recorder(), random.Random(0)
    turned = [rng.sample(texts, len(texts)) for texts in SETS]
    oracle = LLMOracle(model, n_jobs=1)
    labels = oracle.answer_sets([*SETS, *turned])
    assert as_lists(labels) == [*TRUTH, *map(truth, turned)]
    assert len(model.prompts) == len(set(model.prompts)) == len(SETS)
    # The lines come in no order that says anything.
    assert sum(shown(p) == s for p, s in zip(model.prompts, SETS, strict=True)) < 5
    assert sum(shown(p) == sorted(shown(p)) for p in model.prompts) < 5


def test_another_seed_shows_another_order():
    prompts = []
    for seed in (0, 1):
        model = Recorder()
        LLMOracle(model, n_jobs=1, random_state=seed).answer_sets(SETS)
        prompts.append(model.prompts)
    assert prompts[0] != prompts[1]


def test_given_order_is_shown_as_given():
    model = Recorder()
    LLMOracle(model, n_jobs=1, order="given").answer_sets(SETS)
    assert [shown(prompt) for prompt in model.prompts] == SETS


def test_the_prompt_is_the_papers_for_its_products():
    model = Recorder()
    oracle = LLMOracle(model, texts="products", order="given", n_jobs=1)
    oracle.answer_sets([["glue", "tape"]])
    assert model.prompts == [
        "Cluster these products:\nglue\ntape\n\nFor each cluster, the answer should "
        "contain a meaningful cluster title and the products in that cluster. Do not "
        "provide any explanation."
    ]


def test_a_set_of_one_text_or_none_is_answered_without_asking():
    model = Recorder()
    oracle = LLMOracle(model)
    labels = oracle.answer_sets([["glue"], [], [" "]])
    assert as_lists(labels) == [[0], [], [0]]
    assert all(own.dtype.kind == "i" for own in labels)
    assert oracle.answer_sets([]) == []
    assert model.prompts == []
    assert oracle.report()["n_sets"] == 0


def test_equal_texts_are_shown_and_labelled_as_often_as_they_occur():
    model = Recorder()
    oracle = LLMOracle(model, n_jobs=1)
    assert as_lists(oracle.answer_sets([["card 1", "fee 1", "card 1"]])) == [[0, 1, 0]]
    assert sorted(shown(model.prompts[0])) == ["card 1", "card 1", "fee 1"]


def test_what_is_left_out_altered_or_made_up_is_told_and_counted():
    def forgetful(prompt):
        lines = [line for line in shown(prompt) if not line.endswith("1")]
        lines = [line + " etc." if line.endswith("2") else line for line in lines]
        return clusters([*lines, "pin of gold"])

    oracle = LLMOracle(forgetful)
    labels = oracle.answer_sets(SETS)
    n_lost = 0
    for texts, own in zip(SETS, labels, strict=True):
        lost = [text[-1] in "12" for text in texts]
        assert (own < 0).tolist() == lost
        kept = [text for text, is_lost in zip(texts, lost, strict=True) if not is_lost]
        assert own[own >= 0].tolist() == truth(kept)
        n_lost += sum(lost)
    report = oracle.report()
    assert report["n_sets"] == len(SETS)
    assert report["n_entities"] == sum(map(len, SETS))
    assert report["n_entities_unassigned"] == n_lost > 0
    n_altered = sum(text[-1] == "2" for texts in SETS for text in texts)
    assert report["n_lines_unmatched"] == n_altered + len(SETS)


@pytest.mark.parametrize(
    "reply", ["", "I cannot do that.", "Choice 1", "Yes", None, 5, "I am\nat a loss."]
)
def test_a_reply_of_no_use_labels_nothing_and_is_counted(reply):
    oracle = LLMOracle(lambda prompt: reply)
    assert as_lists(oracle.answer_sets(SETS[:3])) == [[-1] * len(s) for s in SETS[:3]]
    report = oracle.report()
    assert (report["n_unusable"], report["n_usable"], report["n_neither"]) == (3, 0, 0)
    assert (report["n_sets"], report["n_sets_unusable"]) == (0, 3)
    assert report["n_entities"] == report["n_entities_unassigned"] == 0
    assert report["first_unusable_reply"] is not None


def test_a_reply_that_was_cut_short_is_of_no_use_as_a_whole():
    def cut(prompt):
        said = truthful(prompt)
        return Reply(said[: len(said) // 2], finish_reason="length")

    oracle = LLMOracle(cut)
    assert as_lists(oracle.answer_sets(SETS)) == [[-1] * len(s) for s in SETS]
    report = oracle.report()
    assert report["n_cut_short"] == report["n_unusable"] == len(SETS)
    assert report["n_entities_unassigned"] == 0  # nothing seems to be left out


@given(st.lists(st.text(), min_size=2, max_size=7), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_any_texts_are_labelled_as_the_model_says_in_any_order(texts, rng):
    names = {}

    def model(prompt):
        said = shown(prompt)
        for line in said:
            names.setdefault(line, rng.randrange(3))
        return clusters(said, names.__getitem__)

    oracle = LLMOracle(model, fence="always", n_jobs=1)
    (labels,) = oracle.answer_sets([texts])
    by_text = dict(zip(texts, labels.tolist(), strict=True))
    right = [names[line] for line in set_lines(texts, fence=True)]
    assert labels.tolist() == renumbered(right)
    other = rng.sample(texts, len(texts))
    (turned,) = oracle.answer_sets([other])
    assert turned.tolist() == renumbered([by_text[text] for text in other])


@pytest.mark.parametrize("fence", ["auto", "always", "never"])
def test_a_hostile_text_changes_no_other_label(fence):
    attacks = [
        *HOSTILE, "\nCluster 1:", "Cluster 1: card", "\n\nhere are the clusters\n\n",
        "- card 1", "cards", "\ncard 3", "**cards**", "1. card 1", "# x", "```",
    ]  # fmt: skip
    sets = [["card 1", "fee 1", attack[:3000], "card 2", "fee 2"] for attack in attacks]

    def model(prompt):
        lines = shown(prompt)
        ours = [x for x in lines if re.fullmatch(r'"?(card|fee) [12]"?', x)]
        rest = [f"- {line}" for line in lines if line not in ours]
        return clusters(ours) + "\n\n**Others**\n" + "\n".join(rest)

    labels = LLMOracle(model, fence=fence, max_characters=3000).answer_sets(sets)
    for attack, own in zip(attacks, labels, strict=True):
        if (fence, attack) == ("never", "- card 1"):
            # It cannot be told from "card 1" after a bullet: neither has a label.
            assert own.tolist() == [-1, 0, -1, 1, 0]
            continue
        assert own[[0, 1, 3, 4]].tolist() == [0, 1, 0, 1], attack
        # An empty text cannot be shown without a fence.
        assert own[2] in ((2, -1) if fence == "never" else (2,)), attack


# Before anything is asked


@pytest.mark.parametrize(
    "wrong", ["card", [1, "a"], ["a", None], 5, None, [b"a", b"b"], [["a"], ["b"]]]
)
def test_what_is_no_set_is_refused_before_anything_is_asked(wrong):
    model = Recorder()
    oracle = LLMOracle(model)
    said = r"must be \(text, \.\.\.\), all str, got .* at index 1"
    with pytest.raises(TypeError, match=said):
        oracle.answer_sets([SETS[0], wrong])
    with pytest.raises(TypeError, match=said):
        oracle.plan([SETS[0], wrong], kind="sets")
    assert model.prompts == []


@pytest.mark.parametrize("params", [{"order": "both"}, {"n_votes": 3}])
def test_two_partitions_have_no_majority(params):
    model = Recorder()
    with pytest.raises(ValueError, match=r"no majority, got order='.*' and n_votes=."):
        LLMOracle(model, **params).answer_sets(SETS)
    assert model.prompts == []


def test_likelihoods_compare_no_sets():
    class Local:
        def __call__(self, prompt):
            return ""

        def log_likelihoods(self, contexts, continuations):
            return [0.0] * len(contexts)

    with pytest.raises(ValueError, match=r"form \(text, \.\.\.\) has none"):
        LLMOracle(Local(), scoring="options").answer_sets(SETS)


@pytest.mark.parametrize(
    "complete",
    [
        OpenAIChat("m", base_url="http://127.0.0.1:9/v1", max_tokens=10),
        OpenAIChat(
            "m", base_url="http://127.0.0.1:9/v1", extra_body={"max_tokens": 10}
        ),
        TransformersChat("nothing is loaded"),
    ],
)
def test_a_model_that_may_not_say_enough_is_refused_before_it_is_asked(complete):
    oracle = LLMOracle(complete)
    said = r"set at index 1, of 12 texts, may take .* ends it after 10; .*max_tokens"
    with pytest.raises(ValueError, match=said) as error:
        oracle.answer_sets([["a"], SETS[max(range(20), key=lambda i: len(SETS[i]))]])
    need = int(re.search(r"Set max_tokens to (\d+)", str(error.value))[1])
    complete = clone(complete).set_params(max_tokens=need)
    longest = [max(SETS, key=len)]
    assert LLMOracle(complete).plan(longest)["calls"] == 1
    complete.set_params(max_tokens=need - 1)
    with pytest.raises(ValueError, match="may take"):
        LLMOracle(complete).plan(longest)


def test_the_room_that_is_asked_for_is_enough_for_titles_and_bullets():
    # Four letters a token is a poor tokenizer for English words.
    for texts in SETS:
        model = Recorder()
        LLMOracle(model).answer_sets([texts])
        reply = truthful(model.prompts[0])
        plan = LLMOracle(lambda p: "").plan([texts])
        assert len(re.findall(r"\w{1,4}|\S", reply)) < plan["tokens"][1]


def test_no_room_is_needed_where_nothing_is_asked_or_nothing_limits_a_reply():
    journal = AnswerJournal()
    unlimited = OpenAIChat("m", base_url="http://127.0.0.1:9/v1")
    assert LLMOracle(unlimited).plan(SETS)["calls"] == len(SETS)
    with pytest.raises(OracleError, match="lacks 20 of 20"):
        LLMOracle(
            unlimited.set_params(max_tokens=1), replay=True, journal=journal
        ).answer_sets(SETS)


def test_long_texts_are_cut_and_counted_or_refused():
    texts = ["card " + "x" * 300, "fee 1", "card 2"]
    model = Recorder()
    oracle = LLMOracle(model, max_characters=200, n_jobs=1)
    assert as_lists(oracle.answer_sets([texts])) == [[0, 1, 0]]
    assert max(map(len, shown(model.prompts[0]))) == 200
    assert oracle.report()["n_long_texts"] == 1
    with pytest.raises(ValueError, match="1 texts are longer than max_characters=200"):
        oracle.set_params(long_texts="raise").answer_sets([texts])


# Journal, budget, batch and plan


def test_a_reply_is_asked_for_once_and_replayed_from_the_file(tmp_path):
    path = tmp_path / "a.db"
    model = Recorder()
    first = LLMOracle(model, journal=path)
    assert as_lists(first.answer_sets(SETS)) == TRUTH
    again = LLMOracle(model, journal=path, replay=True)
    assert as_lists(again.answer_sets(SETS[::-1])) == TRUTH[::-1]
    assert len(model.prompts) == len(SETS)
    assert again.report()["n_cached"] == again.report()["n_sets"] == len(SETS)
    # A reply cannot be read without its set, so the journal keeps none beside it.
    kept = list(AnswerJournal(path).attempts())
    assert {a["answer"] for a in kept} == {None}
    with pytest.raises(OracleError, match="lacks 1 of 2"):
        again.answer_sets([SETS[0], ["card 1", "new 1"]])


def test_clones_and_copies_share_what_is_known():
    oracle = LLMOracle(truthful)
    oracle.answer_sets(SETS)
    twin = clone(oracle)
    assert as_lists(twin.answer_sets(SETS)) == TRUTH
    report = twin.report()
    assert report["n_asked"] == report["n_cached"] == len(SETS)
    assert report["n_sets"] == len(SETS)  # distinct replies, each counted once
    copy = pickle.loads(pickle.dumps(LLMOracle(truthful)))
    assert as_lists(copy.answer_sets(SETS)) == TRUTH


def test_a_budget_leaves_sets_open():
    with pytest.warns(UserWarning, match="13 of 20 questions have no answer") as caught:
        oracle = LLMOracle(truthful, budget=7, n_jobs=1)
        labels = oracle.answer_sets(SETS)
    assert caught[0].filename == __file__
    found = as_lists(labels)
    assert sum(own == right for own, right in zip(found, TRUTH, strict=True)) == 7
    assert sum(set(own) == {-1} for own in found) == 13
    assert oracle.report()["n_open"] == 13


def test_a_failed_call_leaves_its_set_open():
    def failing(prompt):
        if len(shown(prompt)) == 3:
            raise TimeoutError("slow")
        return truthful(prompt)

    sets = [["card 1", "fee 1"], ["card 1", "card 2", "fee 1"], ["pin 1", "app 1"]]
    with pytest.warns(UserWarning, match="1 of 3 questions could not be answered"):
        labels = LLMOracle(failing, max_retries=0, n_jobs=1).answer_sets(sets)
    assert as_lists(labels) == [[0, 1], [-1, -1, -1], [0, 1]]


def test_sets_are_written_as_a_batch_and_its_results_are_read(tmp_path):
    path, results = tmp_path / "q.jsonl", tmp_path / "r.jsonl"
    oracle = LLMOracle(Chat(), batch=path, journal=tmp_path / "a.db")
    with pytest.warns(UserWarning, match="20 of 20 questions are written"):
        labels = oracle.answer_sets(SETS)
    assert all((own == -1).all() for own in labels)
    assert oracle.report()["n_sets_unusable"] == 0
    lines = []
    for line in path.read_text().splitlines():
        asked = json.loads(line)
        said = truthful(asked["body"]["messages"][0]["content"])
        choice = {"message": {"content": said}, "finish_reason": "stop"}
        response = {"status_code": 200, "body": {"choices": [choice]}}
        lines.append(
            json.dumps({"custom_id": asked["custom_id"], "response": response})
        )
    results.write_text("\n".join(lines))
    assert oracle.read_batch(results) == {"n_answered": len(SETS), "n_failed": 0}
    assert as_lists(oracle.answer_sets(SETS)) == TRUTH
    answers = {a["answer"] for a in oracle._session().journal.attempts()}
    assert answers == {None}


def test_a_plan_counts_the_calls_and_asks_nothing():
    model = Recorder()
    oracle = LLMOracle(model, prices=(1.0, 2.0))
    oracle.answer_sets(SETS[:5])
    plan = oracle.plan([*SETS, *SETS[::-1], ["alone"]], seconds_per_answer=6.0)
    n = len({frozenset(texts) for texts in SETS})
    assert (plan["questions"], plan["cached"], plan["calls"]) == (n, 5, n - 5)
    assert plan["minutes"] == pytest.approx((n - 5) * 6.0 / 16 / 60)
    assert 0 < plan["cost"][0] < plan["cost"][1]
    assert len(model.prompts) == 5


def test_a_plan_expects_replies_as_long_as_the_sets():
    large = [[f"card number {i}" for i in range(300)]]
    plan = LLMOracle(truthful).plan(large)
    assert plan["tokens"][1] > 2 * plan["tokens"][0]
    n_small = LLMOracle(truthful).plan([["a", "b"]])["tokens"][1]
    assert plan["tokens"][1] > 10 * n_small


def test_lists_are_planned_as_sets_and_tuples_by_their_length():
    oracle = LLMOracle(truthful)
    threes = [["a", "b", "c"], ["d", "e", "f"], ["c", "b", "a"]]
    as_triplets = [tuple(texts) for texts in threes]
    assert oracle.plan(threes)["questions"] == 2  # two orders of a set are one question
    assert oracle.plan(as_triplets)["questions"] == 3
    assert oracle.plan(as_triplets, kind="sets")["questions"] == 2
    assert oracle.plan(threes, kind="triplets")["questions"] == 3
    pairs = [["a", "b"], ["b", "a"]]
    assert oracle.plan(pairs, kind="pairs")["questions"] == 1
    for kind in ("triplets", "pairs", "sets", None):
        assert oracle.plan([], kind=kind)["questions"] == 0
    with pytest.raises(TypeError, match="anchor, choice 1, choice 2"):
        oracle.plan(pairs, kind="triplets")
    with pytest.raises(TypeError, match="or sets with kind='sets'"):
        oracle.plan([("a", "b", "c", "d")])
    with pytest.raises(ValueError, match=r"kind must be .* got 'trios'"):
        oracle.plan(threes, kind="trios")


def test_triplets_pairs_and_sets_share_an_oracle_and_its_report():
    def model(prompt):
        if prompt.startswith("Cluster"):
            return truthful(prompt)
        return "Choice 1" if prompt.startswith("Select") else "Yes"

    oracle = LLMOracle(model)
    assert as_lists(oracle.answer_sets(SETS[:4])) == TRUTH[:4]
    assert set(oracle.answer_triplets([("a", "b", "c")])) < {0, 1}
    assert oracle.answer_pairs([("a", "b")]).tolist() == [1]
    report = oracle.report()
    assert (report["n_usable"], report["n_sets"], report["n_yes"]) == (6, 4, 1)
