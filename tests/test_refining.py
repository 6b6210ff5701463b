"""The estimator that asks for classes: one budget, its own labels, nothing twice."""

import json
import pickle
import re
import threading

import numpy as np
import pytest
from choosers import Choosing, Naming, Posing, at_random, blobs, mute
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV

from skllm_cluster import ClusterLLMClusterer, GranularitySelector
from skllm_cluster.adaptation import MetricHead
from skllm_cluster.embedders import HashingEmbedder
from skllm_cluster.journal import AnswerJournal
from skllm_cluster.metrics import clustering_accuracy
from skllm_cluster.oracles import LLMOracle, OracleError, TruthOracle
from skllm_cluster.refinement import Refiner
from skllm_cluster.sampling import random_triplets
from skllm_cluster.smoothing import ConsensusKMeans

N, Q = 240, 150
TEXTS, Z, LABELS = blobs(N)


@pytest.fixture(scope="module")
def messages(support):
    return support[0][:N], np.array(support[1][:N])


@pytest.fixture(scope="module")
def refined(messages):
    """Fitted on texts, with exact answers. Not to be changed."""
    texts, topics = messages
    return make(TruthOracle(texts, topics), n_clusters=8).fit(texts)


@pytest.fixture(scope="module")
def of_vectors():
    """The same on vectors. Not to be changed."""
    return make(Naming(TEXTS, LABELS)).fit(Z, texts=TEXTS)


def make(oracle, **changes):
    settings = {
        "n_clusters": 3, "n_questions": Q, "refiner": Refiner(), "random_state": 0
    }  # fmt: skip
    embedder = changes.pop("embedder", HashingEmbedder(256))
    return ClusterLLMClusterer(embedder, oracle, **settings | changes)


# What is found


def test_texts_are_put_into_the_classes_asked_for(messages, refined):
    _, topics = messages
    before = clustering_accuracy(topics, refined.base_labels_)
    assert clustering_accuracy(topics, refined.labels_) > before + 0.1
    assert set(refined.refinement_.names_) <= set(topics)
    assert refined.refinement_.kept_
    np.testing.assert_array_equal(refined.labels_, refined.refinement_.labels_)
    assert refined.n_clusters_ == len(set(refined.labels_)) == 8
    assert refined.cluster_centers_.shape == (8, 256)
    assert not len(refined.triplets_)
    assert refined.oracle_report_["rounds"] == []


def test_each_training_text_is_predicted_where_it_is(messages, refined):
    texts, _ = messages
    np.testing.assert_array_equal(refined.predict(texts), refined.labels_)
    np.testing.assert_array_equal(refined.predict(texts[::-1]), refined.labels_[::-1])
    np.testing.assert_array_equal(refined.predict(texts[50:53]), refined.labels_[50:53])
    for i in (0, 7, 99):
        assert refined.predict([texts[i]]) == refined.labels_[i]
    np.testing.assert_array_equal(refined.transform(texts), refined.embeddings_)


def test_each_training_vector_is_predicted_where_it_is(of_vectors):
    np.testing.assert_array_equal(of_vectors.predict(Z), of_vectors.labels_)
    np.testing.assert_array_equal(
        of_vectors.predict(Z.astype(np.float32)), of_vectors.labels_
    )
    assert of_vectors.predict(Z[[5]]) == of_vectors.labels_[5]
    assert clustering_accuracy(LABELS, of_vectors.labels_) == 1
    assert not hasattr(of_vectors, "embedder_")


def test_new_texts_are_predicted(support, refined, of_vectors):
    found = refined.predict(support[0][N:400])
    assert found.shape == (160,)
    assert set(found) <= set(range(8))
    _, new, labels = blobs(60, seed=9)
    both = np.concatenate([of_vectors.labels_, of_vectors.predict(new)])
    assert clustering_accuracy(np.concatenate([LABELS, labels]), both) == 1


def test_without_a_number_as_many_clusters_are_made_as_classes_found():
    fitted = make(Naming(TEXTS, LABELS), n_clusters=None).fit(Z, texts=TEXTS)
    assert fitted.n_clusters_ == len(fitted.cluster_centers_) == 3
    assert len(np.unique(fitted.base_labels_)) == 3
    assert not hasattr(fitted, "granularity_")


def test_the_seed_decides_all(messages, refined):
    texts, topics = messages
    again = make(TruthOracle(texts, topics), n_clusters=8).fit(texts)
    np.testing.assert_array_equal(again.labels_, refined.labels_)
    assert again.oracle_report_ == refined.oracle_report_
    np.testing.assert_array_equal(again.fit(texts).labels_, refined.labels_)


def test_the_score_is_that_of_labels_or_of_answers_foretold(messages, refined):
    texts, topics = messages
    assert refined.score(texts, topics) == pytest.approx(
        adjusted_rand_score(topics, refined.labels_)
    )
    assert refined.score() == refined.oracle_report_["refinement"]["agreement"]


def test_reports_are_json(refined, of_vectors):
    for fitted in (refined, of_vectors):
        json.dumps(fitted.oracle_report_)
        assert fitted.oracle_report_["refinement"] == fitted.refinement_.report


# What answers have to beat


def test_the_base_is_a_consensus_only_where_classes_are_asked_for(messages):
    oracle = Posing(at_random(), [f"name {i}" for i in range(20)])
    fitted = make(oracle, n_clusters=6).fit(Z, texts=TEXTS)
    assert not fitted.refinement_.kept_
    np.testing.assert_array_equal(fitted.labels_, fitted.base_labels_)
    np.testing.assert_array_equal(fitted.predict(Z), fitted.labels_)
    np.testing.assert_array_equal(fitted.refinement_.labels_, fitted.labels_)
    consensus = make(None, n_clusters=6, refiner=None, clusterer=ConsensusKMeans())
    consensus.fit(Z)
    np.testing.assert_array_equal(fitted.labels_, consensus.labels_)
    plain = make(None, n_clusters=6, refiner=None, clusterer=None).fit(messages[0])
    idle = make(None, n_clusters=6).fit(messages[0])  # a refiner, but nobody to ask
    np.testing.assert_array_equal(idle.labels_, plain.labels_)
    mine = make(None, n_clusters=6, clusterer=ConsensusKMeans()).fit(messages[0])
    assert (mine.labels_ != plain.labels_).any()
    assert isinstance(plain._chosen_clusterer(), type(None))
    given = make(oracle, clusterer=KMeans())
    assert isinstance(given._chosen_clusterer(), KMeans)


def test_without_usable_answers_the_clusters_are_those_of_the_embeddings():
    fitted = make(Posing(mute, ["a", "b"]), n_clusters=6)
    with pytest.warns(UserWarning, match="too few have a usable answer"):
        fitted.fit(Z, texts=TEXTS)
    np.testing.assert_array_equal(fitted.labels_, fitted.base_labels_)
    np.testing.assert_array_equal(fitted.predict(Z), fitted.labels_)
    with pytest.raises(ValueError, match="no classes to ask about"):
        fitted.suggest_questions(Z)
    with pytest.raises(ValueError, match="give n_clusters"):
        make(Posing(mute, ["a", "b"]), n_clusters=None).fit(Z, texts=TEXTS)


# Known labels


def test_known_texts_are_not_asked_about():
    y = np.where(np.arange(N) < 45, LABELS * 10 + 5, -1)
    oracle = Choosing(TEXTS, LABELS)
    fitted = make(oracle).fit(Z, y, texts=TEXTS)
    alone = {texts[0] for texts, _ in oracle.asked if len(texts) == 1}
    assert alone
    assert not alone & set(TEXTS[:45])
    assert clustering_accuracy(LABELS, fitted.labels_) > 0.99


# One budget


def test_triplets_and_choices_share_the_budget(messages):
    texts, topics = messages
    oracle = TruthOracle(texts, topics)
    fitted = make(
        oracle, n_clusters=8, n_questions=401, refiner=Refiner(share=0.5),
        adapter=MetricHead(), guard=None,
    ).fit(texts)  # fmt: skip
    assert len(fitted.triplets_) == 401 - 200
    assert 0 < fitted.oracle_report_["refinement"]["asked"] <= 200
    assert len(fitted.oracle_report_["rounds"]) == 1
    np.testing.assert_array_equal(fitted.predict(texts), fitted.labels_)
    np.testing.assert_array_equal(fitted.transform(texts), fitted.embeddings_)


@pytest.mark.parametrize("guard", [None, 0.0025])
def test_vectors_are_mapped_by_triplets_and_then_refined(guard):
    # What tells classes apart is small here beside what does not.
    rng = np.random.default_rng(0)
    labels = np.arange(N) % 3
    vectors = np.hstack([np.eye(3)[labels], 0.8 * rng.normal(size=(N, 6))])
    fitted = make(
        TruthOracle(TEXTS, labels), refiner=Refiner(share=0.2), n_questions=1000,
        adapter=MetricHead(regularization=0.03), sampler=random_triplets, guard=guard,
    ).fit(vectors, texts=TEXTS)  # fmt: skip
    assert fitted.guard_report_["kept"] == 1
    assert not np.allclose(fitted.embeddings_, vectors)
    np.testing.assert_allclose(fitted.transform(vectors), fitted.embeddings_)
    np.testing.assert_array_equal(fitted.predict(vectors), fitted.labels_)
    untouched = make(None, refiner=None, clusterer=ConsensusKMeans()).fit(vectors)
    np.testing.assert_array_equal(fitted.base_labels_, untouched.labels_)
    assert clustering_accuracy(labels, fitted.labels_) > clustering_accuracy(
        labels, fitted.base_labels_
    )
    again = clone(fitted).set_params(refiner=None, oracle=None).fit(vectors)
    np.testing.assert_array_equal(again.transform(vectors), vectors)


def test_triplets_alone_move_vectors_too():
    fitted = make(
        TruthOracle(TEXTS, LABELS), refiner=None, adapter=MetricHead(), guard=None,
        sampler=random_triplets,
    ).fit(Z, texts=TEXTS)  # fmt: skip
    assert not np.allclose(fitted.embeddings_, Z)
    np.testing.assert_allclose(fitted.transform(Z), fitted.embeddings_)
    np.testing.assert_array_equal(fitted.predict(Z), fitted.labels_)
    assert not hasattr(fitted, "refinement_")


# What is refused before a question


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"n_options": 1}, "'n_options' parameter of Refiner"),
        ({"tol": -1}, "'tol' parameter of Refiner"),
        ({"share": 0}, "'share' parameter of Refiner"),
        ({"share": 2.0}, "'share' parameter of Refiner"),
    ],
)
def test_a_refiner_that_will_not_do_is_refused_before_a_question(changes, match):
    oracle = Naming(TEXTS, LABELS)
    with pytest.raises(ValueError, match=match):
        make(oracle, refiner=Refiner(**changes)).fit(Z, texts=TEXTS)
    assert oracle.n_questions == 0


def test_an_oracle_that_knows_no_choices_is_refused():
    class Triplets:
        def answer_triplets(self, triplets):
            raise AssertionError("asked")

    with pytest.raises(TypeError, match=r"cannot answer choices.*refiner=None to ask"):
        make(Triplets()).fit(Z, texts=TEXTS)
    with pytest.raises(TypeError, match="cannot answer triplets"):
        make(Choosing(TEXTS, LABELS), refiner=Refiner(share=0.5),
             adapter=MetricHead()).fit(Z, texts=TEXTS)  # fmt: skip


def test_vectors_need_texts_to_ask_about():
    oracle = Naming(TEXTS, LABELS)
    with pytest.raises(ValueError, match="pass texts="):
        make(oracle).fit(Z)
    with pytest.raises(ValueError, match="one for each of the 240 rows"):
        make(oracle).fit(Z, texts=TEXTS[:5])
    with pytest.raises(ValueError, match="here X holds texts"):
        make(oracle).fit(TEXTS, texts=TEXTS)
    with pytest.raises(ValueError, match="n_samples=2"):
        make(oracle).fit(Z[:2], texts=TEXTS[:2])
    assert oracle.n_questions == 0


# What is suggested


def test_what_to_ask_next_is_suggested(refined, messages, support):
    new = support[0][N:400]
    rows = refined.suggest_questions(new, 5)
    assert len(set(rows)) == 5
    assert set(rows) <= set(range(len(new)))
    assert len(refined.suggest_questions(new)) == 10
    posterior = np.sort(refined.refinement_.posterior(refined._embed(new)), axis=1)
    margin = posterior[:, -1] - posterior[:, -2]
    assert margin[rows].max() <= np.delete(margin, rows).min()
    with pytest.raises(ValueError, match="no refiner was given"):
        make(None, refiner=None).fit(messages[0]).suggest_questions(new)


# A language model


class Model:
    """Answers by words in the prompt, and breaks down when it is told to."""

    def __init__(self, name_of):
        self.name_of, self.left, self.prompts = name_of, None, []
        self.lock = threading.Lock()

    def __call__(self, prompt):
        with self.lock:
            if self.left == 0:
                raise ValueError("out of credit")
            if self.left is not None:
                self.left -= 1
            self.prompts.append(prompt)
        names = [self.name_of[t] for t in re.findall(r"text \d+", prompt)]
        if "categories do these texts need?" in prompt:
            new = [n for n in dict.fromkeys(names) if f"- {n}" not in prompt]
            return "\n".join(new or ["None"])
        options = re.findall(r"^(?:Category )?(\d+)\W+(kind \w+)", prompt, re.M)
        for number, name in options:
            if name == names[0]:
                return number
        raise AssertionError(prompt)


def test_after_a_failure_nothing_paid_is_asked_again(tmp_path):
    model = Model({t: f"kind {'abc'[c]}" for t, c in zip(TEXTS, LABELS, strict=True)})
    journal = AnswerJournal(tmp_path / "answers.db")
    oracle = LLMOracle(model, journal=journal, n_jobs=1, max_retries=0)
    clusterer = make(oracle, n_questions=80)
    whole = make(LLMOracle(model, n_jobs=1), n_questions=80).fit(Z, texts=TEXTS)
    prompts, model.prompts = model.prompts, []
    assert clustering_accuracy(LABELS, whole.labels_) > 0.95
    for left in (2, 25):
        model.left = left
        with pytest.raises((OracleError, ValueError), match="out of credit"):
            clusterer.fit(Z, texts=TEXTS)
    model.left = None
    clusterer.fit(Z, texts=TEXTS)
    assert sorted(model.prompts) == sorted(prompts)
    assert len(set(prompts)) == len(prompts)
    np.testing.assert_array_equal(clusterer.labels_, whole.labels_)
    clusterer.fit(Z, texts=TEXTS)
    assert len(model.prompts) == len(prompts)


def test_an_error_in_the_middle_passes():
    class Fragile(Choosing):
        def answer_choices(self, questions):
            if self.asked:
                raise RuntimeError("gone")
            return super().answer_choices(questions)

    with pytest.raises(RuntimeError, match="gone"):
        make(Fragile(TEXTS, LABELS)).fit(Z, texts=TEXTS)


def test_a_plan_has_tokens_and_cost_and_asks_nothing(messages):
    def complete(prompt):
        raise AssertionError("asked")

    oracle = LLMOracle(complete, prices=(1.0, 2.0))
    clusterer = make(oracle, n_clusters=8)
    plan = clusterer.plan(messages[0])
    assert plan["questions"] == 0
    assert plan["refinement"]["questions"] == Q
    for key in ("tokens", "cost"):
        low, high = plan["refinement"][key]
        assert 0 < low <= high
    assert not hasattr(clusterer, "labels_")
    both = make(
        oracle, n_clusters=8, refiner=Refiner(share=0.4), adapter=MetricHead()
    ).plan(messages[0])
    assert both["questions"] == 90
    assert both["refinement"]["questions"] == 60
    assert set(make(oracle, n_clusters=None).plan(messages[0])) == {
        "questions", "refinement"
    }  # fmt: skip
    chosen = make(oracle, n_clusters=None, granularity=GranularitySelector(k_max=9))
    assert chosen.plan(messages[0])["granularity"]["questions"] > 0


# scikit-learn


def test_a_clone_has_the_refiner_and_nothing_learned(refined):
    twin = clone(refined)
    assert twin.refiner is not refined.refiner
    assert repr(twin.refiner) == repr(refined.refiner)
    assert not hasattr(twin, "refinement_")
    assert twin.get_params()["refiner__n_options"] == 32
    assert twin.set_params(refiner__tol=0.5).refiner.tol == 0.5
    assert refined.refiner.tol == 0.002


def test_a_refiner_is_not_changed_by_fitting():
    refiner = Refiner(n_rounds=2)
    before = dict(vars(refiner))
    make(Naming(TEXTS, LABELS), refiner=refiner).fit(Z, texts=TEXTS)
    assert vars(refiner) == before


def test_settings_of_the_refiner_are_searched(messages):
    texts, topics = messages
    search = GridSearchCV(
        make(TruthOracle(texts, topics), n_clusters=8, n_questions=60),
        {"refiner__tol": [0.0, 0.5], "refiner__categories": [True]},
        scoring=lambda fitted, X: clustering_accuracy(
            [topics[texts.index(text)] for text in X], fitted.predict(X)
        ),
        cv=2,
    ).fit(texts)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.refinement_.kept_


def test_a_pickle_predicts_the_same(refined, messages, support):
    twin = pickle.loads(pickle.dumps(refined))
    for texts in (messages[0], support[0][N:300]):
        np.testing.assert_array_equal(twin.predict(texts), refined.predict(texts))
    np.testing.assert_array_equal(
        twin.suggest_questions(messages[0], 7),
        refined.suggest_questions(messages[0], 7),
    )
    assert twin.refinement_.names_ == refined.refinement_.names_


def test_another_fit_forgets_the_classes():
    fitted = make(Naming(TEXTS, LABELS)).fit(Z, texts=TEXTS)
    fitted.set_params(refiner=None, oracle=None).fit(Z)
    assert not hasattr(fitted, "refinement_")
    np.testing.assert_array_equal(fitted.predict(Z), fitted.labels_)
