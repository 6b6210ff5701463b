"""The estimator of sets: it learns, trains once for a search, and loses no set."""

import logging
import pickle
from functools import partial

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skllm_cluster import CactusSetClusterer, _cactus
from skllm_cluster._set_input import flatten
from skllm_cluster.embedders import SetEncoder
from skllm_cluster.losses import (
    PAPER,
    RELEASED,
    augmented_triplet_loss,
    cross_entropy_loss,
    structural_loss,
    triplet_loss,
)

torch = pytest.importorskip("torch")
pytest.importorskip("transformers", minversion="5.15")
pytest.importorskip("tokenizers")
from test_set_encoder import save  # noqa: E402

FRUIT, DEVICE = ["apple", "pear", "plum"], ["laptop", "phone", "screen"]
COLOUR = ["red", "green", "blue"]
SIZE = ["big", "small", "old", "new"]
GROUPS = {
    word: i for i, group in enumerate([FRUIT, DEVICE, COLOUR, SIZE]) for word in group
}


def made(n, seed):
    """Sets of words, and the group of each."""
    rng = np.random.default_rng(seed)
    words = np.array(sorted(GROUPS))
    sets = [rng.permutation(words)[: rng.integers(3, 9)].tolist() for _ in range(n)]
    return sets, [[GROUPS[word] for word in words] for words in sets]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save(tmp_path_factory.mktemp("Bert"), "Bert", "[CLS] $A [SEP]")


@pytest.fixture
def encoder(folder):
    return SetEncoder(folder, device="cpu")


SETS, Y = made(24, 0)


def make(encoder, **params):
    given = {"n_epochs": 1, "learning_rate": 1e-3, "random_state": 0} | params
    return CactusSetClusterer(encoder, **given)


@pytest.fixture(scope="module")
def fitted(folder):
    return make(SetEncoder(folder, device="cpu"), n_epochs=2).fit(SETS, Y)


def test_it_learns_which_texts_belong_together(encoder):
    encoder.set_params(attention="none")  # what such small models learn fastest
    new, truth = made(40, 1)
    before = make(encoder, learning_rate=1e-9).fit(SETS, Y).score(new, truth)
    trained = make(encoder, learning_rate=3e-3, n_epochs=12).fit(*made(60, 0))
    assert before < 0.5
    assert trained.score(new, truth) > 0.9


def test_clusters_are_numbered_as_they_appear_whatever_the_order(fitted):
    sets = [["apple", "laptop", "pear", "apple"], ["red"], [], ["", "", "big"]]
    labels = fitted.predict(sets)
    assert [found.shape for found in labels] == [(4,), (1,), (0,), (3,)]
    assert all(found.dtype.kind == "i" for found in labels)
    for found in labels:
        assert list(dict.fromkeys(found.tolist())) == list(range(len(set(found))))
    turned = fitted.predict([s[::-1] for s in sets[::-1]])[::-1]
    for one, two in zip(labels, turned, strict=True):
        same = one[:, None] == one
        assert (same == (two[::-1, None] == two[::-1])).all()
    assert fitted.predict([]) == []
    assert [len(found) for found in fitted.predict([[], []])] == [0, 0]


def test_the_best_epoch_and_its_threshold_are_kept(encoder):
    clusterer = make(encoder, n_epochs=4, learning_rate=0.05)
    clusterer.fit(SETS, Y, validation=made(9, 3))
    best = max(clusterer.history_, key=lambda epoch: epoch["sum"])
    assert clusterer.threshold_ == best["threshold"]
    assert len(clusterer.history_) == 4
    found = _cactus.validate(clusterer.embedder_, flatten(*made(9, 3)), None)
    assert found[0] == best["threshold"]
    assert found[1]["sum"] == pytest.approx(best["sum"])
    assert set(best) == {"loss", "threshold", "nmi", "ami", "ri", "ari", "f1", "sum"}


def test_a_given_threshold_and_given_candidates_are_used(encoder):
    assert make(encoder, threshold=0.25).fit(SETS, Y).threshold_ == 0.25
    assert make(encoder, thresholds=[0.1, 0.6]).fit(SETS, Y).threshold_ in (0.1, 0.6)
    alone = make(encoder, threshold=1).fit(SETS, Y).predict(SETS)
    assert [len(set(found)) for found in alone] == [len(s) for s in SETS]


def test_the_same_seed_gives_the_same_clusters(encoder, folder):
    one = make(encoder, n_epochs=2).fit(SETS, Y)
    two = make(SetEncoder(folder, device="cpu"), n_epochs=2).fit(SETS, Y)
    other = make(encoder, n_epochs=2, random_state=1).fit(SETS, Y)
    assert one.history_ == two.history_
    assert one.history_ != other.history_


def test_the_given_encoder_is_not_changed(encoder):
    before = encoder.encode(SETS[0])
    clusterer = make(encoder).fit(SETS, Y)
    assert (encoder.encode(SETS[0]) == before).all()
    assert (clusterer.embedder_.encode(SETS[0]) != before).any()


def test_a_search_over_thresholds_trains_once_for_each_fold(encoder, monkeypatch):
    trained = []
    train = _cactus.train_on_sets
    monkeypatch.setattr(
        _cactus, "train_on_sets", lambda *a, **k: trained.append(1) or train(*a, **k)
    )
    grid = {"threshold": [None, 0.0, 0.3, 0.6]}
    search = GridSearchCV(make(encoder), grid, cv=3).fit(SETS, Y)
    assert len(trained) == 4  # and for the refit
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    alone = make(encoder, **search.best_params_).fit(SETS, Y)
    assert len(trained) == 5
    for one, two in zip(alone.predict(SETS), search.predict(SETS), strict=True):
        assert (one == two).all()


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({"threshold": 0.4}, False),
        ({"verbose": 1}, False),
        ({"embedder__batch_tokens": 64}, True),
        ({"n_epochs": 2}, True),
        ({"loss": triplet_loss}, True),
        ({"random_state": None}, True),
        ({"random_state": np.random.RandomState(0)}, True),
    ],
)
def test_what_differs_in_more_than_the_threshold_is_trained_anew(
    encoder, change, again, monkeypatch
):
    first = make(encoder).fit(SETS, Y)
    trained = []
    train = _cactus.train_on_sets
    monkeypatch.setattr(
        _cactus, "train_on_sets", lambda *a, **k: trained.append(1) or train(*a, **k)
    )
    clone(first).set_params(**change).fit(SETS, Y)
    assert bool(trained) == again
    clone(first).fit(SETS[:-1], Y[:-1])
    assert len(trained) == again + 1


def test_partials_of_one_loss_are_one_loss_in_a_search(encoder, monkeypatch):
    first = make(encoder, loss=partial(triplet_loss, margin=0.2)).fit(SETS, Y)
    monkeypatch.setattr(_cactus, "train_on_sets", None)
    assert clone(first).set_params(threshold=0.5).fit(SETS, Y).threshold_ == 0.5


@pytest.mark.parametrize(
    ("loss", "learns"),
    [
        (None, True),
        (partial(augmented_triplet_loss, **RELEASED), True),
        (partial(augmented_triplet_loss, margin=0.2, **PAPER), True),
        (partial(augmented_triplet_loss, neutral=0.4), False),
        (triplet_loss, False),
        (structural_loss, False),
        (cross_entropy_loss, False),
    ],
)
def test_every_loss_trains_and_the_neutral_similarity_only_where_there_is_one(
    encoder, loss, learns
):
    clusterer = make(encoder, loss=loss).fit(SETS, Y)
    assert (clusterer.neutral_ != 0) == learns
    assert np.isfinite(clusterer.history_[0]["loss"])


def test_pretraining_goes_before_and_is_seeded(encoder):
    plain = make(encoder).fit(SETS, Y)
    one, two = (make(encoder, pretrain_steps=3).fit(SETS, Y) for _ in range(2))
    assert one.history_ == two.history_
    assert one.history_ != plain.history_


def test_training_ends_when_patience_does(encoder):
    clusterer = make(encoder, n_epochs=30, patience=2, learning_rate=1e-9)
    history = clusterer.fit(SETS, Y).history_
    assert len(history) == 3  # nothing gets better than at first


def test_texts_without_a_label_are_context_and_nothing_else(encoder):
    y = [[-1 if i == 0 else label for i, label in enumerate(row)] for row in Y]
    clusterer = make(encoder).fit(SETS, y)
    assert [len(found) for found in clusterer.predict(SETS)] == [len(s) for s in SETS]
    new, truth = made(5, 5)
    some = [[label if i else None for i, label in enumerate(row)] for row in truth]
    none = [*some, [np.nan] * 3]
    assert clusterer.score(new, some) == clusterer.score([*new, ["a", "b", "c"]], none)


def test_sets_with_less_than_two_labels_are_left_out(encoder):
    more = [*SETS, ["apple", "pear"], ["red"], []]
    y = [*Y, [0, -1], [0], []]
    assert make(encoder).fit(more, y).history_ == make(encoder).fit(SETS, Y).history_


def test_labels_may_be_names_and_arrays(encoder):
    names = [np.array([f"group {i}" for i in row], dtype=object) for row in Y]
    one = make(encoder).fit(SETS, names)
    assert one.history_ == make(encoder).fit(tuple(map(tuple, SETS)), Y).history_


class Labels:
    """Knows the groups, but for some sets; simulated."""

    def __init__(self):
        self.asked = 0

    def answer_sets(self, sets):
        self.asked += 1
        found = [np.array([GROUPS[word] for word in words]) for words in sets]
        found[0][:] = -1
        found[1][0] = -1
        return found

    def report(self):
        return {"n_asked": self.asked}


def test_an_oracle_labels_the_sets_where_there_are_no_labels(encoder):
    oracle = Labels()
    clusterer = make(encoder, oracle=oracle).fit(SETS)
    assert clusterer.label_report_ == {
        "sets": 24,
        "labelled_sets": 23,
        "texts": sum(map(len, SETS)),
        "labelled_texts": sum(map(len, SETS)) - len(SETS[0]) - 1,
        "oracle": {"n_asked": 1},
    }
    assert make(encoder, oracle=oracle).fit(SETS, Y).label_report_ == {}
    assert oracle.asked == 1


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([[0]], "of each of 24 sets, got 1 arrays"),
        ([np.zeros(99)] * 24, "a label for each text"),
        ([np.zeros(len(s)) for s in SETS], "must return ints of at least -1"),
        ([np.full(len(s), -2) for s in SETS], "must return ints of at least -1"),
        ([np.full(len(s), -1) for s in SETS], "at least one set with two labelled"),
    ],
)
def test_an_oracle_that_labels_nonsense_is_an_error(encoder, answers, message):
    oracle = Labels()
    oracle.answer_sets = lambda sets: answers
    with pytest.raises(ValueError, match=message):
        make(encoder, oracle=oracle).fit(SETS)


def test_validation_sets_may_be_given(encoder):
    with_own = make(encoder).fit(SETS, Y, validation=made(5, 7))
    assert with_own.history_ != make(encoder).fit(SETS, Y).history_
    with pytest.raises(ValueError, match=r"validation\[1\] must hold labels for each"):
        make(encoder).fit(SETS, Y, validation=(SETS[:2], Y[:3]))
    with pytest.raises(ValueError, match="validation must hold at least one set"):
        make(encoder).fit(SETS, Y, validation=([["a"]], [[0]]))


@pytest.mark.parametrize(
    ("sets", "y", "error", "message"),
    [
        ("abc", Y, TypeError, "sets must be a sequence of sets"),
        (SETS, "abc", TypeError, "y must hold an array of labels for each set"),
        (SETS, Y[1:], ValueError, "y must hold labels for each of 24 sets, got 23"),
        (SETS, [[0], *Y[1:]], ValueError, r"y\[0\] must hold a label for each"),
        (SETS, [0, *Y[1:]], ValueError, r"y\[0\] must hold a label for each"),
        ([["a", 3], *SETS[1:]], Y, TypeError, r"sets\[0\].* got int at index 1"),
        (["ab", *SETS[1:]], Y, TypeError, r"sets\[0\]"),
        (SETS, [[-1] * len(s) for s in SETS], ValueError, "two labelled texts"),
        (SETS[:1], Y[:1], ValueError, "too few to train and to validate"),
        (SETS, None, ValueError, "pass y, or an oracle"),
    ],
)
def test_what_is_no_labelled_sets_is_refused(encoder, sets, y, error, message):
    with pytest.raises(error, match=message):
        make(encoder).fit(sets, y)


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"n_epochs": 0}, ValueError),
        ({"pretrain_steps": -1}, ValueError),
        ({"batch_size": 0}, ValueError),
        ({"learning_rate": 0}, ValueError),
        ({"clip": 0.0}, ValueError),
        ({"validation_fraction": 0}, ValueError),
        ({"validation_fraction": 1}, ValueError),
        ({"patience": 0}, ValueError),
        ({"threshold": 2}, ValueError),
        ({"threshold": "best"}, TypeError),
        ({"oracle": object()}, TypeError),
    ],
)
def test_parameters_out_of_range_are_refused(encoder, params, error):
    with pytest.raises(error, match=next(iter(params)) + "|answer_sets"):
        make(encoder, **params).fit(SETS, None if "oracle" in params else Y)


def test_a_set_too_large_is_refused_before_anything_is_asked_or_trained(encoder):
    oracle = Labels()
    encoder.set_params(max_memory=10)
    with pytest.raises(MemoryError, match="A set of"):
        make(encoder, oracle=oracle).fit(SETS)
    assert oracle.asked == 0


def test_a_fitted_estimator_survives_pickling(fitted):
    copy = pickle.loads(pickle.dumps(fitted))
    for one, two in zip(copy.predict(SETS), fitted.predict(SETS), strict=True):
        assert (one == two).all()


def test_fit_predict_and_logging(encoder, caplog):
    with caplog.at_level(logging.INFO, logger="skllm_cluster"):
        found = make(encoder, verbose=1).fit_predict(SETS, Y)
    assert len(found) == len(SETS)
    assert "epoch 1 of 1" in caplog.text
