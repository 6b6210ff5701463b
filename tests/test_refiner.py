"""Asking for classes: what an oracle is shown, what is found, what is not believed."""

import copy
import json
import math
from collections import Counter

import numpy as np
import pytest
from choosers import (
    Choosing,
    Naming,
    Posing,
    Saying,
    at_random,
    blobs,
    by_hash,
    first,
    mute,
    none,
)
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score

from skllm_cluster.metrics import clustering_accuracy
from skllm_cluster.oracles import LLMOracle
from skllm_cluster.refinement import Refiner
from skllm_cluster.refinement._features import Features
from skllm_cluster.refinement._steps import base_of

TEXTS, Z, LABELS = blobs()
KINDS = [Choosing, Naming]
UNUSABLE = "too few have a usable answer"


def refine(oracle, k=3, *, n_questions=120, texts=TEXTS, vectors=Z, **more):
    how = {"random_state": 0} | more
    refiner = how.pop("refiner", Refiner())
    return refiner.refine(
        texts, vectors, oracle, n_questions=n_questions, n_clusters=k, **how
    )


def groups_of(question):
    return [option for option in question[1] if not isinstance(option, str)]


def asked_alone(oracle):
    """How often each text was asked about by itself."""
    return Counter(texts[0] for texts, _ in oracle.asked if len(texts) == 1)


def assert_sound(found, oracle, n_questions, vectors=Z):
    """What holds whatever was answered."""
    labels = found.labels_
    assert labels.shape == (len(vectors),)
    assert sorted(set(labels)) == list(range(found.n_clusters_))
    assert len(found.names_) == len(found.exemplars_) == found.n_clusters_
    for c, rows in enumerate(found.exemplars_):
        assert rows
        assert set(labels[rows]) == {c}
    np.testing.assert_array_equal(found.predict(vectors), labels)
    assert oracle.n_questions == found.report["asked"] <= n_questions
    assert found.rows_.shape == found.answers_.shape
    json.dumps(found.report)


# What is found


@pytest.mark.parametrize("kind", KINDS)
def test_classes_that_lie_far_apart_are_found_where_vectors_alone_fail(kind):
    oracle = kind(TEXTS, LABELS)
    found = refine(oracle)
    assert_sound(found, oracle, 120)
    assert found.kept_
    assert clustering_accuracy(LABELS, found.labels_) > 0.99
    base = base_of(Features(Z), 0)(3)
    assert clustering_accuracy(LABELS, base) < 0.7
    if kind is Naming:
        assert found.names_ == [f"class {LABELS[rows[0]]}" for rows in found.exemplars_]
    else:
        assert found.names_ == [None] * 3
    assert not found.nowhere_.any()


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_number_there_are_as_many_clusters_as_classes(kind):
    found = refine(kind(TEXTS, LABELS), None)
    assert found.n_clusters_ == 3
    assert clustering_accuracy(LABELS, found.labels_) > 0.99


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 2, 7, 20])
def test_any_number_of_clusters_is_reached(kind, k):
    oracle = kind(TEXTS, LABELS)
    found = refine(oracle, k)
    assert_sound(found, oracle, 120)
    assert found.n_clusters_ == k
    if k > 3:  # classes are cut, not mixed
        assert all(len(set(LABELS[found.labels_ == c])) == 1 for c in range(k))
    else:  # and merged whole
        assert len(set(zip(LABELS, found.labels_, strict=True))) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_each_text_may_be_a_cluster(kind):
    texts, vectors, labels = blobs(40)
    oracle = kind(texts, labels)
    found = refine(oracle, 40, texts=texts, vectors=vectors)
    assert sorted(found.labels_) == list(range(40))
    assert_sound(found, oracle, 120, vectors)


@pytest.mark.parametrize(("kind", "accuracy"), [(Choosing, 1.0), (Naming, 0.7)])
def test_right_answers_of_groups_and_some_wrong_ones_of_names_suffice(kind, accuracy):
    oracle = kind(TEXTS, LABELS, accuracy=accuracy)
    found = refine(oracle, n_questions=300, refiner=Refiner(tol=0))
    assert found.kept_
    assert clustering_accuracy(LABELS, found.labels_) > 0.95
    # An answer that is one of several right ones counts as wrong, too.
    assert 0.5 < found.report["accuracy"] < 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_all_that_is_planted_holds_in_single_precision_as_in_double(kind):
    single = refine(kind(TEXTS, LABELS), vectors=Z.astype(np.float32))
    double = refine(kind(TEXTS, LABELS), vectors=Z)
    np.testing.assert_array_equal(single.labels_, double.labels_)
    np.testing.assert_array_equal(single.predict(Z), double.predict(Z))


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_all(kind):
    one, two, other = (
        refine(kind(TEXTS, LABELS), random_state=seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.labels_, two.labels_)
    np.testing.assert_array_equal(one.rows_, two.rows_)
    assert one.report == two.report
    assert one.rows_.tolist() != other.rows_.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_new_texts_go_to_the_class_of_their_blob(kind):
    found = refine(kind(TEXTS, LABELS))
    _, new, labels = blobs(60, seed=9)  # other noise
    assert adjusted_rand_score(
        np.concatenate([LABELS, labels]),
        np.concatenate([found.labels_, found.predict(new)]),
    ) == pytest.approx(1)
    np.testing.assert_array_equal(
        found.predict(new), [found.predict(row[None])[0] for row in new]
    )


def test_new_texts_go_to_the_part_of_a_class_that_was_cut():
    found = refine(Naming(TEXTS, LABELS), 6)
    found = found if found.kept_ else refine(Naming(TEXTS, LABELS), 6, base=one_cluster)
    assert found.kept_
    _, new, _ = blobs(60, seed=9)
    blob = np.arange(60) % 6
    for b in range(6):
        here = found.labels_[np.arange(240) % 6 == b]
        assert set(found.predict(new[blob == b])) <= set(here)


def one_cluster(k):
    """A base that is easily beaten."""
    return np.zeros(len(TEXTS), dtype=np.intp)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_training_text_is_in_does_not_depend_on_who_comes_with_it(kind):
    found = refine(kind(TEXTS, LABELS, accuracy=0.8), n_questions=100)
    rows = np.random.default_rng(0).permutation(240)[:9]
    np.testing.assert_array_equal(found.predict(Z[rows]), found.labels_[rows])
    for i in rows:
        assert found.predict(Z[[i]]) == found.labels_[i]
        # Other batches of a model differ in the last bits.
        assert found.predict(Z[[i]] * (1 + 1e-7)) == found.labels_[i]


# What an oracle is shown


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_questions", [1, 5, 20, 100, 300])
@pytest.mark.filterwarnings(f"ignore:.*{UNUSABLE}")
def test_no_more_is_asked_than_allowed(kind, n_questions):
    for k in (3,):
        oracle = kind(TEXTS, LABELS)
        found = refine(oracle, k, n_questions=n_questions, refiner=Refiner(tol=0))
        assert oracle.n_questions == found.report["asked"] <= n_questions


@pytest.mark.parametrize("n_options", [2, 3, 8])
def test_no_more_groups_are_shown_than_allowed(n_options):
    texts, vectors, labels = blobs(n_blobs=10, n_classes=10)
    for k in (5, None):
        oracle = Choosing(texts, labels)
        refine(oracle, k, vectors=vectors, texts=texts,
               refiner=Refiner(n_options=n_options))  # fmt: skip
        sizes = {len(options) for _, options in oracle.asked}
        assert max(sizes) == n_options


def test_all_categories_are_shown_but_in_checks_and_mergers():
    oracle = Naming(TEXTS, LABELS)
    refine(oracle, refiner=Refiner(n_options=2))
    assert max(len(options) for _, options in oracle.asked) == 3
    for _, options in oracle.asked:
        assert set(options) <= {"class 0", "class 1", "class 2"}


def test_groups_are_shown_by_up_to_three_of_their_texts():
    oracle = Choosing(TEXTS, LABELS)
    refine(oracle)
    shown = [group for question in oracle.asked for group in groups_of(question)]
    assert {len(group) for group in shown} == {1, 3}
    assert all(set(group) <= set(TEXTS) for group in shown)
    # All of one class: those that are most certain.
    assert all(len({oracle.label_of[t] for t in group}) == 1 for group in shown)


def test_nobody_is_asked_whether_a_text_belongs_to_itself():
    for k, n_questions in ((3, 300), (None, 100), (1, 60)):
        oracle = Choosing(TEXTS, LABELS, accuracy=0.8)
        refine(oracle, k, n_questions=n_questions)
        for texts, options in oracle.asked:
            assert not any(set(texts) & set(group) for group in options)


@pytest.mark.parametrize("kind", KINDS)
def test_options_come_in_any_order(kind):
    oracle = kind(TEXTS, LABELS)
    refine(oracle)
    answers = [oracle.say(*q) for q in oracle.asked if len(q[1]) == 3]
    assert set(answers) >= {0, 1, 2}
    assert Counter(answers).most_common(1)[0][1] < 0.6 * len(answers)


def test_a_text_is_asked_about_once_and_once_more_if_that_is_checked():
    oracle = Naming(TEXTS, LABELS)
    found = refine(oracle, n_questions=300, refiner=Refiner(tol=0))
    times = asked_alone(oracle)
    assert max(times.values()) == 2
    assert sum(n == 2 for n in times.values()) == found.report["checks"] == 30


def test_without_checks_no_text_is_asked_about_twice():
    oracle = Naming(TEXTS, LABELS)
    found = refine(oracle, n_questions=300, refiner=Refiner(tol=0, n_checks=0))
    assert set(asked_alone(oracle).values()) == {1}
    assert found.kept_


@pytest.mark.parametrize("kind", KINDS)
def test_equal_texts_are_asked_about_as_one_and_stay_together(kind):
    rows = np.tile(np.arange(60), 4)
    texts, vectors = [TEXTS[i] for i in rows], Z[rows]
    for k in (3, 70):
        oracle = kind(TEXTS, LABELS)
        found = refine(oracle, k, texts=texts, vectors=vectors, n_questions=300,
                       refiner=Refiner(tol=0, n_checks=0))  # fmt: skip
        assert len(found.labels_) == 240
        assert found.n_clusters_ == min(k, 60)
        for start in (60, 120, 180):
            np.testing.assert_array_equal(
                found.labels_[:60], found.labels_[start : start + 60]
            )
        if kind is Naming:
            assert set(asked_alone(oracle).values()) == {1}


def test_without_categories_no_names_are_asked_for():
    oracle = Naming(TEXTS, LABELS)
    found = refine(oracle, refiner=Refiner(categories=False))
    assert not oracle.shown
    assert found.report["kind"] == "groups"
    assert found.names_ == [None] * 3
    assert clustering_accuracy(LABELS, found.labels_) > 0.99


def test_names_are_asked_for_with_those_that_are_there():
    oracle = Naming(TEXTS, LABELS)
    refine(oracle)
    assert oracle.shown[0][1] == []
    assert sorted(oracle.shown[1][1]) == ["class 0", "class 1", "class 2"]
    assert all(len(set(texts)) == len(texts) <= 40 for texts, _ in oracle.shown)


# Odd oracles


@pytest.mark.parametrize("names", [None, 1, 5, 300])
@pytest.mark.parametrize("k", [3, None])
@pytest.mark.parametrize("say", [mute, none, first, by_hash, at_random()])
@pytest.mark.filterwarnings(f"ignore:.*{UNUSABLE}")
def test_whatever_is_said_there_are_clusters_or_a_clear_error(say, k, names):
    if names is None:
        oracle = Saying(say)
    else:
        oracle = Posing(say, [f"name {i}" for i in range(names)])
    try:
        found = refine(oracle, k, n_questions=90)
    except ValueError as error:
        assert k is None
        assert UNUSABLE in str(error)
        assert oracle.n_questions <= 90
        return
    assert_sound(found, oracle, 90)
    if k is not None:
        assert found.n_clusters_ == k
    if say is mute:
        assert not found.kept_


@pytest.mark.parametrize("seed", range(3))
def test_random_answers_are_not_believed_and_the_base_is_left_as_it_is(seed):
    seen = []

    def base(k):
        seen.append(k)
        return np.arange(240) * k // 240

    oracle = Posing(at_random(seed), [f"name {i}" for i in range(20)])
    found = refine(oracle, 6, n_questions=300, base=base, random_state=seed)
    assert not found.kept_
    assert seen == [6]
    np.testing.assert_array_equal(found.labels_, base(6))
    np.testing.assert_array_equal(found.predict(Z), base(6))
    with pytest.raises(ValueError, match="not kept"):
        found.posterior(Z)


@pytest.mark.parametrize("kind", KINDS)
def test_half_right_about_groups_is_too_little(kind):
    oracle = kind(TEXTS, LABELS, accuracy=0.5)
    refiner = Refiner(categories=False)
    found = refine(oracle, n_questions=300, refiner=refiner)
    assert not found.kept_
    assert found.report["confidence"] < 0.8


def test_where_nothing_can_come_of_it_asking_ends():
    said = {}

    def fickle(texts, options):
        """Never the same again of a text."""
        left = [i for i, option in enumerate(options) if option != said.get(texts[0])]
        said[texts[0]] = options[left[0]]
        return left[0]

    hopeless = Posing(fickle, [f"name {i}" for i in range(60)])
    texts, vectors, _ = blobs(1500)
    found = refine(hopeless, 20, texts=texts, vectors=vectors, n_questions=1200,
                   refiner=Refiner(n_checks=120))  # fmt: skip
    assert not found.kept_
    assert found.report["asked"] < 800
    assert found.report["confidence"] < 0.002


def test_where_nothing_changes_any_more_asking_ends():
    eager, patient = Naming(TEXTS, LABELS), Naming(TEXTS, LABELS)
    one = refine(eager, n_questions=300, refiner=Refiner(tol=0.01))
    two = refine(patient, n_questions=300, refiner=Refiner(tol=0))
    assert eager.n_questions < 0.8 * patient.n_questions
    np.testing.assert_array_equal(one.labels_, two.labels_)


def test_an_error_of_the_oracle_passes():
    class Fragile(Choosing):
        def answer_choices(self, questions):
            if self.n_questions > 50:
                raise OSError("the line is cut")
            return super().answer_choices(questions)

    with pytest.raises(OSError, match="the line is cut"):
        refine(Fragile(TEXTS, LABELS))


@pytest.mark.parametrize("names", [["ok", 3], "class 0", None, 5, [None], [["a"]]])
def test_what_is_no_list_of_names_is_a_clear_error(names):
    with pytest.raises(TypeError, match=r"propose_categories must return a list of"):
        refine(Posing(none, names))


@pytest.mark.parametrize("answer", [-2, 99, 0.5, "0"])
def test_what_is_no_number_of_an_option_is_a_clear_error(answer):
    class Wrong(Saying):
        def answer_choices(self, questions):
            return [answer] * len(questions)

    with pytest.raises(ValueError, match=r"Wrong\.answer_choices must return"):
        refine(Wrong(None))


def test_texts_that_pose_as_names_are_texts():
    pose = {text: f"class {i % 3}" for i, text in enumerate(TEXTS[:30])}
    texts = [f"{pose.get(t, t)} {i}" for i, t in enumerate(TEXTS)]
    oracle = Naming(texts, LABELS)
    found = refine(oracle, texts=texts)
    assert clustering_accuracy(LABELS, found.labels_) > 0.99


@pytest.mark.parametrize("kind", KINDS)
def test_answers_count_by_how_sure_they_are(kind):
    """Wrong answers that are known to be doubtful do no harm; hidden, they do."""

    class Doubting(kind):
        told = True

        def judge_choices(self, questions):
            self.asked += questions
            right = np.array([super(Doubting, self).say(*q) for q in questions])
            sizes = np.array([len(options) for _, options in questions])
            # Of two blobs of a class, the oracle takes the second for the next class.
            odd = np.array([len(q[0]) == 1 and doubtful(q[0][0]) for q in questions])
            said = np.where(odd, (right + 1) % np.maximum(sizes, 1), right)
            sure = np.where(odd, 0.0, 0.95) if self.told else np.full(len(odd), 0.95)
            return said, sure

    def doubtful(text):
        return int(text.split()[1]) % 5 < 2

    found = {}
    for told in (True, False):
        oracle = Doubting(TEXTS, LABELS)
        oracle.told = told
        found[told] = refine(
            oracle, base=one_cluster, refiner=Refiner(categories=kind is Naming)
        )
    scores = {t: clustering_accuracy(LABELS, f.labels_) for t, f in found.items()}
    assert scores[True] > 0.95
    assert scores[True] >= scores[False]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sure", [0.6, 1.0, math.nan])
def test_a_confidence_that_is_always_the_same_does_not_matter(kind, sure):
    class Sure(kind):
        def judge_choices(self, questions):
            return self.answer_choices(questions), np.full(len(questions), sure)

    found = refine(Sure(TEXTS, LABELS))
    assert found.kept_
    assert clustering_accuracy(LABELS, found.labels_) > 0.95


# Texts that fit nowhere


def test_texts_that_fit_no_option_are_told():
    class Narrow(Naming):
        """Knows nothing of class 2, and has no name for it."""

        def propose_categories(self, texts, known=()):
            found = super().propose_categories(texts, known)
            return [name for name in found if name != "class 2"]

    found = refine(Narrow(TEXTS, LABELS), None, n_questions=200)
    assert found.kept_
    assert found.report["none"] > 20
    np.testing.assert_array_equal(found.nowhere_, LABELS == 2)
    assert (found.answers_ == -2).sum() == found.report["none"]
    assert set(LABELS[found.rows_[found.answers_ == -2]]) == {2}


def test_texts_that_fit_no_name_bring_new_names():
    class Slow(Naming):
        """Sees class 2 only where there is nothing else."""

        def propose_categories(self, texts, known=()):
            found = super().propose_categories(texts, known)
            alone = all(self.label_of[text] == 2 for text in texts)
            return [name for name in found if alone or name != "class 2"]

    found = refine(Slow(TEXTS, LABELS), None, n_questions=300)
    assert sorted(found.names_) == ["class 0", "class 1", "class 2"]
    assert clustering_accuracy(LABELS, found.labels_) > 0.95


# Known classes


def partly_known(n=30):
    return np.where(np.arange(240) < n, LABELS, -1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [3, None])
def test_known_texts_are_not_asked_about_and_make_classes(kind, k):
    oracle = kind(TEXTS, LABELS)
    found = refine(oracle, k, labels=partly_known())
    assert not set(TEXTS[:30]) & set(asked_alone(oracle))
    assert clustering_accuracy(LABELS, found.labels_) > 0.99
    assert found.n_clusters_ == 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_of_a_known_text_is_not_asked_about_either(kind):
    oracle = kind(TEXTS, LABELS)
    rows = np.concatenate([np.arange(240), np.arange(240)])
    labels = np.concatenate([np.full(240, -1), partly_known(120)])
    refine(oracle, texts=[TEXTS[i] for i in rows], vectors=Z[rows], labels=labels)
    assert not set(TEXTS[:120]) & set(asked_alone(oracle))


def test_if_all_is_known_nothing_is_asked_and_all_is_kept():
    oracle = Choosing(TEXTS, LABELS)
    found = refine(oracle, labels=LABELS)
    assert oracle.n_questions == 0
    assert found.kept_
    assert clustering_accuracy(LABELS, found.labels_) == 1


def test_a_single_known_class_is_one_of_those_found():
    labels = np.where((np.arange(240) < 60) & (LABELS == 0), 0, -1)
    for kind in KINDS:
        found = refine(kind(TEXTS, LABELS), labels=labels, n_questions=200)
        assert clustering_accuracy(LABELS, found.labels_) > 0.99


def test_few_wrong_labels_do_little_harm():
    labels = partly_known()
    labels[:3] = (labels[:3] + 1) % 3
    found = refine(Choosing(TEXTS, LABELS), labels=labels)
    assert clustering_accuracy(LABELS, found.labels_) > 0.97


# Few texts, equal texts, no vectors


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [2, 3, 4, 5, 9, 15])
@pytest.mark.filterwarnings(f"ignore:.*{UNUSABLE}")
def test_few_texts_will_do(kind, n):
    for k in {1, 2, n, None}:
        oracle = kind(TEXTS[:n], LABELS[:n])
        found = refine(oracle, k, texts=TEXTS[:n], vectors=Z[:n], n_questions=40)
        assert_sound(found, oracle, 40, Z[:n])
        assert k in (None, found.n_clusters_)
        if n > 2:
            assert set(asked_alone(oracle)) <= set(TEXTS[:n])
            assert len(asked_alone(oracle)) > n / 2


def test_one_text_is_one_cluster():
    with pytest.warns(UserWarning, match=UNUSABLE):
        found = refine(Choosing(["a"], [0]), 1, texts=["a"], vectors=np.ones((1, 3)))
    assert found.labels_.tolist() == found.predict(np.zeros((1, 3))).tolist() == [0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("vectors", [np.ones((20, 4)), np.zeros((20, 4))])
def test_equal_vectors_are_one_cluster_however_many_are_wanted(kind, vectors):
    oracle = kind(["a"] * 20, [0] * 20)
    with pytest.warns(UserWarning, match=UNUSABLE):
        found = refine(oracle, 3, texts=["a"] * 20, vectors=vectors)
    assert found.labels_.tolist() == [0] * 20
    assert asked_alone(oracle)["a"] < 3


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_of_zeros_do_not_spoil_the_others(kind):
    vectors = Z.copy()
    vectors[:24] = 0
    found = refine(kind(TEXTS, LABELS), vectors=vectors)
    assert len(set(found.labels_[:24])) == 1
    assert clustering_accuracy(LABELS[24:], found.labels_[24:]) > 0.99


def test_the_length_of_a_vector_does_not_matter():
    scale = np.random.default_rng(0).uniform(0.5, 2, size=(240, 1))
    one = refine(Choosing(TEXTS, LABELS))
    other = refine(Choosing(TEXTS, LABELS), vectors=scale * Z)
    assert clustering_accuracy(one.labels_, other.labels_) == 1


# What is told


def test_the_report_has_numbers_of_all_questions():
    for kind in KINDS:
        oracle = kind(TEXTS, LABELS)
        report = refine(oracle, None).report
        assert set(report) == {
            "kind", "asked", "left", "proposals", "choices", "checks", "merges",
            "unusable", "none", "classes", "accuracy", "kept", "confidence",
            "consistency", "checked", "again", "agreement", "base_agreement", "p_value",
        }  # fmt: skip
        kinds = ("proposals", "choices", "checks", "merges")
        assert sum(report[k] for k in kinds) == report["asked"] == oracle.n_questions
        assert report["asked"] + report["left"] == 120
        assert report["proposals"] == len(oracle.shown)
        assert report["checked"] == report["checks"] >= report["again"]
        assert report["agreement"] > report["base_agreement"] + 0.1
        assert json.loads(json.dumps(report)) == report


def test_unusable_answers_are_counted_and_not_kept():
    class Hesitant(Naming):
        def say(self, texts, options):
            return -1 if texts[0].endswith("7") else super().say(texts, options)

    oracle = Hesitant(TEXTS, LABELS)
    found = refine(oracle)
    n = sum(texts[0].endswith("7") for texts, _ in oracle.asked)
    assert found.report["unusable"] == n > 3
    assert not any(TEXTS[i].endswith("7") for i in found.rows_)
    assert clustering_accuracy(LABELS, found.labels_) > 0.99


@pytest.mark.parametrize("kind", KINDS)
def test_posteriors_are_probabilities_and_the_unsure_are_suggested(kind):
    found = refine(kind(TEXTS, LABELS))
    posterior = found.posterior(Z)
    assert posterior.shape == (240, 3)
    np.testing.assert_allclose(posterior.sum(axis=1), 1, atol=1e-5)
    assert (posterior.argmax(axis=1) == found.labels_).mean() > 0.99
    between = (Z[0] + Z[1]) / 2  # of two classes
    new = np.vstack([Z[:10], between])
    assert found.suggest(new, 1).tolist() == [10]
    assert sorted(found.suggest(new, 99)) == list(range(11))
    assert len(found.suggest(new, 0)) == 0


def test_what_would_be_asked_is_planned_and_not_asked():
    def complete(prompt):
        raise AssertionError("asked")

    plain = Refiner().plan(TEXTS, Choosing(TEXTS, LABELS), n_questions=70)
    assert plain == {"questions": 70}
    oracle = LLMOracle(complete, prices=(1.0, 2.0))
    plans = [
        Refiner(categories=named).plan(TEXTS, oracle, n_questions=n, n_clusters=k)
        for named, n, k in (
            (True, 100, 10), (True, 200, 10), (True, 100, None), (False, 100, 10),
        )
    ]  # fmt: skip
    for plan in plans:
        for key in ("tokens", "cost"):
            low, high = plan[key]
            assert 0 < low <= high
    assert [plan["questions"] for plan in plans] == [100, 200, 100, 100]
    assert plans[1]["cost"] == pytest.approx(np.multiply(2, plans[0]["cost"]))
    assert plans[2]["tokens"] > plans[0]["tokens"]  # 50 names
    assert plans[3]["tokens"] > plans[0]["tokens"]  # three texts for each name
    unpriced = Refiner().plan(TEXTS, LLMOracle(complete), n_questions=10)
    assert set(unpriced) == {"questions", "tokens"}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"n_options": 1}, ValueError),
        ({"n_options": 2.5}, TypeError),
        ({"n_rounds": 0}, ValueError),
        ({"n_checks": -1}, ValueError),
        ({"tol": -0.1}, ValueError),
        ({"tol": math.nan}, ValueError),
        ({"share": 0}, ValueError),
        ({"share": 1.1}, ValueError),
        ({"share": "all"}, TypeError),
    ],
)
def test_what_is_out_of_range_is_told_before_a_question(changes, error):
    oracle = Naming(TEXTS, LABELS)
    (name,) = changes
    with pytest.raises(error, match=f"'{name}' parameter of Refiner must be"):
        refine(oracle, refiner=Refiner(**changes))
    assert oracle.n_questions == 0


def test_a_refiner_is_its_parameters():
    refiner = Refiner(n_rounds=3, tol=0.01)
    before = copy.deepcopy(vars(refiner))
    refine(Choosing(TEXTS, LABELS), refiner=refiner)
    assert vars(refiner) == before == clone(refiner).get_params()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_rounds", [1, 20])
def test_any_number_of_rounds_will_do(kind, n_rounds):
    oracle = kind(TEXTS, LABELS)
    found = refine(oracle, refiner=Refiner(n_rounds=n_rounds))
    assert_sound(found, oracle, 120)
    assert clustering_accuracy(LABELS, found.labels_) > 0.99
