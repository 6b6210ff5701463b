"""Embedders: one text, one vector; shared weights; what a pickle holds."""

import copy
import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone

from skllm_cluster import ClusterLLMClusterer
from skllm_cluster.embedders import HashingEmbedder, SentenceTransformerEmbedder
from skllm_cluster.protocols import Embedder, TrainableEmbedder

torch = pytest.importorskip("torch")

PROMPT = "Represent the purpose of the message: "


@pytest.fixture(scope="module")
def texts(support):
    """14 texts of very different lengths, none twice."""
    return [*support[0][:10], "Hi", "?", " ".join(support[0][20:23]), "Ünïcödé 🙂"]


@pytest.fixture(params=["hashing", "minilm"])
def embedder(request):
    """Each kind of embedder, as a clone that a test may configure."""
    if request.param == "hashing":
        return HashingEmbedder(32, n_features=512)
    return clone(request.getfixturevalue("minilm"))


@pytest.fixture(scope="module")
def tiny_path(minilm, tmp_path_factory):
    """Folder of a transformer of two narrow layers, with random weights."""
    transformers = pytest.importorskip("transformers")
    path = tmp_path_factory.mktemp("tiny")
    config = transformers.BertConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16
    )
    transformers.BertModel(config).save_pretrained(path)
    minilm.module.tokenizer.save_pretrained(path)
    return str(path)


def disturb(embedder):
    """Stand in for training: change some weights."""
    with torch.no_grad():
        for weight in list(embedder.module.parameters())[-4:]:
            weight += 0.1 * torch.sin(torch.arange(weight.numel())).reshape(
                weight.shape
            )
    return embedder


def test_embedders_keep_the_contract(embedder):
    assert isinstance(embedder, Embedder)
    assert isinstance(embedder, TrainableEmbedder)
    assert isinstance(embedder.module, torch.nn.Module)


def test_a_text_alone_has_the_vector_that_it_has_in_a_batch(embedder, texts):
    whole = embedder.encode(texts)
    assert whole.dtype == np.float32
    alone = np.concatenate([embedder.encode([text]) for text in texts])
    np.testing.assert_allclose(alone, whole, atol=1e-6)


def test_order_of_the_texts_does_not_matter(embedder, texts):
    order = np.random.default_rng(0).permutation(len(texts))
    turned = embedder.encode([texts[i] for i in order])
    np.testing.assert_allclose(turned, embedder.encode(texts)[order], atol=1e-6)


def test_equal_texts_have_equal_vectors_to_the_last_bit(embedder, texts):
    z = embedder.encode([*texts[:5], *texts[:5][::-1], texts[2]])
    np.testing.assert_array_equal(z[5:10], z[:5][::-1])
    np.testing.assert_array_equal(z[10], z[2])


def test_different_texts_have_different_vectors_of_length_1(embedder, texts):
    z = embedder.encode(texts)
    np.testing.assert_allclose(np.linalg.norm(z[:-3], axis=1), 1, atol=1e-5)
    assert len(np.unique(z.round(4), axis=0)) == len(texts)


def test_what_is_no_sequence_of_texts_is_refused(embedder):
    with pytest.raises(TypeError, match="texts must be a sequence of str, got one str"):
        embedder.encode("one text")
    with pytest.raises(TypeError, match="got int at index 1: 3"):
        embedder.encode(["a", 3])


def test_forward_from_gives_the_vectors_of_encode_with_a_gradient(embedder, texts):
    own = copy.deepcopy(embedder)
    forward = own.forward_from(texts)
    own.module.eval()
    rows = np.array([3, 10, 0, 3, 12])
    z = forward(rows)
    np.testing.assert_allclose(
        z.detach().numpy(), embedder.encode(texts)[rows], atol=1e-5
    )
    z[0, 0].backward()
    assert any(p.grad is not None and p.grad.any() for p in own.module.parameters())


def test_clone_shares_the_weights_and_deepcopy_does_not(embedder, texts):
    expected = embedder.encode(texts)
    twin, copied = clone(embedder), copy.deepcopy(embedder)
    places = [next(e.module.parameters()).data_ptr() for e in (embedder, twin, copied)]
    assert places[0] == places[1] != places[2]
    assert type(copied) is type(embedder)
    assert copied.get_params() == embedder.get_params()
    np.testing.assert_array_equal(copied.encode(texts), expected)
    changed = disturb(copied).encode(texts)
    assert np.abs(changed - expected).max() > 0.01
    np.testing.assert_array_equal(embedder.encode(texts), expected)
    np.testing.assert_array_equal(twin.encode(texts), expected)
    np.testing.assert_array_equal(clone(copied).encode(texts), changed)


def test_pickle_of_a_tuned_embedder_keeps_the_tuned_vectors(embedder, texts):
    tuned = disturb(copy.deepcopy(embedder))
    expected = tuned.encode(texts)
    again = pickle.loads(pickle.dumps(tuned))
    np.testing.assert_array_equal(again.encode(texts), expected)
    assert again.get_params() == tuned.get_params()


def test_pickling_leaves_an_embedder_as_it_was(embedder, texts):
    tuned = disturb(copy.deepcopy(embedder))
    expected, module = tuned.encode(texts[:3]), tuned.module
    pickle.dumps(tuned)
    np.testing.assert_array_equal(tuned.encode(texts[:3]), expected)
    assert tuned.module is module
    module = embedder.module
    pickle.dumps(embedder)
    assert embedder.module is module


def test_hashing_embedder_agrees_with_another_of_its_seed_only(texts):
    z = HashingEmbedder(32).encode(texts)
    np.testing.assert_array_equal(HashingEmbedder(32).encode(texts), z)
    assert (HashingEmbedder(32, random_state=1).encode(texts) != z).any()


def test_hashing_embedder_finds_texts_alike_that_share_words_or_pieces():
    z = HashingEmbedder().encode(["card lost", "lost my cards", "refund please", ""])
    assert z[0] @ z[1] > z[0] @ z[2] + 0.2
    assert not z[3].any()


def test_set_params_of_a_hashing_embedder_takes_effect_after_use(texts):
    embedder = HashingEmbedder(16)
    before = embedder.encode(texts)
    assert embedder.module.weight.shape == (8192, 16)
    embedder.set_params(n_dimensions=8, n_features=64)
    assert embedder.encode(texts).shape == (len(texts), 8)
    assert embedder.module.weight.shape == (64, 8)
    embedder.set_params(n_dimensions=16, n_features=8192)
    np.testing.assert_array_equal(embedder.encode(texts), before)


def test_vectors_are_those_of_sentence_transformers(minilm, texts):
    expected = minilm.module.encode(texts)
    np.testing.assert_allclose(minilm.encode(texts), expected, atol=1e-5)


def test_size_of_a_batch_does_not_matter(minilm, texts):
    small = clone(minilm).set_params(batch_size=3)
    np.testing.assert_allclose(small.encode(texts), minilm.encode(texts), atol=1e-6)


def test_prompt_is_put_in_front_of_every_text(minilm, texts):
    prompted = clone(minilm).set_params(prompt=PROMPT)
    expected = minilm.encode([PROMPT + text for text in texts])
    np.testing.assert_allclose(prompted.encode(texts), expected, atol=1e-6)
    assert np.abs(expected - minilm.encode(texts)).max() > 0.01


def test_prompt_can_be_left_out_of_the_mean(minilm_path, minilm, texts):
    embedder = SentenceTransformerEmbedder(
        minilm_path, device="cpu", prompt=PROMPT, pool_prompt=False
    )
    model = embedder.module
    start = len(model.tokenizer(PROMPT).input_ids) - 1  # its end token is not there
    transformer = getattr(model[0], "model", None) or model[0].auto_model
    expected = []
    for text in texts[:6]:
        tokens = model.tokenizer(PROMPT + text, return_tensors="pt")
        with torch.inference_mode():
            states = transformer(**tokens).last_hidden_state[0, start:]
        expected.append(states.mean(dim=0).numpy())
    expected = np.array(expected) / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(embedder.encode(texts[:6]), expected, atol=1e-5)
    # The setting is that of this embedder, not of the one that shares its folder.
    with_prompt = clone(minilm).set_params(prompt=PROMPT).encode(texts[:6])
    assert np.abs(with_prompt - expected).max() > 0.01


def test_clones_of_an_estimator_load_one_model(tiny_path, monkeypatch):
    loads = []
    load = SentenceTransformerEmbedder._load
    monkeypatch.setattr(
        SentenceTransformerEmbedder,
        "_load",
        lambda self: loads.append(self) or load(self),
    )
    clusterer = ClusterLLMClusterer(SentenceTransformerEmbedder(tiny_path))
    clones = [clone(clusterer) for _ in range(10)]
    assert not loads
    modules = [c.embedder.module for c in clones]
    assert len(loads) == 1
    assert all(module is clusterer.embedder.module for module in modules)
    clusterer.set_params(n_clusters=2).fit(["a", "b", "c"])
    assert clusterer.embedder_.module is modules[0]


def test_pickle_of_an_untuned_model_is_small_and_works(minilm, texts):
    dumped = pickle.dumps(minilm)
    assert len(dumped) < 100_000
    again = pickle.loads(dumped)
    assert again.get_params() == minilm.get_params()


def test_unpickled_embedder_loads_its_model_again(tiny_path, texts):
    embedder = SentenceTransformerEmbedder(tiny_path)
    expected = embedder.encode(texts)
    again = pickle.loads(pickle.dumps(embedder))
    assert again.module is not embedder.module
    np.testing.assert_array_equal(again.encode(texts), expected)


def test_texts_that_are_cut_are_counted_and_told_once(minilm, texts):
    embedder = clone(minilm).set_params(max_length=8)
    lengths = [len(t) for t in minilm.module.tokenizer(texts).input_ids]
    n_cut = sum(length > 8 for length in lengths)
    assert 0 < n_cut < len(texts)
    with pytest.warns(
        UserWarning, match=rf"^{n_cut} of 14 texts are longer than 8 tokens"
    ):
        z = embedder.encode(texts)
    embedder.encode(texts)  # a second warning would be an error
    whole = [i for i, length in enumerate(lengths) if length <= 8]
    np.testing.assert_allclose(z[whole], minilm.encode(texts)[whole], atol=1e-6)


def test_texts_of_just_the_limit_are_not_cut(minilm):
    text = "one two three four five six"
    assert len(minilm.module.tokenizer(text).input_ids) == 8
    clone(minilm).set_params(max_length=8).encode([text])


def test_wrong_dtype_is_refused_with_what_it_may_be(minilm):
    embedder = clone(minilm).set_params(dtype="int8")
    with pytest.raises(
        ValueError, match=r"dtype must be 'auto' or one of \[.*'float32'\], got 'int8'"
    ):
        embedder.encode(["a"])


def test_half_precision_is_close_to_single_and_returned_as_float32(minilm, texts):
    half = clone(minilm).set_params(dtype="bfloat16").encode(texts)
    assert half.dtype == np.float32
    cosines = np.einsum("nd,nd->n", half, minilm.encode(texts))
    cosines /= np.linalg.norm(half, axis=1)
    assert (cosines > 0.99).all()
    assert cosines.min() < 1 - 1e-7  # it is another precision


def test_frozen_layers_give_the_vectors_of_encode_and_get_no_gradient(minilm, texts):
    own = copy.deepcopy(minilm)
    forward = own.forward_from(texts, frozen=2 / 3)
    own.module.eval()
    rows = np.array([*range(14), 1])  # like lengths share a padded batch
    z = forward(rows)
    np.testing.assert_allclose(
        z.detach().numpy(), minilm.encode(texts)[rows], atol=1e-5
    )
    z.square().sum().backward()
    trained = {n for n, p in own.module.named_parameters() if p.requires_grad}
    touched = {n for n, p in own.module.named_parameters() if p.grad is not None}
    layers = [{n for n in trained if f"layer.{i}." in n} for i in range(6)]
    assert [bool(names) for names in layers] == [False] * 4 + [True] * 2
    assert not any("embeddings" in name for name in trained)
    assert layers[4] | layers[5] <= touched <= trained
    assert all(p.requires_grad for p in minilm.module.parameters())


def test_layers_that_cannot_be_cut_off_are_frozen_all_the_same(minilm, texts, tmp_path):
    """T5, of which Instructor is made: its first layer owns the position bias."""
    transformers = pytest.importorskip("transformers")
    config = transformers.T5Config(
        vocab_size=30522, d_model=16, d_kv=8, d_ff=16, num_layers=3, num_heads=2
    )
    transformers.T5EncoderModel(config).save_pretrained(tmp_path)
    minilm.module.tokenizer.save_pretrained(tmp_path)
    own = SentenceTransformerEmbedder(str(tmp_path), device="cpu")
    expected = own.encode(texts)
    forward = own.forward_from(texts, frozen=1 / 3)
    own.module.eval()
    z = forward(np.arange(len(texts)))
    np.testing.assert_allclose(z.detach().numpy(), expected, atol=1e-5)
    z.square().sum().backward()
    touched = {n for n, p in own.module.named_parameters() if p.grad is not None}
    assert any("block.1." in name for name in touched)
    assert not any("block.0." in n or "shared" in n for n in touched)


def test_another_model_takes_effect_after_one_was_loaded(minilm, tiny_path, texts):
    embedder = clone(minilm)
    assert embedder.encode(texts[:2]).shape == (2, 384)
    embedder.set_params(model=tiny_path)
    assert embedder.encode(texts[:2]).shape == (2, 16)
    assert minilm.encode(texts[:2]).shape == (2, 384)


def test_a_model_that_is_not_there_is_an_error_that_names_it(tmp_path):
    missing = str(tmp_path / "no-such-model")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(Exception, match="no-such-model"):
            SentenceTransformerEmbedder(missing).encode(["a"])
