"""The encoder of sets: contract, context, batches, cuts, copies, memory."""

import copy
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone

import skllm_cluster
from skllm_cluster.adaptation import FineTuner
from skllm_cluster.embedders import SetEncoder
from skllm_cluster.embedders._set_batches import (
    bytes_free,
    bytes_needed,
    set_batches,
)
from skllm_cluster.protocols import Embedder, TrainableEmbedder

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", minversion="5.15")
tokenizers = pytest.importorskip("tokenizers")

WORDS = ["apple", "pear", "plum", "laptop", "phone", "screen", "red", "green"]
WORDS += ["blue", "big", "small", "old", "new", "a", "b", "c"]
TEXTS = [
    "apple",
    "red apple",
    "laptop",
    "",
    "big old laptop screen",
    "plum",
    "phone",
    "a b c a b c a b c",
    "apple",
    "unheard of",
]
GROUPS = [3, 3, 1, 3, 1, 8, 1, 1, 1, 3]
SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
CONFIGS = {
    "Bert": SMALL | {"intermediate_size": 48, "max_position_embeddings": 40},
    "DistilBert": {
        "dim": 32,
        "n_layers": 3,
        "n_heads": 4,
        "hidden_dim": 48,
        "max_position_embeddings": 40,
    },
    "ModernBert": SMALL
    | {"intermediate_size": 48, "max_position_embeddings": 40}
    | dict.fromkeys(
        ["bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"], 2
    ),
    "MPNet": SMALL | {"intermediate_size": 48, "max_position_embeddings": 40},
    "T5": {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 3, "num_heads": 4},
}


def save_tokenizer(folder, marks, words=True):
    """Words; [CLS] and [SEP] around them, or T5's end token, or nothing."""
    special = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "</s>"]
    vocabulary = {word: i for i, word in enumerate([*special, *WORDS])}
    inner = tokenizers.Tokenizer(
        tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]")
    )
    if words:
        inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    if marks:
        inner.post_processor = tokenizers.processors.TemplateProcessing(
            single=marks, special_tokens=[(s, vocabulary[s]) for s in special]
        )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(folder)


def save(folder, name, marks):
    config = getattr(transformers, f"{name}Config")(
        vocab_size=21, pad_token_id=1, **CONFIGS[name]
    )
    kind = "T5ForConditionalGeneration" if name == "T5" else f"{name}Model"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = getattr(transformers, kind)(config)
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.data.normal_(std=0.3)
        model.save_pretrained(folder)
    save_tokenizer(folder, marks)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of small models of random weights; of T5 with its decoder."""
    marks = {"T5": "$A </s>"}
    return {
        name: save(
            tmp_path_factory.mktemp(name), name, marks.get(name, "[CLS] $A [SEP]")
        )
        for name in CONFIGS
    }


@pytest.fixture(params=sorted(CONFIGS))
def encoder(request, folders):
    return SetEncoder(folders[request.param], device="cpu")


@pytest.fixture
def t5(folders):
    return SetEncoder(folders["T5"], device="cpu")


def test_it_keeps_the_contract_of_embedders(encoder):
    assert isinstance(encoder, Embedder)
    assert isinstance(encoder, TrainableEmbedder)
    assert isinstance(encoder.module, torch.nn.Module)
    z = encoder.encode(TEXTS, GROUPS)
    assert z.dtype == np.float32
    assert z.shape == (len(TEXTS), 32)
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("attention", ["none", "sia", "full"])
def test_a_text_alone_has_the_mean_of_the_plain_model(encoder, attention):
    encoder.set_params(attention=attention)
    model, tokenizer = encoder._loaded()
    expected = []
    for text in TEXTS:
        ids = torch.tensor([tokenizer(text).input_ids])
        with torch.inference_mode():
            expected.append(model(ids).last_hidden_state[0].mean(dim=0).numpy())
    expected = np.array(expected)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-6)
    alone = np.arange(len(TEXTS))[::-1]
    np.testing.assert_allclose(encoder.encode(TEXTS, alone), expected, atol=1e-6)


def test_the_same_text_differs_between_sets_but_for_attention_none(encoder):
    alone = encoder.encode(TEXTS)
    np.testing.assert_array_equal(alone[0], alone[8])  # both "apple"
    for attention, differs in (("sia", True), ("full", True), ("none", False)):
        z = encoder.set_params(attention=attention).encode(TEXTS, GROUPS)
        assert (np.abs(z[0] - z[8]).max() > 1e-3) == differs
        assert (np.abs(z - alone).max() > 1e-3) == differs
        np.testing.assert_allclose(z[5], alone[5], atol=1e-6)  # alone in its set


def test_duplicates_within_a_set_are_each_a_member_of_it(t5):
    z = t5.encode(["apple", "apple", "pear"], [0, 0, 0])
    np.testing.assert_allclose(z[0], z[1], atol=1e-6)
    without = t5.encode(["apple", "pear"], [0, 0])
    assert np.abs(without[1] - z[2]).max() > 1e-3


@pytest.mark.parametrize("attention", ["none", "sia"])
def test_neither_order_nor_batches_nor_names_of_sets_matter(encoder, attention):
    encoder.set_params(attention=attention)
    z = encoder.encode(TEXTS, GROUPS)
    order = np.random.default_rng(0).permutation(len(TEXTS))
    for batch_tokens in (1, 12, 10_000):
        encoder.set_params(batch_tokens=batch_tokens)
        turned = encoder.encode(
            [TEXTS[i] for i in order], [f"set {GROUPS[i]}" for i in order]
        )
        np.testing.assert_allclose(turned, z[order], atol=2e-6)


def test_full_attention_depends_on_the_order_of_the_texts_but_not_of_the_sets(t5):
    t5.set_params(attention="full")
    texts, groups = ["apple", "pear", "plum", "laptop"], [0, 0, 1, 1]
    z = t5.encode(texts, groups)
    np.testing.assert_allclose(t5.encode(texts, [1, 1, 0, 0]), z, atol=1e-6)
    mixed = t5.encode(["plum", "apple", "laptop", "pear"], [1, 0, 1, 0])
    np.testing.assert_allclose(mixed, z[[2, 0, 3, 1]], atol=1e-6)
    turned = t5.encode(["pear", "apple", "plum", "laptop"], groups)
    assert np.abs(turned[[1, 0]] - z[:2]).max() > 1e-3


@pytest.mark.parametrize("attention", ["none", "sia", "full"])
def test_forward_gives_the_vectors_of_encode_with_a_gradient(encoder, attention):
    own = copy.deepcopy(encoder).set_params(attention=attention, batch_tokens=20)
    expected = own.encode(TEXTS, GROUPS)
    z = own.forward(TEXTS, GROUPS)
    np.testing.assert_allclose(z.detach().numpy(), expected, atol=2e-6)
    z[0, 0].backward()
    assert any(p.grad is not None and p.grad.any() for p in own.module.parameters())
    alone = own.forward(TEXTS).detach().numpy()
    np.testing.assert_allclose(alone, own.encode(TEXTS), atol=2e-6)


def test_forward_from_makes_sets_of_the_rows_that_are_given(t5):
    forward = t5.forward_from(TEXTS, groups=GROUPS)
    rows = np.array([9, 2, 0, 4, 2])
    expected = t5.encode([TEXTS[i] for i in rows], [GROUPS[i] for i in rows])
    np.testing.assert_allclose(forward(rows).detach().numpy(), expected, atol=2e-6)
    alone = t5.forward_from(TEXTS)(rows).detach().numpy()
    np.testing.assert_allclose(alone, t5.encode(TEXTS)[rows], atol=2e-6)


@pytest.mark.parametrize(
    ("frozen", "layers"), [(0.0, {0, 1, 2}), (0.5, {2}), (0.34, {1, 2}), (0.99, {2})]
)
def test_frozen_layers_get_no_gradient(encoder, frozen, layers):
    own = copy.deepcopy(encoder)
    own.forward_from(TEXTS, frozen, groups=GROUPS)(np.arange(10)).square().sum()
    z = own.forward_from(TEXTS, frozen, groups=GROUPS)(np.arange(10))
    (z * torch.arange(32)).sum().backward()
    touched = {n for n, p in own.module.named_parameters() if p.grad is not None}
    numbers = {
        next((int(part) for part in n.split(".") if part.isdigit()), None)
        for n in touched
    }
    assert numbers & {0, 1, 2} == layers
    assert any("embed" in n or "shared" in n for n in touched) == (frozen == 0)


def test_it_can_be_tuned_as_any_embedder(t5):
    tuner = FineTuner(learning_rate=1e-3, frozen=0.0)
    before = t5.encode(TEXTS, GROUPS)
    tuned = tuner.adapt(t5, TEXTS, [[0, 1, 2], [2, 4, 5]], random_state=0)
    assert np.abs(tuned.encode(TEXTS, GROUPS) - before).max() > 1e-3
    np.testing.assert_array_equal(t5.encode(TEXTS, GROUPS), before)


def test_dropout_is_that_of_the_parameter(folders):
    encoder = SetEncoder(folders["Bert"], device="cpu", dropout=0.0)
    encoder.module.train()
    a, b = (encoder.forward(TEXTS, GROUPS).detach() for _ in range(2))
    np.testing.assert_array_equal(a, b)
    other = clone(encoder).set_params(dropout=0.5)
    assert other.module is not encoder.module
    other.module.train()
    a, b = (other.forward(TEXTS, GROUPS).detach() for _ in range(2))
    assert (a - b).abs().max() > 0.01
    z = other.encode(TEXTS, GROUPS)
    np.testing.assert_allclose(z, encoder.encode(TEXTS, GROUPS), atol=1e-6)


@pytest.mark.parametrize("pooled_key", ["key", "query", "first"])
@pytest.mark.parametrize("inter_bias", [False, True])
def test_all_variants_differ_and_share_one_model(t5, pooled_key, inter_bias):
    other = clone(t5).set_params(pooled_key=pooled_key, inter_bias=inter_bias)
    assert other.module is t5.module
    difference = np.abs(other.encode(TEXTS, GROUPS) - t5.encode(TEXTS, GROUPS)).max()
    assert (difference > 1e-4) == ((pooled_key, inter_bias) != ("key", False))


def test_texts_longer_than_max_tokens_are_cut_counted_and_told_once(t5):
    t5.set_params(max_tokens=2)
    with pytest.warns(UserWarning, match=r"^2 of 9 texts are longer than 3 tokens"):
        z = t5.encode(TEXTS)
    twin = clone(t5)
    twin.encode(TEXTS)  # a second warning would be an error
    copy.deepcopy(t5).encode(TEXTS)
    np.testing.assert_allclose(z[7], t5.encode(["a b"])[0], atol=1e-6)


def test_texts_of_just_max_tokens_are_not_cut(t5):
    z = t5.set_params(max_tokens=2).encode(["red apple"])
    np.testing.assert_array_equal(z, t5.set_params(max_tokens=9).encode(["red apple"]))


def test_prompt_is_put_in_front_of_every_text(t5):
    expected = t5.encode([f"red {text}" for text in TEXTS], GROUPS)
    found = clone(t5).set_params(prompt="red ").encode(TEXTS, GROUPS)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_spaces_around_a_text_do_not_count(folders, tmp_path):
    shutil.copytree(folders["T5"], tmp_path, dirs_exist_ok=True)
    save_tokenizer(tmp_path, "$A </s>", words=False)
    encoder = SetEncoder(tmp_path, device="cpu")
    z = encoder.encode([" apple\n", "apple", "apple pear"])
    np.testing.assert_array_equal(z[0], z[1])
    assert (z[1] != z[2]).any()


def test_weights_kept_in_half_precision_are_computed_with_in_single(folders, tmp_path):
    shutil.copytree(folders["Bert"], tmp_path, dirs_exist_ok=True)
    model = transformers.BertModel.from_pretrained(tmp_path)
    model.bfloat16().save_pretrained(tmp_path)
    weights = SetEncoder(tmp_path, device="cpu").module.parameters()
    assert {weight.dtype for weight in weights} == {torch.float32}


def test_a_text_without_any_token_is_a_text(tmp_path):
    save(tmp_path, "Bert", None)
    encoder = SetEncoder(tmp_path, device="cpu")
    assert encoder._loaded()[1]("").input_ids == []
    z = encoder.encode(["", "apple", ""], [0, 0, 0])
    assert np.isfinite(z).all()
    np.testing.assert_allclose(z[0], z[2], atol=1e-6)


def test_clone_shares_the_weights_and_deepcopy_does_not(encoder):
    expected = encoder.encode(TEXTS, GROUPS)
    twin, copied = clone(encoder), copy.deepcopy(encoder)
    assert twin.module is encoder.module is not copied.module
    assert copied.get_params() == encoder.get_params()
    with torch.no_grad():
        for weight in copied.module.parameters():
            weight.mul_(1.1)
    changed = copied.encode(TEXTS, GROUPS)
    assert np.abs(changed - expected).max() > 1e-3
    np.testing.assert_array_equal(twin.encode(TEXTS, GROUPS), expected)
    again = pickle.loads(pickle.dumps(copied))
    np.testing.assert_array_equal(again.encode(TEXTS, GROUPS), changed)
    np.testing.assert_array_equal(clone(copied).encode(TEXTS, GROUPS), changed)


def test_pickle_of_an_untuned_encoder_holds_no_weights(t5):
    expected = t5.encode(TEXTS, GROUPS)
    dumped = pickle.dumps(t5)
    assert len(dumped) < 2_000
    again = pickle.loads(dumped)
    np.testing.assert_array_equal(again.encode(TEXTS, GROUPS), expected)
    assert pickle.loads(pickle.dumps(clone(SetEncoder("x")))).model == "x"


def test_tuned_encoders_can_be_read_by_another_process(folders, tmp_path):
    """Where nobody has told transformers yet of the attention that they use."""
    tuned = [copy.deepcopy(SetEncoder(folders[n], device="cpu")) for n in CONFIGS]
    (tmp_path / "encoders").write_bytes(pickle.dumps(tuned))
    code = (
        "import pickle, sys, pathlib, numpy as np\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "encoders = pickle.loads((folder / 'encoders').read_bytes())\n"
        f"found = [e.encode({TEXTS}, {GROUPS}) for e in encoders]\n"
        "np.save(folder / 'found.npy', found)\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        check=True,
        env=os.environ | {"PYTHONPATH": str(Path(skllm_cluster.__file__).parents[1])},
    )
    for encoder, z in zip(tuned, np.load(tmp_path / "found.npy"), strict=True):
        np.testing.assert_allclose(z, encoder.encode(TEXTS, GROUPS), atol=1e-6)


def test_half_precision_is_close_to_single_and_returned_as_float32(encoder):
    expected = encoder.encode(TEXTS, GROUPS)
    half = clone(encoder).set_params(dtype="bfloat16").encode(TEXTS, GROUPS)
    assert half.dtype == np.float32
    cosine = (half * expected).sum(axis=1)
    assert cosine.min() > 0.99
    assert (half != expected).any()


def test_vectors_of_minilm_are_those_of_sentence_transformers(minilm, minilm_path):
    encoder = SetEncoder(minilm_path, max_tokens=254, device="cpu")
    texts = ["Where is my parcel?", "My card was declined.", "", "Hi", "word " * 200]
    for attention in ("sia", "none", "full"):
        encoder.set_params(attention=attention)
        z = encoder.encode(texts)
        np.testing.assert_allclose(z, minilm.encode(texts), atol=1e-5)
    set_ = encoder.set_params(attention="sia").encode(texts, np.zeros(5))
    assert np.abs(set_ - z).max() > 1e-3


@pytest.mark.parametrize("seed", range(8))
def test_batches_hold_whole_sets_and_respect_the_budget(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 80))
    lengths = rng.integers(1, 20, size=n)
    _, sets = np.unique(rng.integers(0, rng.choice([1, 5, 60]), n), return_inverse=True)
    budget = int(rng.choice([1, 50, 10_000]))
    batches = list(set_batches(lengths, sets, budget))
    assert sorted(np.concatenate(batches)) == list(range(n))
    owners = [set(sets[rows]) for rows in batches]
    assert sum(map(len, owners)) == len(set(sets))
    for rows, owner in zip(batches, owners, strict=True):
        assert lengths[rows].sum() <= budget or len(owner) == 1
        for one in owner:
            members = rows[sets[rows] == one]
            assert list(members) == sorted(members)
            at = np.flatnonzero(sets[rows] == one)
            assert at[-1] - at[0] + 1 == len(at)
    # Nothing is left out that would have fitted: no two neighbours fit in one batch.
    sums = [lengths[rows].sum() for rows in batches]
    first = [lengths[rows[sets[rows] == sets[rows[0]]]].sum() for rows in batches]
    assert all(a + b > budget for a, b in zip(sums[:-1], first[1:], strict=True))


def test_a_set_too_large_for_the_memory_is_refused_before_anything_runs(t5):
    module = t5.set_params(max_memory=300_000).module
    ran = []
    handle = module.register_forward_pre_hook(lambda *_: ran.append(1))
    try:
        t5.encode(["apple"] * 8, [0] * 4 + [1] * 4)
        assert ran
        ran.clear()
        texts = ["apple"] * 600
        groups = [0] * 10 + [1] * 590
        with pytest.raises(
            MemoryError,
            match=r"A set of 590 texts and 1,180 tokens needs about \d+\.\d\d GiB, and "
            r"only 0\.00 may be taken\. Divide",
        ):
            t5.encode(texts, groups)
        with pytest.raises(MemoryError, match="A batch of 600 sets"):
            t5.set_params(attention="none").encode([f"b {i}" for i in range(600)])
        with pytest.raises(MemoryError, match="A set of 590 texts"):
            t5.set_params(attention="full").forward(texts, groups)
        assert not ran
        t5.set_params(attention="none", batch_tokens=20).encode(texts, groups)
    finally:
        handle.remove()


def test_what_has_fitted_is_not_refused_later(t5, monkeypatch):
    free = [1e12]
    monkeypatch.setattr(
        "skllm_cluster.embedders._set_encoder.bytes_free", lambda device: free[0]
    )
    texts = ["apple"] * 20
    t5.encode(texts, [0] * 20)
    free[0] = 1.0
    t5.encode(texts, [0] * 20)
    with pytest.raises(MemoryError, match="A set of 21 texts"):
        t5.encode(["apple"] * 21, [0] * 21)


def test_memory_is_estimated_by_what_a_set_costs(t5):
    config = t5.module.config
    lengths, sets = np.full(100, 10), np.repeat(np.arange(10), 10)

    def needed(attention="sia", training=False, sets=sets):
        return bytes_needed(config, lengths, sets, attention, training)

    assert needed("none") < needed() < needed("full")
    assert needed() < needed(sets=np.zeros(100, dtype=int))
    assert needed("none") == needed(sets=np.arange(100))
    assert needed(training=True) > 3 * needed()


def test_scores_of_a_huge_set_are_not_held_all_at_once(t5):
    config, gib = t5.module.config, 2**30
    lengths, sets = np.full(5000, 16), np.zeros(5000, dtype=int)
    assert bytes_needed(config, lengths, sets, "sia", False) < gib
    # Dropout needs them all: tokens by texts by heads, 4 bytes each.
    assert bytes_needed(config, lengths, sets, "sia", True) > 8e4 * 5e3 * 4 * 4


def test_free_memory_is_read_where_the_system_tells(tmp_path, monkeypatch):
    cpu, file = torch.device("cpu"), tmp_path / "meminfo"
    monkeypatch.setattr("skllm_cluster.embedders._set_batches._MEMINFO", file)
    assert bytes_free(cpu) == np.inf
    file.write_text("MemTotal: 9 kB\nMemAvailable:    2048 kB\n")
    assert bytes_free(cpu) == 2**21
    assert bytes_free(torch.device("mps")) == np.inf
    file.write_text("nothing known\n")
    assert bytes_free(cpu) == np.inf
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100, 900))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 50)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 20)
    assert bytes_free(torch.device("cuda")) == 130


def test_cuda_is_chosen_where_there_is_some(t5, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    t5.set_params(device=None)
    assert t5._torch_device() == torch.device("cuda:3")
    t5._autocast()  # no bfloat16, so nothing
    assert clone(t5).set_params(device="cuda:1")._torch_device().index == 1


def test_a_model_moves_to_another_device_and_stays_loaded(folders):
    encoder = SetEncoder(folders["T5"], device="cpu")
    module = encoder.module
    assert encoder.set_params(device="meta").module is module
    assert module.device.type == "meta"


@pytest.mark.parametrize("shown", [True, False])
def test_loading_draws_nothing_and_leaves_progress_bars_as_they_were(
    folders, shown, capfd
):
    logging = transformers.utils.logging
    before = logging.is_progress_bar_enabled()
    switch = {True: logging.enable_progress_bar, False: logging.disable_progress_bar}
    switch[shown]()
    try:
        assert SetEncoder(folders["Bert"], device="cpu").module
        assert logging.is_progress_bar_enabled() == shown
    finally:
        switch[before]()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("parameter", "value", "error", "message"),
    [
        ("attention", "sai", ValueError, r"\['sia', 'none', 'full'\], got 'sai'"),
        ("pooled_key", None, ValueError, r"\['key', 'query', 'first'\], got None"),
        ("dtype", "float16", ValueError, "dtype must be one of .* got 'float16'"),
        ("max_tokens", 0, ValueError, "max_tokens.* Got 0"),
        ("batch_tokens", 1.5, TypeError, "batch_tokens.* Got 1.5"),
        ("max_memory", -1, ValueError, "max_memory.* Got -1"),
        ("dropout", 1.0, ValueError, "dropout.* Got 1.0"),
    ],
)
def test_wrong_parameters_are_refused(t5, parameter, value, error, message):
    t5.set_params(**{parameter: value})
    for use in (t5.encode, t5.forward, t5.forward_from):
        with pytest.raises(error, match=message):
            use(["a"])


def test_groups_must_be_one_per_text(t5):
    for attention in ("sia", "none"):
        t5.set_params(attention=attention)
        with pytest.raises(ValueError, match=r"shape \(2,\), got shape \(3,\)"):
            t5.encode(["a", "b"], [0, 0, 0])


def test_what_is_no_sequence_of_texts_is_refused(t5):
    for use in (t5.encode, t5.forward, t5.forward_from):
        with pytest.raises(TypeError, match="texts must be a sequence of str, got one"):
            use("one text")


def test_a_model_that_cannot_is_refused_when_it_is_loaded(tmp_path):
    config = transformers.DebertaV2Config(vocab_size=21, intermediate_size=8, **SMALL)
    transformers.DebertaV2Model(config).save_pretrained(tmp_path)
    save_tokenizer(tmp_path, None)
    with pytest.raises(ValueError, match="DebertaV2Model cannot attend between"):
        SetEncoder(tmp_path, device="cpu").encode(["a"])


def test_bias_between_texts_needs_a_model_with_one(folders):
    encoder = SetEncoder(folders["Bert"], device="cpu", inter_bias=True)
    with pytest.raises(ValueError, match="inter_bias=True needs"):
        encoder.encode(TEXTS, GROUPS)


def test_concatenations_longer_than_the_positions_of_bert_are_refused(folders):
    encoder = SetEncoder(folders["Bert"], device="cpu", attention="full")
    with pytest.raises(ValueError, match="positions for 40 tokens, got a row of 42"):
        encoder.encode(["apple"] * 14, [0] * 14)


def test_training_refuses_such_a_concatenation_before_its_first_step(folders):
    texts, groups = ["apple"] * 15, [0] * 14 + [1]
    for attention, refused in (("full", True), ("sia", False), ("none", False)):
        encoder = SetEncoder(folders["Bert"], device="cpu", attention=attention)
        if refused:
            with pytest.raises(ValueError, match="40 tokens, got a row of 42"):
                encoder.forward_from(texts, groups=groups)
        else:
            assert callable(encoder.forward_from(texts, groups=groups))
