"""Set attention against a loop over Eq. 2-5, in every model, pooling and form."""

import copy
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", minversion="5.15")

from skllm_cluster.set_attention import (  # noqa: E402
    SetLayout,
    enable_sets,
    pack,
    set_attention,
)
from skllm_cluster.set_attention._attention import _Softmax  # noqa: E402
from skllm_cluster.set_attention._fused import _Fused, others_mask  # noqa: E402

SHAPE = {
    "vocab_size": 40,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
ENDS = {"bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
SMALL = {
    "Bert": SHAPE,
    "Camembert": SHAPE | ENDS,
    "DistilBert": {
        "vocab_size": 40,
        "dim": 32,
        "n_layers": 2,
        "n_heads": 4,
        "hidden_dim": 48,
        "max_position_embeddings": 64,
    },
    "Electra": SHAPE | {"embedding_size": 16},
    # One layer sees all tokens, the other those that are at most 2 away.
    "ModernBert": SHAPE
    | ENDS
    | {"local_attention": 4, "global_attn_every_n_layers": 2},
    "MPNet": SHAPE | {"pad_token_id": 1},
    "MT5": {
        "vocab_size": 40,
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 48,
        "num_layers": 2,
        "num_heads": 4,
    },
    "Roberta": SHAPE | ENDS | {"pad_token_id": 1},
    "T5": {
        "vocab_size": 40,
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 48,
        "num_layers": 2,
        "num_heads": 4,
    },
    "XLMRoberta": SHAPE | ENDS | {"pad_token_id": 1},
}
BIASED = {"MPNet", "MT5", "T5"}
LENGTHS = [4, 2, 9, 1, 3, 7, 5, 2, 6, 3]
GROUPS = [5, 5, 5, 8, 5, 2, 2, 5, 9, 2]  # sets of 5, 1, 3 and 1, not in order
POOLINGS = ["key", "query", "first"]


def make(name):
    """A model of random weights, in double precision, at rest."""
    config = getattr(transformers, f"{name}Config")(**copy.deepcopy(SMALL[name]))
    kind = f"{name}EncoderModel" if "T5" in name else f"{name}Model"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = getattr(transformers, kind)(config).double().eval()
        # Weights of size 1, or attention would be next to uniform.
        for key, weight in model.named_parameters():
            if weight.ndim == 2:
                wide = "embed" in key or "shared" in key or "bias" in key
                weight.data.normal_(std=1.0 if wide else 1.5 * weight.shape[1] ** -0.5)
    return model


@pytest.fixture(scope="module", params=sorted(SMALL))
def model(request):
    return request.param, enable_sets(make(request.param))


@pytest.fixture(scope="module")
def t5():
    return enable_sets(make("T5"))


def draw(lengths=LENGTHS, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(3, 40, size=n).tolist() for n in lengths]


def padded(tokens, pad=0):
    ids = np.full((len(tokens), max(map(len, tokens))), pad)
    mask = np.zeros_like(ids)
    for i, t in enumerate(tokens):
        ids[i, : len(t)], mask[i, : len(t)] = t, 1
    return {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy(mask),
    }


def embed(model, tokens, groups=None, **kwargs):
    layout = SetLayout([len(t) for t in tokens], groups, **kwargs)
    if layout.padded:
        pad = model.config.pad_token_id
        states = model(**padded(tokens, pad), sia=layout).last_hidden_state
    else:
        states = model(**pack(model, tokens, layout)).last_hidden_state
    return layout.pool(states)


# The reference: entity by entity, one softmax over one list of scores.


def attend_naively(module, q, k, v, scaling, bias, case, turn_back=None):
    lengths, groups, pooling, constant = case
    turn_back = turn_back or (lambda x: x)
    flat_q, flat_k = turn_back(q), turn_back(k)
    window = getattr(module, "sliding_window", None) or 10**9
    out = torch.zeros_like(q)
    for i, n in enumerate(lengths):
        own = q[i, :, :n] @ k[i, :, :n].mT * scaling
        if bias is not None:
            own = own + bias[0, :, :n, :n]
        place = torch.arange(n)
        far = (place[:, None] - place).abs() >= window
        own = own.masked_fill(far, -torch.inf)
        scores, values = [own], [v[i, :, :n]]
        for m, length in enumerate(lengths):
            if m == i or groups[m] != groups[i]:
                continue
            source = flat_q if pooling == "query" else flat_k
            till = 1 if pooling == "first" else length
            pooled = source[m, :, :till].mean(dim=1, keepdim=True)
            score = flat_q[i, :, :n] @ pooled.mT * scaling
            if constant is not None:
                score = score + constant[:, None, None]
            scores.append(score)
            values.append(v[m, :, :till].mean(dim=1, keepdim=True))
        weights = torch.cat(scores, dim=-1).softmax(dim=-1)
        out[i, :, :n] = weights @ torch.cat(values, dim=1)
    return out.transpose(1, 2)


def registered_naively(module, q, k, v, mask, *, scaling, naive, **kwargs):
    case, rotary = naive
    turn_back = None
    if rotary is not None:
        kind = module.config.layer_types[module.layer_idx]
        cos, sin = rotary(q, torch.arange(q.shape[2])[None], kind)

        def turn_back(x):
            half = x.shape[-1] // 2
            turned = torch.cat([x[..., half:], -x[..., :half]], dim=-1)
            return x * cos + turned * sin

    bias = kwargs.get("position_bias")
    return attend_naively(module, q, k, v, scaling, bias, case, turn_back), None


def embed_naively(name, model, tokens, groups, pooled_key="key", inter_bias=False):
    """Embed by a stock model of the same weights, with the reference as attention."""
    stock = make(name)
    stock.load_state_dict(model.state_dict())
    lengths, constant = [len(t) for t in tokens], None
    if inter_bias:
        (table,) = (
            m for n, m in stock.named_modules() if n.endswith("relative_attention_bias")
        )
        constant = table.weight[31]
    case = lengths, groups, pooled_key, constant
    inputs = padded(tokens, stock.config.pad_token_id)
    if name == "MPNet":
        for layer in stock.encoder.layer:
            layer.attention.attn.forward = reference_of_mpnet(
                layer.attention.attn, case
            )
    else:
        transformers.AttentionInterface.register("naive", registered_naively)
        stock.set_attn_implementation("naive")
        rotary = getattr(stock, "rotary_emb", None)
        inputs["naive"] = case, rotary
    states = stock(**inputs).last_hidden_state
    z = torch.stack([s[:n].mean(dim=0) for s, n in zip(states, lengths, strict=True)])
    return z, stock


def reference_of_mpnet(attn, case):
    def forward(states, mask, position_bias, **kwargs):
        q, k, v = (
            f(states).unflatten(-1, (4, 8)).transpose(1, 2)
            for f in (attn.q, attn.k, attn.v)
        )
        out = attend_naively(attn, q, k, v, 8**-0.5, position_bias, case)
        return (attn.o(out.flatten(2)),)

    return forward


@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_model_attends_as_the_loop_over_eq_2_to_5(model, pooling):
    name, fast = model
    tokens = draw()
    expected, _ = embed_naively(name, fast, tokens, GROUPS, pooling)
    found = embed(fast, tokens, GROUPS, pooled_key=pooling)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    alone = embed(fast, tokens)
    assert (found - alone).abs().max() > 0.05  # the set makes a difference


@pytest.mark.parametrize("pooling", POOLINGS)
def test_gradients_are_those_of_the_loop(model, pooling):
    name, fast = model
    tokens, kwargs = draw(), {"pooled_key": pooling, "inter_bias": name in BIASED}
    expected, stock = embed_naively(name, fast, tokens, GROUPS, **kwargs)
    found = embed(fast, tokens, GROUPS, **kwargs)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    for z, owner in ((expected, stock), (found, fast)):
        owner.zero_grad()
        (torch.sin(3 * z) * torch.arange(z.numel()).reshape(z.shape)).sum().backward()
    for (key, a), b in zip(stock.named_parameters(), fast.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), key
        if a.grad is not None:
            torch.testing.assert_close(b.grad, a.grad, atol=1e-6, rtol=1e-6, msg=key)


@pytest.mark.parametrize("name", sorted(BIASED))
def test_the_bias_between_entities_is_bucket_31_and_is_learnt(name):
    model = enable_sets(make(name))
    tokens = draw()
    plain, biased = (embed(model, tokens, GROUPS, inter_bias=b) for b in (False, True))
    (table,) = (
        m for n, m in model.named_modules() if n.endswith("relative_attention_bias")
    )
    assert (plain - biased).abs().max() > 1e-3
    plain.sum().backward()
    assert not table.weight.grad[31].any()  # texts are too short to reach it
    table.weight.grad = None
    biased.square().sum().backward()
    assert table.weight.grad[31].any()
    with torch.no_grad():
        table.weight[31] = -1e9  # nobody looks at the others
    closed = embed(model, tokens, GROUPS, inter_bias=True)
    torch.testing.assert_close(closed, embed(model, tokens), atol=1e-9, rtol=0)
    with torch.no_grad():
        table.weight[31] = 0
    open_ = embed(model, tokens, GROUPS, inter_bias=True)
    torch.testing.assert_close(open_, plain, atol=1e-9, rtol=0)


def test_released_formula_on_a_grid_of_sets_gives_the_same(t5):
    """The release: (sets, entities, tokens), keys of all entities by W^Q, one softmax.

    Written out for one layer as the specification states it.
    """
    attention = t5.encoder.block[0].layer[0].SelfAttention
    torch.manual_seed(0)
    sets, entities, longest = 2, 4, 5
    lengths = np.array([[5, 2, 3, 1], [4, 5, 0, 0]])  # the second set has two
    h = torch.randn(sets, entities, longest, 32, dtype=torch.float64)
    real = torch.arange(longest) < torch.from_numpy(lengths)[..., None]  # (S, N, L)
    h = h * real[..., None]
    split = lambda x: x.unflatten(-1, (4, 8))  # noqa: E731
    q, k, v = (split(f(h)) for f in (attention.q, attention.k, attention.v))
    mean = h.sum(dim=2) / real.sum(dim=2).clamp(min=1)[..., None]  # (S, N, d)
    far_k, far_v = split(attention.q(mean)), split(attention.v(mean))
    own = torch.einsum("snlhd,snkhd->snhlk", q, k)
    bias = attention.compute_bias(longest, longest)[0]  # (H, L, L)
    own = (own + bias).masked_fill(~real[:, :, None, None], -1e30)
    far = torch.einsum("snlhd,smhd->snhlm", q, far_k)
    far = far + attention.relative_attention_bias.weight[31][:, None, None]
    hidden = torch.eye(entities, dtype=bool) | ~real[:, None, :, 0]  # (S, N, N)
    far = far.masked_fill(hidden[:, :, None, None], -1e30)
    weights = torch.cat([own, far], dim=-1).softmax(dim=-1)
    expected = torch.einsum("snhlk,snkhd->snlhd", weights[..., :longest], v)
    expected = expected + torch.einsum(
        "snhlm,smhd->snlhd", weights[..., longest:], far_v
    )

    layout = SetLayout(
        lengths[lengths > 0],
        [0, 0, 0, 0, 1, 1],
        pooled_key="query",
        inter_bias=True,
    )
    found, _, _ = attention(h[real][None], sia=layout)
    torch.testing.assert_close(
        found[0], attention.o(expected[real].flatten(1)), atol=1e-9, rtol=0
    )


@pytest.mark.parametrize("pooling", POOLINGS)
def test_order_of_the_entities_and_names_of_the_sets_do_not_matter(model, pooling):
    _, fast = model
    tokens, order = draw(), np.random.default_rng(1).permutation(len(LENGTHS))
    z = embed(fast, tokens, GROUPS, pooled_key=pooling)
    renamed = -7 * np.array(GROUPS)[order]
    turned = embed(fast, [tokens[i] for i in order], renamed, pooled_key=pooling)
    torch.testing.assert_close(turned, z[order], atol=1e-6, rtol=0)


def test_an_entity_alone_embeds_as_by_the_plain_model(model):
    name, fast = model
    tokens = draw()
    stock = make(name)
    expected = torch.cat(
        [stock(torch.tensor([t])).last_hidden_state.mean(dim=1) for t in tokens]
    )
    for kwargs in (
        {},
        {"groups": np.arange(len(tokens))},
        {"groups": np.zeros(len(tokens)), "attention": "none"},
        {"attention": "full"},
        {"padded": True},
    ):
        found = embed(fast, tokens, **kwargs)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    # In a batch with a set of several: the general way, with nobody else to see.
    mixed = embed(fast, [*tokens, [5], [6]], [*range(len(tokens)), 77, 77])
    torch.testing.assert_close(mixed[:-2], expected, atol=1e-6, rtol=0)


def test_without_a_layout_the_model_does_what_it_did_before(model):
    name, fast = model
    inputs = padded(draw(), SMALL[name].get("pad_token_id", 0))
    stock = make(name)
    real = inputs["attention_mask"].bool()
    expected = stock(**inputs).last_hidden_state[real]
    found = fast(**inputs).last_hidden_state[real]
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    full = padded(draw([6, 6, 6]))["input_ids"]
    torch.testing.assert_close(
        fast(full).last_hidden_state,
        stock(full).last_hidden_state,
        atol=1e-6,
        rtol=0,
    )


@pytest.mark.parametrize("pooling", POOLINGS)
def test_packed_tokens_give_what_padded_rows_give(model, pooling):
    name, fast = model
    kwargs = {"pooled_key": pooling, "inter_bias": name in BIASED}
    tokens = draw()
    packed = embed(fast, tokens, GROUPS, **kwargs)
    rows = embed(fast, tokens, GROUPS, padded=True, **kwargs)
    torch.testing.assert_close(rows, packed, atol=1e-6, rtol=0)


def test_other_sets_of_the_batch_do_not_matter(model):
    _, fast = model
    tokens, others = draw(), draw([50, 3, 8], seed=1)
    z = embed(fast, tokens, GROUPS)
    more = embed(fast, [*others, *tokens], [0, 0, 1, *GROUPS])[3:]
    torch.testing.assert_close(more, z, atol=1e-6, rtol=0)
    for group in set(GROUPS):
        rows = [i for i, g in enumerate(GROUPS) if g == group]
        alone = embed(fast, [tokens[i] for i in rows], [0] * len(rows))
        torch.testing.assert_close(alone, z[rows], atol=1e-6, rtol=0)


def test_a_change_in_one_set_leaves_every_other_as_it_was(t5):
    tokens = draw()
    z = embed(t5, tokens, GROUPS)
    changed = [[9, 8, 7] if i == 2 else t for i, t in enumerate(tokens)]
    moved = (embed(t5, changed, GROUPS) - z).abs().amax(dim=1) > 1e-6
    assert moved.tolist() == [g == GROUPS[2] for g in GROUPS]


@pytest.mark.parametrize("inter_bias", [False, True])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_fused_kernel_gives_outputs_and_gradients_of_the_plain_way(
    pooling, inter_bias, monkeypatch
):
    monkeypatch.setattr("skllm_cluster.set_attention._fused._PAIRS", 40)  # in chunks
    kwargs = {"pooled_key": pooling, "inter_bias": inter_bias}
    found = []
    for above in (np.inf, 0):
        model = enable_sets(make("T5"))
        z = embed(model, draw(), GROUPS, fused_above=above, **kwargs)
        torch.sin(z * 5).sum().backward()
        found.append([z, *(p.grad for p in model.parameters())])
    for plain, fused in zip(*found, strict=True):
        torch.testing.assert_close(fused, plain, atol=1e-7, rtol=1e-6)


def test_fused_kernel_is_used_above_a_size_and_never_with_dropout(t5, monkeypatch):
    calls = []
    monkeypatch.setattr(
        _Fused, "apply", lambda *args: calls.append(args) or 1 / 0, raising=True
    )
    embed(t5, draw(), GROUPS)
    embed(copy.deepcopy(t5).train(), draw(), GROUPS, fused_above=0)
    assert not calls
    with pytest.raises(ZeroDivisionError):
        embed(t5, draw(), GROUPS, fused_above=0)


def sets_of_two_sizes():
    (others,) = SetLayout([3, 2, 2, 1, 1], [0, 0, 0, 1, 1]).others
    torch.manual_seed(0)
    m = others.owner.shape[1]
    q, k, v = (
        torch.randn(len(others.owner), 2, n, 4, dtype=torch.float64, requires_grad=True)
        for n in (m, 3, 3)
    )
    return q, k, v, others


def test_gradient_of_the_fused_kernel_is_that_of_finite_differences():
    q, k, v, others = sets_of_two_sizes()
    assert torch.autograd.gradcheck(
        lambda *qkv: _Fused.apply(*qkv, others, 0.7), (q, k, v), atol=1e-6
    )


def test_gradient_of_the_softmax_is_that_of_finite_differences():
    torch.manual_seed(0)
    scores = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(_Softmax.apply, scores)


def test_kernels_of_cuda_take_the_arguments_that_they_are_given():
    """Tensors without data have shapes only; the values were never seen on a GPU."""
    from skllm_cluster.set_attention import _fused

    q, k, v, others = sets_of_two_sizes()
    q, k, v = (x.detach().float().to("meta").repeat(1, 1, 1, 2) for x in (q, k, v))
    mask = others_mask(others, torch.float32).to("meta")
    output, mass, state = _fused._on_cuda(q, k, v, mask, 0.5)
    assert output.shape == q.shape
    assert mass.shape == q.shape[:3]
    wide = [torch.nn.functional.pad(x, (0, 8)) for x in (q, k, v, output, output)]
    found = _fused._back_on_cuda(*wide, mask, 0.5, *state)
    assert [x.shape for x in found] == [x.shape for x in wide[:3]]


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing_enable:FutureWarning")
@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("name", sorted(set(SMALL) - {"MPNet"}))
def test_gradient_checkpointing_changes_no_gradient(name, reentrant):
    grads = []
    for checkpointed in (False, True):
        model = enable_sets(make(name))
        if checkpointed:
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        for module in model.modules():  # in training, but without chance
            module.training = True
            for key in ("p", "dropout", "attention_dropout"):
                if isinstance(getattr(module, key, None), float):
                    setattr(module, key, 0.0)
        layer = max(
            (m for m in model.modules() if isinstance(m, torch.nn.ModuleList)), key=len
        )[1]
        inner, calls = next(m for m in layer.modules() if not [*m.children()]), []
        inner.register_forward_hook(lambda *_: calls.append(1))  # noqa: B023
        z = embed(model, draw(), GROUPS, inter_bias=name in BIASED)
        z.square().sum().backward()
        assert len(calls) == 1 + checkpointed
        grads.append([p.grad for p in model.parameters() if p.grad is not None])
    assert len(grads[0]) == len(grads[1]) > 10
    for plain, again in zip(*grads, strict=True):
        torch.testing.assert_close(again, plain, atol=1e-9, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing_enable:FutureWarning")
def test_mpnet_refuses_gradient_checkpointing():
    with pytest.raises(ValueError, match="MPNetModel does not support"):
        enable_sets(make("MPNet")).gradient_checkpointing_enable()


def test_mpnet_forgets_the_layout_after_a_call_even_if_it_failed():
    from skllm_cluster.set_attention import _mpnet

    model = enable_sets(make("MPNet"))
    embed(model, draw(), GROUPS)
    assert _mpnet._layout.get() is None
    with pytest.raises(IndexError):
        model(input_ids=torch.tensor([[99]]), sia=SetLayout([1]))
    assert _mpnet._layout.get() is None


def test_local_layers_get_no_mask_of_all_tokens_by_all_tokens():
    model = enable_sets(make("ModernBert"))
    masks = pack(model, draw(), SetLayout(LENGTHS))["attention_mask"]
    assert masks == {"full_attention": None, "sliding_attention": None}


@pytest.mark.parametrize("name", ["Bert", "MPNet", "ModernBert", "T5"])
def test_copies_and_pickles_of_a_model_attend_alike(name):
    model, tokens = enable_sets(make(name)), draw()
    expected = embed(model, tokens, GROUPS)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        torch.testing.assert_close(embed(twin, tokens, GROUPS), expected)
        with torch.no_grad():
            for weight in twin.parameters():
                weight.mul_(1.1)
        assert (embed(twin, tokens, GROUPS) - expected).abs().max() > 1e-3
    torch.testing.assert_close(embed(model, tokens, GROUPS), expected)


def test_enabling_twice_is_enabling_once(t5):
    model = enable_sets(enable_sets(make("T5")))
    attention = model.encoder.block[0].layer[0].SelfAttention
    assert len(attention._forward_pre_hooks) == 1


@pytest.mark.parametrize("name", ["T5", "Bert", "XLMRoberta", "ModernBert"])
def test_full_attention_is_the_plain_model_on_the_texts_strung_together(name):
    model, stock = enable_sets(make(name)), make(name)
    tokens = draw([4, 1, 6, 3, 2, 5])
    groups = [3, 1, 3, 1, 2, 3]
    found = embed(model, tokens, groups, attention="full")
    for group in (1, 2, 3):
        rows = [i for i, g in enumerate(groups) if g == group]
        ids = torch.tensor([[t for i in rows for t in tokens[i]]])
        states = stock(ids).last_hidden_state[0].split([len(tokens[i]) for i in rows])
        expected = torch.stack([s.mean(dim=0) for s in states])
        torch.testing.assert_close(found[rows], expected, atol=1e-6, rtol=0)


def test_means_are_exact_however_many_tokens_come_before():
    """Differences of running sums, as released, are off by 5e-5 at 1,600 tokens."""
    lengths = [3] * 1200
    layout = SetLayout(lengths, np.zeros(1200, dtype=int), attention="full")
    states = torch.randn(1, 3600, 4) + 1000
    expected = states[0].double().unflatten(0, (1200, 3)).mean(dim=1)
    assert (layout.pool(states) - expected).abs().max() < 1.3e-4  # a unit at 1,000


def test_half_precision_is_finite_and_near(model):
    _, fast = model
    half = copy.deepcopy(fast).to(torch.bfloat16)
    tokens = [*draw(), [7]]
    groups = [*GROUPS, 100]
    for above in (np.inf, 0):
        z = embed(half, tokens, groups, fused_above=above)
        assert z.dtype == torch.float32
        assert z.isfinite().all()
        z.sum().backward()
        assert all(
            p.grad.isfinite().all() for p in half.parameters() if p.grad is not None
        )
        cosine = torch.cosine_similarity(z.double(), embed(fast, tokens, groups))
        assert cosine.min() > 0.95


def test_dropout_of_all_weights_leaves_nothing():
    q, k, v = torch.randn(3, 1, 2, 6, 4)
    layout = SetLayout([2, 3, 1], [0, 0, 0])
    out, weights = set_attention(None, q, k, v, None, sia=layout, dropout=1.0)
    assert not out.any()
    assert weights is None


def test_dropout_is_that_of_the_joint_weights_on_average():
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 1, 1, 4, 2)
    layout = SetLayout([2, 1, 1], [0, 0, 0])
    exact, _ = set_attention(None, q, k, v, None, sia=layout)
    many = torch.stack(
        [
            set_attention(None, q, k, v, None, sia=layout, dropout=0.4)[0]
            for _ in range(800)
        ]
    )
    error = many.std(dim=0) / 800**0.5
    assert (many.mean(dim=0) - exact).abs().lt(5 * error + 1e-6).all()
    assert error.min() > 0


def test_sets_of_very_different_sizes_share_no_rectangle():
    sizes = [300, 2, 2, 3, 40, 1, 2]
    groups = np.repeat(np.arange(len(sizes)), sizes)
    lengths = np.random.default_rng(0).integers(1, 30, size=len(groups))
    layout = SetLayout(lengths, groups)
    tokens = np.bincount(groups, lengths)
    needed = int(sum(n * m for n, m in zip(sizes, tokens, strict=True)))
    made = sum(o.owner.numel() * o.members.shape[1] for o in layout.others)
    assert len(layout.others) > 1
    assert made < 1.2 * needed < 0.3 * len(sizes) * max(sizes) * tokens.max()


def test_small_sets_share_one_rectangle():
    layout = SetLayout([5, 30, 4, 2, 3, 1], [0, 0, 1, 1, 1, 2])
    assert len(layout.others) == len(layout.rows.blocks) == 1


@pytest.mark.parametrize("seed", range(5))
def test_layouts_of_random_sets_agree_with_the_loop(seed, t5):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, rng.choice([3, 40]), size=rng.integers(1, 60))
    groups = rng.integers(0, rng.choice([1, 4, 60]) + 1, size=len(lengths))
    tokens = draw(lengths, seed)
    with torch.no_grad():
        expected, _ = embed_naively("T5", t5, tokens, groups.tolist())
        for above in (np.inf, 0):
            found = embed(t5, tokens, groups, fused_above=above)
            torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_positions_far_apart_have_the_bias_of_the_plain_model(t5):
    """Beyond 128 tokens all distances share a bucket."""
    tokens = draw([300])
    expected = make("T5")(torch.tensor(tokens)).last_hidden_state.mean(dim=1)
    torch.testing.assert_close(embed(t5, tokens), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["Deberta", "DebertaV2", "Albert", "GPT2"])
def test_a_model_that_cannot_is_refused_with_what_can(kind):
    config = getattr(transformers, f"{kind}Config")()
    with torch.device("meta"):
        model = getattr(transformers, f"{kind}Model")(config)
    with pytest.raises(ValueError, match=rf"{kind}Model cannot .* modernbert, .* t5"):
        enable_sets(model)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("T5Model", "T5"),
        ("T5ForSequenceClassification", "T5"),
        ("BertForMaskedLM", "Bert"),
        ("BertLMHeadModel", "Bert"),
    ],
)
def test_a_model_with_a_decoder_or_a_head_is_refused(kind, name):
    config = getattr(transformers, f"{name}Config")(**SMALL[name])
    config.is_decoder = kind == "BertLMHeadModel"
    model = getattr(transformers, kind)(config)
    with pytest.raises(ValueError, match=rf"{kind} cannot .* T5EncoderModel"):
        enable_sets(model)
    if name == "Bert" and config.is_decoder:
        with pytest.raises(ValueError, match="BertModel cannot"):
            enable_sets(model.bert)


def test_what_is_no_model_is_refused():
    with pytest.raises(ValueError, match="Linear cannot attend"):
        enable_sets(torch.nn.Linear(1, 1))


def test_an_old_transformers_is_named(monkeypatch):
    model = make("Bert")
    monkeypatch.setattr(model, "_can_set_attn_implementation", lambda: False)
    with pytest.raises(ImportError, match=r"BertModel of transformers \d"):
        enable_sets(model)


def test_bias_between_entities_needs_a_model_that_has_one():
    model = enable_sets(make("Bert"))
    with pytest.raises(ValueError, match=r"inter_bias=True needs .*T5, MPNet"):
        embed(model, draw(), GROUPS, inter_bias=True)


def test_a_bias_for_all_pairs_of_tokens_is_refused():
    q, k, v = torch.randn(3, 1, 2, 3, 4)
    with pytest.raises(ValueError, match=r"shape \(1, heads, 1, .* got \(1, 2, 3, 3\)"):
        set_attention(
            None,
            q,
            k,
            v,
            None,
            sia=SetLayout([3]),
            position_bias=torch.zeros(1, 2, 3, 3),
        )


def test_a_row_longer_than_the_positions_of_the_model_is_refused():
    tokens = draw([30, 30])
    for name, limit in (("Bert", 64), ("XLMRoberta", 62)):
        model = enable_sets(make(name))
        assert embed(model, tokens, [0, 0], attention="full").shape == (2, 32)
        with pytest.raises(ValueError, match=rf"for {limit} tokens, got a row of 65"):
            embed(model, [*tokens, [3] * 5], [0, 0, 0], attention="full")


def test_tokens_that_are_not_those_of_the_layout_are_refused(t5):
    for layout in (SetLayout([2, 2]), SetLayout([2, 1], padded=True)):
        with pytest.raises(ValueError, match="The layout must be that of the 3 tokens"):
            pack(t5, [[1, 2], [3]], layout)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), r"at least one, got shape \(0,\)"),
        (([[1]],), r"got shape \(1, 1\)"),
        (([1.5],), "of float64"),
        (([3, 0, 1],), "Entity 1 has 0 tokens"),
        (([3, 1], [0]), r"shape \(2,\), got shape \(1,\)"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SetLayout(*arguments)


@pytest.mark.parametrize("name", ["attention", "pooled_key"])
def test_an_unknown_variant_is_refused_with_those_there_are(name):
    with pytest.raises(ValueError, match=rf"{name} must be one of \[.*'\], got 'x'"):
        SetLayout([1], **{name: "x"})


def test_unknown_names_of_the_package_are_attribute_errors():
    import skllm_cluster.set_attention as package

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # noqa: B018
    assert set(dir(package)) == set(package.__all__)
