"""Choosing the number of clusters: asked once, explained, never a crash."""

import json
import logging
import pickle
import warnings
from functools import partial

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from skllm_cluster import ClusterLLMClusterer, GranularitySelector, _granularity
from skllm_cluster.criteria import (
    Score,
    cluster_size,
    effective_number,
    f_beta,
    pair_match,
    silhouette,
)
from skllm_cluster.embedders import HashingEmbedder
from skllm_cluster.oracles import (
    PLAIN_PAIR_TEMPLATE,
    FirstAnswer,
    LLMOracle,
    TruthOracle,
)
from skllm_cluster.sampling import merge_pairs

N = 150
K_MAX = 30


@pytest.fixture(scope="module")
def texts(support):
    return support[0][:N]


@pytest.fixture(scope="module")
def topics(support):
    return support[1][:N]


@pytest.fixture(scope="module")
def truth(texts, topics):
    return TruthOracle(texts, topics)


@pytest.fixture(scope="module")
def vectors(texts):
    return HashingEmbedder().encode(texts)


def make(oracle=None, **params):
    given = {"k_max": K_MAX, "random_state": 0} | params
    return GranularitySelector(HashingEmbedder(), oracle, **given)


class Says:
    """Answers every pair alike, and keeps what it was asked."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def answer_pairs(self, pairs):
        self.asked += pairs
        return np.full(len(pairs), self.answer)


class Model:
    """A model that knows the topics, and keeps its prompts; simulated."""

    def __init__(self, texts, topics):
        self.topics, self.prompts = dict(zip(texts, topics, strict=True)), []

    def __deepcopy__(self, memo):
        raise AssertionError("a model was copied")

    def __call__(self, prompt):
        self.prompts.append(prompt)
        lines = [line.partition(": ") for line in prompt.splitlines()]
        shown = {name: text for name, _, text in lines}  # the last of each name
        one, two = (
            json.loads(text) if text.startswith('"') else text
            for text in (shown["Sentence 1"], shown["Sentence 2"])
        )
        return "Yes" if self.topics[one] == self.topics[two] else "No"


@pytest.fixture
def model(texts, topics):
    return Model(texts, topics)


# What is found.


def test_the_labels_are_the_tree_cut_at_the_number_chosen(texts, truth):
    selector = make(truth).fit(texts)
    assert selector.n_clusters_ in selector.k_values_
    assert (selector.labels_ == selector.tree_.cut(selector.n_clusters_)).all()
    assert len(set(selector.labels_)) == selector.n_clusters_
    assert selector.k_values_.tolist() == list(range(2, K_MAX + 1))
    assert selector.scores_.shape == selector.k_values_.shape
    assert np.argmax(selector.scores_) == selector.n_clusters_ - 2


def test_three_groups_far_apart_are_found_to_be_three():
    rng = np.random.default_rng(0)
    Z = np.repeat(np.eye(3) * 9, 40, axis=0) + rng.normal(scale=0.1, size=(120, 3))
    group = np.repeat(["a", "b", "c"], 40)
    texts = [f"text {i}" for i in range(120)]
    selector = GranularitySelector(oracle=TruthOracle(texts, group), random_state=0)
    selector.fit(Z, texts=texts)
    assert selector.n_clusters_ == 3
    assert selector.score(Z, group) == selector.score() == 1
    assert (selector.predict(np.eye(3) * 9) == selector.labels_[[0, 40, 80]]).all()


def test_the_same_seed_gives_the_same_pairs_and_labels(texts, truth):
    one, two, other = (make(truth, random_state=s).fit(texts) for s in (0, 0, 1))
    assert (one.pairs_ == two.pairs_).all()
    assert (one.labels_ == two.labels_).all()
    assert not np.array_equal(one.pairs_, other.pairs_)


def test_predict_gives_the_training_texts_their_own_cluster(texts, vectors, truth):
    by_text = make(truth).fit(texts)
    assert (by_text.predict(texts) == by_text.labels_).all()
    assert (by_text.predict(texts[::-1]) == by_text.labels_[::-1]).all()
    by_row = make(truth).fit(vectors, texts=texts)
    assert (by_row.predict(vectors) == by_row.labels_).all()
    assert (by_row.labels_ == by_text.labels_).all()
    assert not hasattr(by_row, "embedder_")


def test_a_near_duplicate_does_not_take_a_rows_place():
    # Closer to row 1 than rounding in float32 can tell.
    Z = np.array([[1000.0, 0.0], [1000.0001, 0.0], [0.0, 1.0]], dtype=np.float32)
    selector = GranularitySelector(k_min=3, k_max=3).fit(Z)
    assert (selector.predict(Z) == selector.labels_).all()
    assert len(set(selector.labels_)) == 3


def test_equal_texts_are_one_cluster_and_are_not_asked_about(truth, texts):
    oracle = Says(0)
    twice = texts[:20] * 2
    with pytest.warns(UserWarning, match="all of .* are 'different'"):
        selector = make(oracle, k_max=200).fit(twice)
    assert selector.k_values_[-1] == len(set(twice))
    assert all(one != two for one, two in oracle.asked)
    assert (selector.labels_[:20] == selector.labels_[20:]).all()


def test_a_text_belongs_with_itself_whatever_its_vectors_say(texts, vectors):
    oracle = Says(0)
    same = ["the same"] * len(vectors)
    with pytest.warns(UserWarning, match="all of .* are 'same'"):
        selector = make(oracle).fit(vectors, texts=same)
    assert not oracle.asked
    assert selector.oracle_report_["known"] == len(selector.pairs_)


# What is asked.


def test_as_many_pairs_are_asked_as_the_paper_says(texts, truth):
    for pairs_per_merge in (1, 3):
        selector = make(truth, pairs_per_merge=pairs_per_merge).fit(texts)
        assert len(selector.pairs_) == pairs_per_merge * (K_MAX - 2)
        assert selector.oracle_report_["asked"] == len(selector.pairs_)
        assert selector.oracle_report_["yes"] == (selector.answers_ == 1).sum()
        assert np.isnan(selector.confidences_).all()


def test_the_papers_sampling_and_criterion_can_be_had(texts, truth):
    paper = make(truth, sampler=merge_pairs, criterion=f_beta).fit(texts)
    levels = paper.tree_.level(paper.pairs_)
    assert (np.bincount(levels)[2:K_MAX] <= 3).all()
    best, found = -1.0, None
    for k in range(2, K_MAX + 1):
        cut = paper.tree_.cut(k)
        same = cut[paper.pairs_[:, 0]] == cut[paper.pairs_[:, 1]]
        hit = (same & (paper.answers_ == 1)).sum()
        score = (
            (1 + 0.92**2) * hit / (0.92**2 * (paper.answers_ == 1).sum() + same.sum())
        )
        assert paper.scores_[k - 2] == score
        best, found = max((best, found), (score, k), key=lambda pair: pair[0])
    assert found <= paper.n_clusters_  # the middle of a run of equals
    assert paper.scores_[paper.n_clusters_ - 2] == best


def test_known_labels_answer_for_nothing(texts, topics):
    oracle = Says(0)
    selector = make(oracle).fit(texts, topics)
    assert not oracle.asked
    assert selector.oracle_report_["known"] == len(selector.pairs_)
    truth = np.array(topics)[selector.pairs_]
    assert (selector.answers_ == (truth[:, 0] == truth[:, 1])).all()
    assert (selector.confidences_ == 1).all()


def test_an_answer_given_before_counts_and_is_not_asked_for(texts, topics, truth):
    first = make(truth).fit(texts)
    oracle = Says(-1)
    with pytest.warns(UserWarning, match="no usable answer"):
        again = make(oracle).fit(
            texts, pairs=first.pairs_[:50], answers=first.answers_[:50]
        )
    asked = {frozenset(pair) for pair in oracle.asked}
    given = {frozenset((texts[a], texts[b])) for a, b in first.pairs_[:50]}
    assert not asked & given
    assert (again.pairs_[:50] == first.pairs_[:50]).all()
    assert (again.answers_[:50] == first.answers_[:50]).all()
    alone = make().fit(texts, pairs=first.pairs_, answers=first.answers_)
    assert alone.n_clusters_ == first.n_clusters_
    assert alone.oracle_report_ == {}


@pytest.mark.filterwarnings("ignore:The answers do not tell")
def test_a_search_over_criteria_and_ranges_asks_nothing_new(texts, model, monkeypatch):
    made = []
    build = _granularity.ward_tree
    monkeypatch.setattr(
        _granularity, "ward_tree", lambda Z, **how: made.append(1) or build(Z, **how)
    )
    # clone() copies what is no function.
    oracle = LLMOracle(lambda prompt: model(prompt), n_jobs=1, preflight=0)
    widest = make(oracle)
    search = GridSearchCV(widest, {"criterion": [None]}, cv=3, refit=False)
    search.fit(texts)
    n_asked, n_made = len(model.prompts), len(made)
    assert n_made == 3
    grid = {
        "criterion": [pair_match, effective_number, f_beta, cluster_size],
        "k_max": [10, 20, K_MAX],
        "k_min": [2, 5],
        "pairs_per_merge": [1, 3],
    }
    search = GridSearchCV(
        widest, grid, cv=3, refit=False, scoring=lambda est, X, y=None: est.n_clusters_
    )
    search.fit(texts)
    assert len(model.prompts) == n_asked
    assert len(made) == n_made


def test_pairs_of_a_smaller_range_are_the_first_of_a_larger(texts, truth):
    wide = make(truth).fit(texts).pairs_
    for params in ({"k_max": 9}, {"k_min": 11}, {"pairs_per_merge": 1}):
        narrow = make(truth, **params).fit(texts).pairs_
        assert {frozenset(p) for p in narrow.tolist()} == {
            frozenset(p) for p in wide[: len(narrow)].tolist()
        }


def test_one_candidate_needs_no_question(texts):
    oracle = Says(1)
    selector = make(oracle, k_min=7, k_max=7).fit(texts)
    assert selector.n_clusters_ == 7
    assert not oracle.asked


def test_a_criterion_that_looks_at_no_answers_asks_for_none(texts):
    oracle = Says(1)
    for criterion in (cluster_size, partial(silhouette), None):
        selector = make(oracle if criterion else None, criterion=criterion).fit(texts)
        assert selector.n_clusters_ in selector.k_values_
        assert len(selector.pairs_) == 0
    assert not oracle.asked
    assert make(oracle, criterion=cluster_size).plan(texts)["questions"] == 0


def test_a_plan_says_what_fit_asks(texts, topics, model):
    oracle = LLMOracle(model, n_jobs=1)
    selector = make(oracle)
    plan = selector.plan(texts, seconds_per_answer=1.0)
    assert not model.prompts
    assert plan["questions"] == 3 * (K_MAX - 2)
    assert plan["oracle"]["calls"] == plan["questions"]
    assert plan["oracle"]["minutes"] > 0
    assert selector.plan(texts, topics)["known"] == plan["questions"]
    assert not hasattr(selector, "tree_")
    selector.fit(texts)
    assert selector.plan(texts)["oracle"]["calls"] == 0
    assert make(oracle, k_min=4, k_max=4).plan(texts) == {"questions": 0, "known": 0}
    assert make().plan(texts) == {"questions": 0, "known": 0}


# Demonstrations.


def half_known(topics):
    return [topic if i % 2 else -1 for i, topic in enumerate(topics)]


def test_labels_become_demonstrations_which_are_not_asked_about(texts, topics, model):
    oracle = LLMOracle(model, perspective="topic", n_jobs=1, preflight=0)
    selector = make(oracle).fit(texts, half_known(topics))
    shown = selector.demonstrations_
    assert [same for _, _, same, _ in shown] == [True, True, False, False]
    label = dict(zip(texts, topics, strict=True))
    for one, two, same, because in shown:
        assert (label[one] == label[two]) == same
        assert because == (label[one], label[two])
    assert all(shown[0][0] in prompt for prompt in model.prompts)
    asked = {frozenset(p) for p in selector.pairs_.tolist()}
    rows = {text: i for i, text in enumerate(texts)}
    assert not asked & {frozenset((rows[a], rows[b])) for a, b, _, _ in shown}
    assert oracle.demonstrations == ()


def test_the_ablations_of_table_8_are_options(texts, topics, model):
    oracle = LLMOracle(model, perspective="topic", n_jobs=1, preflight=0)
    plain = make(oracle, justify=False).fit(texts, half_known(topics))
    assert [because for *_, because in plain.demonstrations_] == [None] * 4
    assert "Because" not in model.prompts[-1]
    assert "[Example" in model.prompts[-1]
    none = make(oracle, n_demonstrations=0).fit(texts, half_known(topics))
    assert none.demonstrations_ == []
    assert "[Example" not in model.prompts[-1]


def test_demonstrations_of_the_users_own_stay(texts, topics, model):
    mine = [("nice card", "old card", True), ("nice card", "my pin", False)]
    oracle = LLMOracle(model, demonstrations=mine, n_jobs=1, preflight=0)
    make(oracle).fit(texts, half_known(topics))
    assert all("nice card" in prompt for prompt in model.prompts)
    assert all(prompt.count("[Example") == 2 for prompt in model.prompts)


def test_an_oracle_in_a_row_is_shown_the_demonstrations(texts, topics, model):
    row = FirstAnswer(
        [
            ("labels", TruthOracle(texts, half_known(topics))),
            ("model", LLMOracle(model, n_jobs=1, preflight=0)),
        ]
    )
    selector = make(row).fit(texts, half_known(topics))
    assert "[Example4]" in model.prompts[0]
    told = selector.oracle_report_["oracle"]["oracles"]
    assert told["model"]["n_answered"] == len(model.prompts)


@pytest.mark.parametrize("label", ["one", None])
def test_labels_of_one_kind_are_no_demonstrations(texts, model, label):
    y = [label if i < 9 else -1 for i in range(N)]
    oracle = LLMOracle(model, n_jobs=1, preflight=0)
    assert make(oracle).fit(texts, y).demonstrations_ == []
    assert not any("[Example" in prompt for prompt in model.prompts)


def test_a_template_without_a_place_for_demonstrations_shows_none(texts, topics, model):
    oracle = LLMOracle(
        model, pair_template=PLAIN_PAIR_TEMPLATE, n_jobs=1, preflight=0, fence="never"
    )
    selector = make(oracle).fit(texts, half_known(topics))
    assert selector.demonstrations_ == []
    assert model.prompts[0].startswith("Determine whether the two sentences below")


def test_labels_that_are_numbers_justify_nothing(texts, topics, model):
    numbers = np.unique(topics, return_inverse=True)[1]
    numbers[::2] = -1
    oracle = LLMOracle(model, n_jobs=1, preflight=0)
    shown = make(oracle).fit(texts, numbers).demonstrations_
    assert len(shown) == 4
    assert {because for *_, because in shown} == {None}


# Answers that do not tell.


@pytest.mark.parametrize(
    ("answer", "said", "number"),
    [(1, "'same'", 2), (0, "'different'", K_MAX), (-1, "none of", None)],
)
@pytest.mark.parametrize("criterion", [None, f_beta, effective_number])
@pytest.mark.filterwarnings("ignore:The oracle gave no usable answer")
def test_answers_that_tell_nothing_are_explained(
    texts, answer, said, number, criterion
):
    with pytest.warns(UserWarning, match=f"do not tell .*{said}.*n_clusters_=") as seen:
        selector = make(Says(answer), criterion=criterion).fit(texts)
    assert sum("do not tell" in str(w.message) for w in seen) == 1
    assert seen[-1].filename == __file__
    assert said.strip("'") in selector.criterion_report_["reason"]
    assert selector.n_clusters_ == (number or make().fit(texts).n_clusters_)
    assert np.isnan(selector.scores_).all()
    assert len(set(selector.labels_)) == selector.n_clusters_


def test_a_criterion_without_a_number_is_no_crash(texts, truth):
    def nothing(k_values, levels, answers, *, n_same, n_rows):
        return Score(np.zeros(len(k_values)), None)

    with pytest.warns(UserWarning, match="gave no number"):
        selector = make(truth, criterion=nothing).fit(texts)
    assert selector.n_clusters_ == make().fit(texts).n_clusters_


# What is refused before a question.


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"k_min": 0}, ValueError, "k_min"),
        ({"k_max": 1}, ValueError, "k_max"),
        ({"k_min": 40}, ValueError, "k_max"),
        (
            {"k_min": 190, "k_max": 200},
            ValueError,
            "k_min=190 .*distinct.*got 150",
        ),
        ({"k_max": 10.0}, TypeError, "k_max"),
        ({"pairs_per_merge": 0}, ValueError, "pairs_per_merge"),
        ({"n_demonstrations": -1}, ValueError, "n_demonstrations"),
        ({"n_demonstrations": 3}, ValueError, "n_demonstrations must be even"),
        ({"linkage_size": 0}, ValueError, "linkage_size"),
        ({"criterion": "f_beta"}, TypeError, "criterion must be a function"),
        (
            {"sampler": lambda tree, **how: [[0, N]]},
            ValueError,
            "sampler must be",
        ),
        ({"sampler": lambda tree, **how: [[3, 3]]}, ValueError, r"\[3, 3\] at index 0"),
        ({"embedder": object()}, TypeError, "encode"),
    ],
)
def test_parameters_out_of_range_are_refused_before_a_question(
    texts, params, error, message
):
    oracle = Says(1)
    with pytest.raises(error, match=message):
        make(oracle).set_params(**params).fit(texts)
    assert not oracle.asked


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        ({"y": ["a"] * 7}, "y must have one label for each of the 150 texts"),
        ({"texts": ["a"]}, "here X holds texts"),
        ({"pairs": [[0, 1]]}, "answers must hold .* for each of 1 pairs"),
        ({"answers": [1]}, "for each of 0 pairs"),
        ({"pairs": [[0, 1]], "answers": [2]}, r"such as \[2\]"),
        ({"pairs": [[0, 999]], "answers": [1]}, "pairs must be pairs of row numbers"),
        ({"pairs": [[4, 4]], "answers": [1]}, "different rows"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_before_a_question(texts, fit, message):
    oracle = Says(1)
    with pytest.raises(ValueError, match=message):
        make(oracle).fit(texts, **fit)
    assert not oracle.asked


def test_embeddings_without_texts_cannot_be_asked_about(vectors, texts, truth):
    with pytest.raises(ValueError, match="pass texts="):
        make(truth).fit(vectors)
    with pytest.raises(ValueError, match="texts must be one for each of the 150 rows"):
        make(truth).fit(vectors, texts=texts[:9])


def test_an_oracle_that_cannot_answer_pairs_is_refused(texts):
    class Triplets:
        def answer_triplets(self, triplets):
            raise AssertionError("asked")

    with pytest.raises(TypeError, match="Triplets cannot answer pairs"):
        make(Triplets()).fit(texts)
    with pytest.raises(TypeError, match="Triplets cannot answer pairs"):
        ClusterLLMClusterer(HashingEmbedder(), Triplets()).fit(texts)


def test_a_criterion_of_answers_needs_some(texts):
    with pytest.raises(ValueError, match="there are none: give an oracle"):
        make(criterion=f_beta).fit(texts)


@pytest.mark.parametrize("answers", [[2], [1, 1], np.ones((1, 1))])
def test_an_oracle_that_answers_nonsense_is_an_error(texts, answers):
    oracle = Says(1)
    oracle.answer_pairs = lambda pairs: answers
    with pytest.raises(ValueError, match="answer_pairs must return one of -1, 0 and 1"):
        make(oracle).fit(texts)


@pytest.mark.parametrize("best", [1000, "all"])
def test_a_criterion_that_returns_nonsense_is_an_error(texts, truth, best):
    def odd(k_values, levels, answers, **known):
        return Score(np.zeros(len(k_values)), best)

    with pytest.raises(ValueError, match="best is one of 2 to 30"):
        make(truth, criterion=odd).fit(texts)
    with pytest.raises(ValueError, match="must return a Score"):
        make(truth, criterion=lambda k, levels, answers, **known: 3).fit(texts)


def test_score_without_answers_of_both_kinds_is_an_error(texts):
    with pytest.raises(ValueError, match="0 'same' and 0 'different'"):
        make().fit(texts).score()


# As an estimator.


def test_it_passes_the_checks_of_scikit_learn():
    ran = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ran = check_estimator(GranularitySelector(k_max=5), on_fail=None)
    failed = [r for r in ran if r["status"] == "failed"]
    assert not failed, [(r["check_name"], r["exception"]) for r in failed]
    assert len([r for r in ran if r["status"] == "passed"]) >= 44


class Vectors(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return HashingEmbedder().encode(list(X))

    def __sklearn_is_fitted__(self):
        return True


def test_it_ends_a_pipeline(texts, truth, vectors):
    pipe = make_pipeline(Vectors(), make(truth))
    pipe.fit(texts, granularityselector__texts=texts)
    alone = make(truth).fit(vectors, texts=texts)
    assert pipe[-1].n_clusters_ == alone.n_clusters_
    assert (pipe.predict(texts) == alone.labels_).all()


def test_a_search_can_hand_over_embeddings_and_texts(texts, vectors, truth):
    search = GridSearchCV(make(truth), {"criterion": [f_beta, pair_match]}, cv=2)
    search.fit(vectors, texts=texts)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.n_clusters_ >= 2


def test_a_fitted_selector_survives_pickling_without_its_cache(texts, truth):
    selector = make(truth).fit(texts)
    copy = pickle.loads(pickle.dumps(selector))
    assert (copy.predict(texts) == selector.labels_).all()
    assert "_results" not in copy.__dict__
    assert (copy.fit(texts).labels_ == selector.labels_).all()


def test_clones_share_trees_and_forget_the_oldest(vectors, monkeypatch):
    monkeypatch.setattr(GranularitySelector, "_kept", 2)
    selector = GranularitySelector(k_max=5, random_state=0)
    first = selector.fit(vectors).tree_
    assert clone(selector).fit(vectors).tree_ is first
    assert clone(selector).fit(vectors.astype(np.float64)).tree_ is not first
    assert clone(selector).fit(vectors[:50]).tree_ is not first
    assert clone(selector).fit(vectors).tree_ is not first
    assert GranularitySelector(k_max=5, random_state=0).fit(vectors).tree_ is not first


def test_what_was_chosen_is_logged_on_demand(texts, truth, caplog):
    with caplog.at_level(logging.INFO, logger="skllm_cluster"):
        make(truth).fit(texts)
        assert "clusters: {" not in caplog.text
        make(truth, verbose=1).fit(texts)
    assert "clusters: {" in caplog.text


# In ClusterLLMClusterer.


def cluster(oracle=None, **params):
    pytest.importorskip("torch")
    given = {
        "n_questions": 200,
        "granularity": GranularitySelector(k_max=K_MAX),
        "random_state": 0,
    } | params
    return ClusterLLMClusterer(HashingEmbedder(), oracle, **given)


def test_the_oracle_chooses_the_number_of_clusters(texts, truth):
    clusterer = cluster(truth).fit(texts)
    chosen = clusterer.granularity_
    assert len(chosen.pairs_) == 3 * (K_MAX - 2)
    assert clusterer.n_clusters_ == chosen.n_clusters_
    assert len(set(clusterer.base_labels_)) == chosen.n_clusters_
    assert (clusterer.predict(texts) == clusterer.labels_).all()
    again = cluster(truth).fit(texts)
    assert (again.labels_ == clusterer.labels_).all()
    assert clusterer.granularity.oracle is None


def test_the_number_is_chosen_on_the_tuned_embedding(texts, truth):
    clusterer = cluster(truth, guard=None).fit(texts)
    assert clusterer.guard_report_["kept"] == 1
    tuned = clusterer.embedder_.encode(texts)
    assert np.array_equal(clusterer.granularity_.embeddings_, tuned)


def test_without_an_oracle_the_embeddings_choose(vectors, texts):
    clusterer = cluster().fit(vectors)
    assert clusterer.n_clusters_ == make().fit(vectors).n_clusters_
    assert cluster().plan(texts) == {"questions": 0, "known": 0}


def test_a_given_number_asks_no_pairs(texts):
    class Triplets:
        def answer_triplets(self, triplets):
            return np.zeros(len(triplets), int)

    clusterer = cluster(Triplets(), n_clusters=8).fit(texts)
    assert clusterer.n_clusters_ == 8
    assert not hasattr(clusterer, "granularity_")
    again = cluster().fit(texts)
    assert hasattr(again, "granularity_")
    assert not hasattr(again.set_params(n_clusters=8).fit(texts), "granularity_")


def test_a_plan_has_both_kinds_of_questions(texts, model):
    oracle = LLMOracle(model, n_jobs=1)
    plan = cluster(oracle).plan(texts)
    assert plan["questions"] == 200
    assert plan["granularity"]["questions"] == 3 * (K_MAX - 2)
    assert plan["granularity"]["oracle"]["calls"] == 3 * (K_MAX - 2)
    assert "granularity" not in cluster(oracle, n_clusters=3).plan(texts)


def test_settings_of_the_selector_are_checked_before_triplets_are_asked(texts):
    class Both(Says):
        def answer_triplets(self, triplets):
            self.asked += triplets
            return np.zeros(len(triplets), int)

    oracle = Both(1)
    bad = GranularitySelector(k_min=9, k_max=3)
    with pytest.raises(ValueError, match="k_max"):
        cluster(oracle, granularity=bad).fit(texts)
    with pytest.raises(ValueError, match="n_samples=5"):
        cluster(oracle, granularity=GranularitySelector(k_min=7)).fit(texts[:5])
    assert not oracle.asked


def test_labels_reach_the_selector(texts, topics):
    clusterer = cluster(Says(0))
    clusterer.oracle.answer_triplets = lambda triplets: np.zeros(len(triplets), int)
    clusterer.fit(texts, topics)
    assert clusterer.granularity_.oracle_report_["asked"] == 0
