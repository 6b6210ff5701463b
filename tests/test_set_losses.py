"""The losses of sets, against loops over triplets, pairs and edges."""

import math
from functools import partial
from itertools import product

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from skllm_cluster.losses import (  # noqa: E402
    PAPER,
    RELEASED,
    _hinge,
    _sets,
    augmented_triplet_loss,
    basic_loss,
    cross_entropy_loss,
    mean_over_sets,
    structural_loss,
    triplet_loss,
)

LOSSES = {
    "triplet": triplet_loss,
    "triplet with the diagonal": partial(triplet_loss, diagonal=True),
    "augmented": partial(augmented_triplet_loss, neutral=0.1),
    "augmented, paper": partial(augmented_triplet_loss, neutral=0.1, **PAPER),
    "augmented, released": partial(augmented_triplet_loss, neutral=0.1, **RELEASED),
    "structural": structural_loss,
    "cross entropy": cross_entropy_loss,
    "basic": basic_loss,
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def draw(*shape, seed=0, n_clusters=3, unknown=False):
    """Cosine similarities (..., N, N) in float64, and labels (..., N)."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(*shape, 3, generator=generator, dtype=torch.float64)
    z = torch.nn.functional.normalize(z, dim=-1)
    low = -1 if unknown else 0
    labels = torch.randint(low, n_clusters, shape, generator=generator)
    return z @ z.mT, labels


def members(labels):
    return [e for e, label in enumerate(labels) if label != -1]


def triples(labels, diagonal):
    """T(C) of Eq. 7."""
    return [
        (e, p, n)
        for e, p, n in product(members(labels), repeat=3)
        if labels[e] == labels[p] != labels[n] and (diagonal or e != p)
    ]


def slow_augmented(S, labels, neutral, margin, diagonal, pairs):
    """Eq. 8, a term at a time; `neutral` None: Eq. 7."""
    S, labels = S.tolist(), labels.tolist()
    T = triples(labels, diagonal)
    total = sum(max(0, margin - S[e][p] + S[e][n]) for e, p, n in T)
    if neutral is None:
        return total / max(1, len(T))
    if pairs == "triples":
        intra, inter = {(e, p) for e, p, _ in T}, {(e, n) for e, _, n in T}
    else:
        both = list(product(members(labels), repeat=2))
        intra = {
            (e, p) for e, p in both if labels[e] == labels[p] and (diagonal or e != p)
        }
        inter = {(e, n) for e, n in both if labels[e] != labels[n]}
    total += sum(max(0, margin / 2 - S[e][p] + neutral) for e, p in intra)
    total += sum(max(0, margin / 2 - neutral + S[e][n]) for e, n in inter)
    return total / max(1, len(T) + len(intra) + len(inter))


# Triplets


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 16, 17, 30])
@pytest.mark.parametrize("unknown", [False, True])
def test_the_triplet_loss_is_the_mean_over_triplets(n, diagonal, unknown):
    for seed, margin in ((0, 0.3), (1, 0.0), (2, 1.0)):
        S, labels = draw(n, seed=seed, unknown=unknown)
        expected = slow_augmented(S, labels, None, margin, diagonal, None)
        loss = triplet_loss(S, labels, margin=margin, diagonal=diagonal)
        assert loss.item() == pytest.approx(expected, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("pairs", ["all", "triples"])
@pytest.mark.parametrize("n", [1, 2, 5, 20])
def test_the_augmented_loss_is_the_mean_over_triplets_and_pairs(n, diagonal, pairs):
    for seed, neutral in ((0, 0.0), (1, 0.4), (2, -0.9), (3, 0.95)):
        S, labels = draw(n, seed=seed, unknown=seed == 1)
        expected = slow_augmented(S, labels, neutral, 0.3, diagonal, pairs)
        settings = {"diagonal": diagonal, "pairs": pairs}
        for s in (neutral, torch.tensor(neutral, dtype=torch.float64)):
            loss = augmented_triplet_loss(S, labels, neutral=s, **settings)
            assert loss.item() == pytest.approx(expected, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("n", [2, 5, 20])
@pytest.mark.parametrize("alone", [False, True])
def test_sets_without_a_triplet_teach_by_their_pairs_unless_as_in_the_paper(n, alone):
    S, _ = draw(n)
    labels = torch.arange(n) if alone else torch.zeros(n, dtype=torch.int64)
    off = S[~torch.eye(n, dtype=torch.bool)]
    assert triplet_loss(S, labels) == 0
    assert augmented_triplet_loss(S, labels, neutral=0.0, **PAPER) == 0
    hinges = torch.relu(0.15 + (off if alone else -off))
    torch.testing.assert_close(
        augmented_triplet_loss(S, labels, neutral=0.0), hinges.mean()
    )
    released = augmented_triplet_loss(S, labels, neutral=0.0, **RELEASED)
    if alone:  # (e, e) makes triplets, whose hinges lie at 1 - margin
        hard = torch.relu(off - 0.7).sum()
        expected = (hard + hinges.sum()) / (2 * n * (n - 1) + n)
        assert triplet_loss(S, labels, diagonal=True).item() == pytest.approx(
            hard.item() / n / (n - 1)
        )
    else:
        expected = hinges.sum() / n**2
    torch.testing.assert_close(released, expected)


def test_the_presets_name_what_differs():
    assert dict(PAPER) == {"diagonal": False, "pairs": "triples"}
    assert dict(RELEASED) == {"diagonal": True, "pairs": "all"}
    with pytest.raises(TypeError):
        PAPER["diagonal"] = True


def test_the_neutral_similarity_sees_what_triplets_do_not():
    """The paper's Figure 3: every triplet is content, and no one threshold is right."""
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    S = torch.full((6, 6), -0.5, dtype=torch.float64).fill_diagonal_(1)
    for e, p, similarity in ((0, 1, 0.1), (2, 3, 0.9), (4, 5, 0.9)):
        S[e, p] = S[p, e] = similarity
    S[2:4, 4:] = S[4:, 2:4] = 0.5  # above the 0.1 of the first cluster
    assert triplet_loss(S, labels) == 0
    assert augmented_triplet_loss(S, labels, neutral=0.0) > 0


@pytest.mark.parametrize("n", [4, 19])
@pytest.mark.parametrize("settings", [PAPER, RELEASED], ids=["paper", "released"])
def test_gradients_are_those_of_finite_differences(n, settings):
    S, labels = draw(n)
    S.requires_grad_()
    neutral = torch.tensor(0.05, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda S, s: augmented_triplet_loss(S, labels, neutral=s, **settings),
        (S, neutral),
    )
    assert torch.autograd.gradgradcheck(
        partial(triplet_loss, labels=labels, diagonal=settings["diagonal"]), (S,)
    )


def literal(S, labels, margin):
    """Eq. 7 by a tensor of all triplets, for autograd to differentiate."""
    same = labels[:, None] == labels
    positive = same & ~torch.eye(len(S), dtype=torch.bool)
    counted = positive[:, :, None] & ~same[:, None, :]
    hinges = torch.relu(S[:, None, :] - (S - margin)[:, :, None])
    return (hinges * counted).sum() / max(1, counted.sum())


@pytest.mark.parametrize("n", [8, 16, 17, 40])
@pytest.mark.parametrize("margin", [0.0, 0.25])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_triplet_on_the_hinge_has_no_gradient_in_either_form(
    n, margin, dtype, monkeypatch
):
    """Similarities on a grid, so that many triplets lie exactly on the hinge."""
    generator = torch.Generator().manual_seed(n)
    S = (torch.randint(-8, 9, (n, n), generator=generator) / 8).to(dtype)
    labels = torch.randint(4, (n,), generator=generator)
    gradients = []
    for dense in (0, n, None):
        monkeypatch.setattr(_hinge, "_DENSE", dense)
        leaf = S.clone().requires_grad_()
        loss = (literal if dense is None else triplet_loss)(leaf, labels, margin=margin)
        loss.backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=0)
    torch.testing.assert_close(gradients[0], gradients[2])


@pytest.mark.parametrize("n", [10, 33])
def test_the_triplet_loss_is_the_same_in_blocks(n, monkeypatch):
    S, labels = draw(3, n)
    expected = triplet_loss(S, labels)
    for block in (1, n, 5 * n + 1):
        monkeypatch.setattr(_hinge, "_CPU_BLOCK", block)
        torch.testing.assert_close(triplet_loss(S, labels), expected, rtol=0, atol=0)


@pytest.mark.parametrize("n", [6, 100])
def test_single_precision_costs_nothing_but_its_rounding(n):
    S, labels = draw(n)
    leaf = S.float().requires_grad_()
    loss = triplet_loss(leaf, labels)
    loss.backward()
    assert loss.dtype == leaf.grad.dtype == torch.float32
    assert loss.item() == pytest.approx(triplet_loss(S, labels).item(), rel=1e-6)


def test_duplicates_with_different_labels_have_the_whole_margin_as_loss():
    S = torch.ones(20, 20)
    labels = torch.arange(20) % 2
    leaf = S.requires_grad_()
    loss = triplet_loss(leaf, labels)
    loss.backward()
    assert loss.item() == pytest.approx(0.3, rel=1e-6)
    assert torch.isfinite(leaf.grad).all()


@pytest.mark.parametrize("n", [5, 20])
def test_the_triplet_losses_need_no_look_at_the_values(n):
    """On a device, looking at one would wait for all that comes before."""
    S = torch.empty(2, n, n, device="meta", requires_grad=True)
    labels = torch.empty(2, n, device="meta", dtype=torch.int64)
    neutral = torch.empty((), device="meta", requires_grad=True)
    for settings in (PAPER, RELEASED):
        loss = augmented_triplet_loss(S, labels, neutral=neutral, **settings)
        loss.sum().backward()
        assert S.grad.shape == S.shape


def test_pairs_must_be_all_or_triples():
    S, labels = draw(3)
    with pytest.raises(ValueError, match="'all' or 'triples', got 'none'"):
        augmented_triplet_loss(S, labels, neutral=0.0, pairs="none")


# Pairs


def test_cross_entropy_is_the_mean_over_pairs_of_two():
    S, labels = draw(7, unknown=True, seed=1)
    S[0, 1] = 1.0
    logs = []
    for e, f in product(members(labels.tolist()), repeat=2):
        if e != f:
            p = min(max((S[e, f].item() + 1) / 2, 1e-5), 1 - 1e-5)
            logs.append(-math.log(p if labels[e] == labels[f] else 1 - p))
    loss = cross_entropy_loss(S, labels)
    assert loss.item() == pytest.approx(sum(logs) / len(logs), rel=1e-12)


def test_cross_entropy_is_finite_where_certainty_is_wrong():
    S = torch.ones(2, 2, requires_grad=True)
    loss = cross_entropy_loss(S, torch.tensor([0, 1]))
    loss.backward()
    assert loss.item() == pytest.approx(-math.log(1e-5), rel=1e-2)
    assert torch.isfinite(S.grad).all()
    wider = cross_entropy_loss(S, torch.tensor([0, 1]), clip=0.25)
    assert wider.item() == pytest.approx(-math.log(0.25))


def test_the_basic_loss_is_the_mean_of_signed_similarities():
    S, labels = draw(6, unknown=True, seed=2)
    signed = [
        -S[e, f].item() if labels[e] == labels[f] else S[e, f].item()
        for e, f in product(members(labels.tolist()), repeat=2)
        if e != f
    ]
    assert basic_loss(S, labels).item() == pytest.approx(sum(signed) / len(signed))


# Structure


def kruskal(edges):
    """Maximum spanning forest of (weight, node, node), edge by edge."""
    root, chosen = {}, []

    def find(e):
        while e in root:
            e = root[e]
        return e

    for _, e, f in sorted(edges, reverse=True):
        if find(e) != find(f):
            root[find(e)] = find(f)
            chosen.append((e, f))
    return chosen


def slow_structural(S, labels, C, r):
    S, labels = S.tolist(), labels.tolist()
    edges = [(e, f) for e, f in product(members(labels), repeat=2) if e < f]
    same = {(e, f) for e, f in edges if labels[e] == labels[f]}
    gold = kruskal([(S[e][f], e, f) for e, f in same])
    helped = [(S[e][f] + (-C if (e, f) in same else C * r), e, f) for e, f in edges]
    rival = kruskal([edge for edge in helped if edge[0] > 0])
    within = sum(edge in same for edge in rival)
    distance = len(gold) - within + r * (len(rival) - within)
    gap = sum(S[e][f] for e, f in rival) - sum(S[e][f] for e, f in gold)
    return max(0, C * distance + gap) if distance > 0 else 0


@pytest.mark.parametrize("n", [1, 2, 3, 8, 15])
@pytest.mark.parametrize(("C", "r"), [(0.15, 0.5), (1.0, 0.1)])
def test_the_structural_loss_is_that_of_forests_grown_edge_by_edge(n, C, r):
    for seed in range(4):
        S, labels = draw(n, seed=seed, unknown=seed % 2)
        loss = structural_loss(S, labels, C=C, r=r)
        expected = slow_structural(S, labels, C, r)
        assert loss.item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_the_structural_loss_has_the_gradient_of_its_two_sums():
    S, labels = draw(8)
    S.requires_grad_()
    assert torch.autograd.gradcheck(partial(structural_loss, labels=labels), (S,))
    structural_loss(S, labels).backward()
    assert set(S.grad.unique().tolist()) == {-1.0, 0.0, 1.0}


def test_a_similarity_of_zero_is_an_edge():
    """Were it none, entity 1 would be in no forest, and nothing would hold it."""
    S = torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.5, 0.5, 1.0]])
    S.requires_grad_()
    loss = structural_loss(S, torch.tensor([0, 0, 1]))
    loss.backward()
    # The rival forest is 0-2, 1-2; delta = 1 - 0 + 0.5 * 2.
    assert loss.item() == pytest.approx(0.15 * 2 + 1.0 - 0.0)
    assert S.grad[0, 1] == -1


@pytest.mark.parametrize("alone", [False, True])
def test_a_right_structure_has_no_loss(alone):
    S = torch.full((4, 4), -0.9 if alone else 0.9).fill_diagonal_(1)
    labels = torch.arange(4) if alone else torch.zeros(4, dtype=torch.int64)
    assert structural_loss(S, labels) == 0


# What all have in common


@every_loss
@pytest.mark.parametrize("n", [2, 6, 20])
def test_a_batch_has_the_losses_of_its_sets(loss, n):
    S, labels = draw(2, 3, n, unknown=True)
    losses = loss(S, labels)
    assert losses.shape == (2, 3)
    for i, j in product(range(2), range(3)):
        torch.testing.assert_close(losses[i, j], loss(S[i, j], labels[i, j]))


@every_loss
@pytest.mark.parametrize("n", [4, 15, 25])
def test_entities_of_no_label_change_nothing(loss, n):
    S, labels = draw(n)
    with_more, _ = draw(n + 3, seed=1)
    with_more[:n, :n] = S
    filled = torch.cat([labels, torch.full((3,), -1)])
    with_more.requires_grad_()
    found = loss(with_more, filled)
    torch.testing.assert_close(found.detach(), loss(S, labels))
    found.backward()
    assert (with_more.grad[n:] == 0).all()
    assert (with_more.grad[:, n:] == 0).all()


@every_loss
@pytest.mark.parametrize("n", [5, 20])
def test_neither_order_nor_names_matter(loss, n):
    S, labels = draw(n)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    turned = loss(S[order][:, order], 7 - labels[order])
    torch.testing.assert_close(turned, loss(S, labels))


@every_loss
@pytest.mark.parametrize("labels", [[0], [-1, -1], [-1, 0]])
def test_where_there_is_no_pair_there_is_no_loss(loss, labels):
    n = len(labels)
    S = torch.full((n, n), 0.5).fill_diagonal_(1).requires_grad_()
    found = loss(S, torch.tensor(labels))
    found.backward()
    assert found == 0
    assert (S.grad == 0).all()


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened(loss, dtype):
    S, labels = draw(2, 9)
    S = S.to(dtype)
    assert loss(S, labels).dtype == torch.float32
    torch.testing.assert_close(loss(S, labels), loss(S.float(), labels))


@every_loss
@pytest.mark.parametrize(
    ("shape", "labels", "message"),
    [
        ((3,), torch.zeros(3).long(), r"\(\.\.\., N, N\), N at least 1, got \(3,\)"),
        ((2, 3), torch.zeros(3).long(), r"got \(2, 3\)"),
        ((2, 0, 0), torch.zeros(2, 0).long(), r"got \(2, 0, 0\)"),
        ((3, 3), torch.zeros(2).long(), r"shape \(3,\).*got torch.int64 of.*\(2,\)"),
        ((2, 3, 3), torch.zeros(3).long(), r"shape \(2, 3\).*of shape \(3,\)"),
        ((3, 3), torch.zeros(3), r"integers.*got torch.float32"),
    ],
)
def test_what_does_not_belong_together_is_refused(loss, shape, labels, message):
    with pytest.raises(ValueError, match=message):
        loss(torch.zeros(shape), labels)


# From embeddings


def ragged(sizes, seed=0, d=4):
    """Embeddings (T, d), groups and labels of sets whose entities are mixed up."""
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(np.arange(len(sizes)) * 10 - 5, sizes))
    z = torch.from_numpy(rng.normal(size=(len(groups), d)) * 3)
    return z, groups, rng.integers(3, size=len(groups))


@every_loss
@pytest.mark.parametrize(
    "sizes",
    [[1], [3, 3], [5, 2, 1, 9], [20, 17, 3, 40, 39, 33, 31, 4]],
    ids=["one", "equal", "small", "all"],
)
def test_the_mean_over_sets_is_that_of_one_set_after_the_other(loss, sizes):
    z, groups, labels = ragged(sizes)
    expected = []
    for group in set(groups.tolist()):
        here = torch.from_numpy(groups == group)
        own = torch.nn.functional.normalize(z[here], dim=1)
        truth = torch.from_numpy(labels)[here]
        expected.append(loss(own @ own.T, truth))
    mean = mean_over_sets(loss, z, groups, labels)
    assert mean.shape == ()
    torch.testing.assert_close(mean, torch.stack(expected).mean())


def test_sets_are_filled_up_only_to_sets_of_similar_size():
    _, groups, _ = ragged([20, 17, 3, 40, 39, 33, 31, 4, 100])
    shapes = [rows.shape for rows in _sets._batches(groups)]
    assert shapes == [(1, 100), (3, 40), (1, 31), (2, 20), (2, 4)]
    rows = np.concatenate([rows[rows >= 0] for rows in _sets._batches(groups)])
    assert sorted(rows.tolist()) == list(range(len(groups)))


def test_a_set_has_no_part_in_the_gradient_of_another():
    z, groups, labels = ragged([6, 8, 25])
    z.requires_grad_()

    def first_only(similarity, truth):
        each = triplet_loss(similarity, truth)
        return each * (similarity.shape[-1] == 25)

    mean_over_sets(first_only, z, groups, labels).backward()
    moved = (z.grad != 0).any(dim=1).numpy()
    assert set(groups[moved].tolist()) == {15}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_similarities_are_precise_under_autocast(dtype):
    z, groups, labels = ragged([6, 30], d=64)
    z = z.to(dtype).requires_grad_()
    seen = []

    def watch(similarity, truth):
        seen.append(similarity.dtype)
        return triplet_loss(similarity, truth)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        mean = mean_over_sets(watch, z, groups, labels)
    mean.backward()
    assert set(seen) == {torch.float32}
    expected = mean_over_sets(triplet_loss, z.detach().double(), groups, labels)
    assert mean.item() == pytest.approx(expected.item(), rel=1e-5)
    assert z.grad.dtype == dtype


def test_groups_and_labels_may_be_lists_arrays_or_tensors():
    z, groups, labels = ragged([4, 7])
    expected = mean_over_sets(triplet_loss, z, groups, labels)
    for convert in (list, torch.from_numpy):
        found = mean_over_sets(triplet_loss, z, convert(groups), convert(labels))
        assert torch.equal(found, expected)


def test_a_learnt_neutral_similarity_moves_to_where_clusters_part():
    z, groups, labels = ragged([8, 8], seed=1)
    neutral = torch.zeros((), requires_grad=True)
    loss = partial(augmented_triplet_loss, neutral=neutral)
    mean_over_sets(loss, z, groups, labels).backward()
    eps = 1e-4
    low, high = (
        mean_over_sets(
            partial(augmented_triplet_loss, neutral=s), z, groups, labels
        ).item()
        for s in (-eps, eps)
    )
    assert neutral.grad.item() == pytest.approx((high - low) / 2 / eps, abs=1e-3)


@pytest.mark.parametrize(
    ("n", "groups", "labels"),
    [(0, [], []), (2, [0], [0, 0]), (2, [0, 0], [0]), (2, [[0, 0]], [0, 0])],
)
def test_embeddings_groups_and_labels_must_have_one_length(n, groups, labels):
    with pytest.raises(ValueError, match=r"one length and not be empty, got shapes"):
        mean_over_sets(triplet_loss, torch.zeros(n, 2), groups, labels)
