"""Any transformer, function or array in place of an embedder."""

import copy
import functools
import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.decomposition import TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import (
    CountVectorizer,
    HashingVectorizer,
    TfidfVectorizer,
)
from sklearn.frozen import FrozenEstimator
from sklearn.manifold import TSNE
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer
from sklearn.utils.validation import check_is_fitted

from skllm_cluster import ClusterLLMClusterer, GranularitySelector
from skllm_cluster._inputs import read_input
from skllm_cluster.adaptation import FineTuner, MetricHead
from skllm_cluster.embedders import BlackBoxEmbedder, HashingEmbedder
from skllm_cluster.oracles import TruthOracle
from skllm_cluster.protocols import Embedder, TrainableEmbedder


def lsa(d=6):
    """What the documentation recommends; its last step needs no fit."""
    return make_pipeline(
        TfidfVectorizer(), TruncatedSVD(d, random_state=0), Normalizer()
    )


def lengths(texts):
    return [[len(text), text.count("e")] for text in texts]


class Doubling(TransformerMixin, BaseEstimator):
    """A transformer that says nothing about itself but what it has learned."""

    def fit(self, X, y=None):
        self.longest_ = max(map(len, X))
        return self

    def transform(self, X):
        return [[len(x), self.longest_] for x in X]


class Untagged:
    """Has the two methods, and nothing else of scikit-learn."""

    fitted_ = None

    def get_params(self, deep=True):
        return {}

    def fit(self, X, y=None):
        self.longest_ = max(map(len, X))
        return self

    def transform(self, X):
        return [[len(x), self.longest_] for x in X]


ANY = {
    "pipeline": lsa,
    "sparse": TfidfVectorizer,
    "stateless": lambda: HashingVectorizer(n_features=16),
    "integers": CountVectorizer,
    "bits": lambda: CountVectorizer(binary=True, dtype=bool),
    "union": lambda: FeatureUnion([("a", TfidfVectorizer()), ("b", CountVectorizer())]),
    "function transformer": lambda: FunctionTransformer(lengths),
    "own": Doubling,
    "without tags": Untagged,
    "function": lambda: lengths,
    "partial": lambda: functools.partial(lengths),
    "bound method": lambda: HashingEmbedder(8).encode,
}


# ---------------------------------------------------------------- what it takes


@pytest.mark.parametrize("name", ANY)
def test_anything_that_makes_vectors_of_texts_is_an_embedder(name, texts):
    embedder = BlackBoxEmbedder(ANY[name]()).fit(texts)
    assert isinstance(embedder, Embedder)
    assert not isinstance(embedder, TrainableEmbedder)
    z = embedder.encode(texts)
    assert isinstance(z, np.ndarray) and z.dtype == np.float32
    assert z.shape == (len(texts), embedder.n_dimensions_)
    np.testing.assert_array_equal(embedder.encode(texts[5:9], groups=[0] * 4), z[5:9])


@pytest.mark.parametrize(
    "shape_of",
    [
        np.asarray,
        lambda z: z.tolist(),
        lambda z: z.astype(np.float16),
        lambda z: z.astype(object),
        lambda z: z.astype(int),
        sp.csr_matrix,
        sp.coo_array,
        pd.DataFrame,
        lambda z: [tuple(row) for row in z],
    ],
    ids=[
        "array", "list", "float16", "object", "int", "csr matrix", "coo array",
        "data frame", "tuples",
    ],
)  # fmt: skip
def test_vectors_are_the_same_in_whatever_form_they_come(shape_of, texts):
    wanted = np.array(lengths(texts), dtype=np.float32)
    z = BlackBoxEmbedder(lambda given: shape_of(np.array(lengths(given), float)))
    np.testing.assert_array_equal(z.encode(texts), wanted)


def test_a_tensor_is_an_array():
    torch = pytest.importorskip("torch")
    made = torch.ones(2, 3, dtype=torch.bfloat16, requires_grad=True)
    z = BlackBoxEmbedder(lambda texts: made).encode(["a", "b"])
    np.testing.assert_array_equal(z, np.ones((2, 3)))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ([[1.0]], r"one row per text, shape \(2, d\), got an array of shape \(1, 1\)"),
        ([1.0, 2.0], r"one row per text.*shape \(2,\)"),
        (np.ones((2, 1, 1)), r"one row per text.*shape \(2, 1, 1\)"),
        (np.ones((2, 0)), r"one row per text.*shape \(2, 0\)"),
        (None, r"one row per text.*shape \(\)"),
        ([[1.0], [np.nan]], "NaN or infinity for 1 of 2 texts, the first at index 1"),
        ([[np.inf], [1.0]], "NaN or infinity for 1 of 2 texts, the first at index 0"),
        (np.array([["a"], ["b"]]), "must return numbers, got an array of <U1"),
        (np.ones((2, 1), complex), "must return numbers, got an array of complex128"),
        (np.array([["a"], [{}]], object), "must return numbers, one row .* ndarray"),
        ([[1.0], [2.0, 3.0]], r"must return numbers.* list: \[\[1.0\], \[2.0, 3.0\]\]"),
        (sp.csr_matrix((1, 3)), r"one row per text.*shape \(1, 3\)"),
        (
            sp.csr_matrix((2, 10**9)),
            r"sparse matrix of shape \(2, 1000000000\), which is 7 GiB .*TruncatedSVD",
        ),
    ],
    ids=str,
)
def test_what_is_no_vectors_is_refused_with_the_function_s_name(made, message):
    def of_mine(texts):
        return made

    with pytest.raises(ValueError, match=rf"The embedder of_mine.*{message}"):
        BlackBoxEmbedder(of_mine).encode(["a", "b"])


def test_a_transformer_that_returns_no_vectors_is_named():
    broken = FunctionTransformer(lambda texts: [[np.nan]] * len(texts))
    for one in (broken, FrozenEstimator(broken)):
        with pytest.raises(
            ValueError, match=r"FunctionTransformer\.transform returned"
        ):
            BlackBoxEmbedder(one).encode(["a"])


def test_vectors_of_another_length_than_before_are_refused(texts):
    def of_its_own(texts):
        return TfidfVectorizer().fit_transform(texts)

    embedder = BlackBoxEmbedder(of_its_own)
    d = embedder.encode(texts).shape[1]
    with pytest.raises(
        ValueError, match=f"of one length, got 2, after {d} for earlier"
    ):
        embedder.encode(["two words"])
    assert embedder.fit(texts).encode(["two words"]).shape == (1, 2)  # a new beginning


@pytest.mark.parametrize(
    "given",
    [None, "tfidf", 3, TfidfVectorizer, TSNE(), np.ones((2, 2))],
    ids=["None", "str", "int", "class", "no transform", "array"],
)
def test_what_makes_no_vectors_is_refused(given):
    embedder = BlackBoxEmbedder(given)
    for use in (embedder.fit, embedder.encode):
        with pytest.raises(TypeError, match="transformer must be a scikit-learn trans"):
            use(["a"])


# ---------------------------------------------------------------- fitted, or not


def test_what_is_not_fitted_says_so():
    embedder = BlackBoxEmbedder(lsa())
    for one in (embedder, BlackBoxEmbedder(TfidfVectorizer())):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            check_is_fitted(one)
    check_is_fitted(BlackBoxEmbedder(lengths))
    check_is_fitted(BlackBoxEmbedder(lsa()).fit([f"w{i} x" for i in range(9)]))
    with pytest.raises(NotFittedError, match="holds a Pipeline that is not fitted"):
        embedder.encode(["a"])


@pytest.mark.parametrize("make", [lsa, TfidfVectorizer, Doubling, Untagged])
def test_fitting_leaves_what_was_given_alone(make, texts):
    given = make()
    before = dict(vars(given))
    BlackBoxEmbedder(given).fit(texts)
    assert vars(given) == before
    if hasattr(given, "steps"):
        assert not hasattr(given[0], "vocabulary_")


@pytest.mark.parametrize("make", [lsa, TfidfVectorizer, Doubling, Untagged])
def test_what_is_fitted_is_not_fitted_again(make, texts):
    fitted = make().fit(texts)
    wanted = BlackBoxEmbedder(fitted).encode(texts)
    embedder = BlackBoxEmbedder(fitted).fit(["something else"])
    np.testing.assert_array_equal(embedder.encode(texts), wanted)


@pytest.mark.parametrize("copied", [clone, copy.deepcopy, copy.copy])
@pytest.mark.parametrize("make", [lsa, TfidfVectorizer, Doubling, Untagged])
def test_copies_lose_nothing_that_was_learned(make, copied, texts):
    for embedder in (
        BlackBoxEmbedder(make()).fit(texts),
        BlackBoxEmbedder(make().fit(texts)),
    ):
        wanted = embedder.encode(texts)
        twin = copied(copied(embedder))
        if copied is clone:
            twin.fit(["something else"])
        np.testing.assert_array_equal(twin.encode(texts), wanted)


def test_a_pickle_loses_nothing_that_was_learned(texts):
    embedder = BlackBoxEmbedder(lsa()).fit(texts)
    twin = pickle.loads(pickle.dumps(embedder))
    np.testing.assert_array_equal(twin.encode(texts), embedder.encode(texts))


def test_a_clone_of_what_is_not_fitted_is_not_and_has_the_parameters():
    embedder = BlackBoxEmbedder(lsa(3))
    twin = clone(embedder)
    assert twin.transformer is not embedder.transformer
    assert twin.get_params()["transformer__truncatedsvd__n_components"] == 3
    with pytest.raises(NotFittedError):
        twin.encode(["a"])


def test_what_needs_no_fit_stays_free_in_a_clone():
    twin = clone(BlackBoxEmbedder(HashingVectorizer(n_features=8)))
    twin.set_params(transformer__n_features=4)
    assert twin.encode(["a"]).shape == (1, 4)
    assert clone(BlackBoxEmbedder(lengths)).transformer is lengths


# ---------------------------------------------------------------- in an estimator


def make(embedder, **more):
    return ClusterLLMClusterer(embedder, n_clusters=4, random_state=0, **more)


@pytest.mark.parametrize("name", ANY)
@pytest.mark.parametrize("wrapped", [False, True])
def test_an_estimator_takes_it_and_predicts_what_it_fitted(name, wrapped, texts):
    given = BlackBoxEmbedder(ANY[name]()) if wrapped else ANY[name]()
    clusterer = make(given).fit(texts)
    assert isinstance(clusterer.embedder_, BlackBoxEmbedder)
    assert (clusterer.predict(texts) == clusterer.labels_).all()
    some = [3, 1, 4, 1, 5]
    alone = clusterer.predict([texts[i] for i in some])
    np.testing.assert_array_equal(alone, clusterer.labels_[some])
    assert clusterer.embedder is given


def test_a_search_reaches_the_steps_of_a_pipeline(texts):
    grid = {"embedder__truncatedsvd__n_components": [2, 5]}
    y = [len(text) > 40 for text in texts]
    search = GridSearchCV(make(lsa()), grid, cv=2, refit=True).fit(texts, y)
    best = search.best_params_["embedder__truncatedsvd__n_components"]
    assert search.best_estimator_.embeddings_.shape == (len(texts), best)


def test_the_number_of_clusters_is_chosen_in_the_same_vectors(texts):
    selector = GranularitySelector(lsa(), k_min=2, k_max=9, random_state=0)
    selector.set_params(oracle=TruthOracle(texts, [len(t) % 3 for t in texts]))
    assert 2 <= selector.fit(texts).n_clusters_ <= 9
    assert (selector.predict(texts) == selector.labels_).all()


def test_it_is_refused_as_something_to_be_trained_before_it_is_fitted(texts):
    given = Doubling()
    given.fit = lambda X: pytest.fail("was fitted")
    oracle = TruthOracle(texts, [0] * len(texts))
    with pytest.raises(TypeError, match="FineTuner cannot train BlackBoxEmbedder"):
        make(given, oracle=oracle).fit(texts)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("all-MiniLM-L6-v2", r"got the str 'all-MiniLM-L6-v2'.*write Sentence.*\('all"),
        (HashingEmbedder, r"got the class HashingEmbedder\. Write HashingEmbedder\("),
        (TfidfVectorizer, r"got the class TfidfVectorizer\. Write TfidfVectorizer\("),
        (3, "'encode', got int. A scikit-learn transformer, or a function of texts,"),
        (TSNE(), "'encode', got TSNE. A scikit-learn transformer"),
    ],
    ids=["str", "own class", "class", "int", "no transform"],
)
def test_what_is_no_embedder_is_refused_by_the_estimators(given, message, texts):
    for estimator in (make(given), GranularitySelector(given)):
        with pytest.raises(TypeError, match=f"embedder must .*{message}"):
            estimator.fit(texts)


def test_an_estimator_that_makes_no_embedders_offers_none(texts):
    with pytest.raises(TypeError, match=r"'encode', got TfidfVectorizer\.$"):
        read_input(make(TfidfVectorizer()), texts, None, default=HashingEmbedder)


# ---------------------------------------------------------------- vectors and texts


class NoModule:
    """An adapter of vectors."""

    needs_module = False


Z = np.random.default_rng(0).standard_normal((6, 3))
SIX = list("abcdef")


@pytest.mark.parametrize(
    "how",
    [{"trainer": NoModule()}, {"asks": True}, {"trainer": NoModule(), "asks": True}],
    ids=["adapter of vectors", "refiner", "both"],
)
def test_vectors_come_with_texts_where_an_oracle_is_asked_and_nothing_is_trained(how):
    how["default"] = HashingEmbedder
    texts, found, embedder = read_input(make(None), Z, SIX, **how)
    assert texts == SIX and embedder is None
    np.testing.assert_array_equal(found, Z)
    with pytest.raises(ValueError, match="X holds embeddings: pass texts= to ask"):
        read_input(make(None), Z, None, **how)
    with pytest.raises(ValueError, match="one for each of the 6 rows of X, got 5"):
        read_input(make(None), Z, SIX[:5], **how)


def test_an_adapter_of_vectors_is_checked_before_anything_is_asked():
    how = {"default": HashingEmbedder, "trainer": MetricHead(rank=0)}
    for X, texts in ((Z, SIX), (SIX, None)):
        with pytest.raises(ValueError, match="'rank' parameter of MetricHead"):
            read_input(make(None), X, texts, **how)


@pytest.mark.parametrize("texts", [None, SIX])
def test_vectors_cannot_be_fine_tuned(texts):
    with pytest.raises(ValueError, match="embeddings, which no adapter can train"):
        read_input(make(None), Z, texts, default=HashingEmbedder, trainer=FineTuner())


def test_vectors_alone_will_do_where_nothing_is_asked():
    texts, found, _ = read_input(make(None), Z, None, default=HashingEmbedder)
    assert texts == [] and len(found) == 6


def test_texts_are_given_once():
    with pytest.raises(ValueError, match="texts= is for an X of embeddings"):
        read_input(make(None), SIX, SIX, default=HashingEmbedder)
