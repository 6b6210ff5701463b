"""Time and memory of the number of clusters, beside what it replaces.

    python benchmarks/granularity_speed.py
    python benchmarks/granularity_speed.py --exact 3080 20000 --repeats 0

Rows are drawn around 150 centres. Choosing k is compared with the step as the paper's
release does it: a dictionary from row to cluster for every k, then scikit-learn's
F-measure for every k. In the two-step tree k-means is timed inside the very call that
it is a part of, so that both see the same machine. For the exact tree, SciPy's Ward is
timed beside it where its distances take less than a gigabyte. Memory is what is
allocated beyond the input, at its peak.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import argparse
import time
import tracemalloc

import numpy as np
from scipy.cluster.hierarchy import linkage
from sklearn.metrics import fbeta_score

from skllm_cluster import hierarchy
from skllm_cluster.criteria import f_beta, pair_match
from skllm_cluster.hierarchy import Tree, ward_tree
from skllm_cluster.sampling import level_pairs, merge_pairs

N_CLASSES, K_MAX = 150, 200


def draw(n, d=384):
    """Vectors of unit length, as those of texts, about as near to their centres."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(N_CLASSES, d))
    y = rng.integers(N_CLASSES, size=n)
    X = centres[y] + rng.normal(size=(n, d))
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32), y


def cpu_seconds(call):
    start = time.process_time()
    value = call()
    return time.process_time() - start, value


def peak_megabytes(call):
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return peak


def spread(values):
    return f"{np.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def as_released(tree, pairs, answers):
    """Every partition as a dictionary, then an F-measure for each."""
    k_values = range(2, K_MAX + 1)
    partitions = [dict(enumerate(tree.cut(k).tolist())) for k in k_values]
    scores = [
        fbeta_score(
            answers,
            [int(labels[a] == labels[b]) for a, b in pairs.tolist()],
            beta=0.92,
            zero_division=0,
        )
        for labels in partitions
    ]
    return k_values[int(np.argmax(scores))]


def choosing(n, repeats):
    """Choose k from the answers to 594 pairs."""
    X, y = draw(n)
    tree = ward_tree(X, linkage_size=K_MAX, random_state=0)
    k = np.arange(2, min(K_MAX, tree.n_leaves) + 1)
    print(f"\n| choosing k, {n:,} rows, 594 pairs | CPU ms | memory MB | k |")
    print("|---|---|---|---|")
    for criterion, sampler in (
        (f_beta, merge_pairs), (pair_match, level_pairs)
    ):  # fmt: skip
        pairs = sampler(tree, k_max=int(k[-1]), random_state=0)
        answers = (y[pairs[:, 0]] == y[pairs[:, 1]]).astype(int)
        levels, n_same = tree.level(pairs), tree.n_same(k)

        def alone():
            return criterion(k, levels, answers, n_same=n_same, n_rows=n)  # noqa: B023

        def with_levels():
            known = {"n_same": tree.n_same(k), "n_rows": n}
            return criterion(k, tree.level(pairs), answers, **known)  # noqa: B023

        for name, call in (("", alone), (", levels of pairs as well", with_levels)):
            taken = [1000 * cpu_seconds(call)[0] for _ in range(20)]
            print(f"| {criterion.__name__}{name} | {spread(taken)} | "
                  f"{peak_megabytes(call):.1f} | {call().best} |")  # fmt: skip
    pairs = merge_pairs(tree, k_max=int(k[-1]), random_state=0)
    answers = (y[pairs[:, 0]] == y[pairs[:, 1]]).astype(int)

    def released():
        return as_released(tree, pairs, answers)

    taken = [1000 * cpu_seconds(released)[0] for _ in range(repeats)]
    print(f"| as the release does it | {spread(taken)} | "
          f"{peak_megabytes(released):.0f} | {released()} |")  # fmt: skip


class TimedKMeans(hierarchy.MiniBatchKMeans):
    """Mini-batch k-means that notes the time of each fit."""

    seconds: list[float] = []  # noqa: RUF012

    def fit_predict(self, X, y=None):
        taken, labels = cpu_seconds(lambda: super(TimedKMeans, self).fit_predict(X))
        self.seconds.append(taken)
        return labels


def two_steps(n, repeats):
    """Time k-means and all of the tree around it."""
    X, _ = draw(n)
    print("\n| two steps | CPU s | k-means alone, CPU s | ratio |\n|---|---|---|---|")
    hierarchy.MiniBatchKMeans = TimedKMeans
    for size in (200, 1_000, 2_000):
        whole, inside = [], []
        for seed in range(repeats):
            taken, tree = cpu_seconds(
                lambda: ward_tree(X, linkage_size=size, random_state=seed)  # noqa: B023
            )
            whole.append(taken)
            inside.append(TimedKMeans.seconds[-1])
        ratio = np.array(whole) / np.array(inside)
        print(f"| {n:,}, {tree.n_leaves:,} leaves | {spread(whole)} | "
              f"{spread(inside)} | {spread(ratio)} |")  # fmt: skip


def exact(n):
    X, y = draw(n)
    seconds, tree = cpu_seconds(lambda: ward_tree(X, linkage_size=n))
    beside = "not run"
    same = "not compared"
    if n * (n - 1) * 4 < 1e9:
        taken, merges = cpu_seconds(lambda: linkage(X, "ward"))
        beside = f"{taken:.2f}"
        same = np.array_equal(merges[:, [0, 1, 3]], tree.merges[:, [0, 1, 3]])
    print(f"| {n:,} | {seconds:.2f} | {beside} | {same} |", end=" ", flush=True)
    return X, y, tree


def after_the_linkage(tree, y):
    """Lay the tree out, draw pairs, find their levels, choose k, cut."""
    k = np.arange(2, K_MAX + 1)

    def run():
        again = Tree(tree.merges, tree.leaf_of)
        pairs = level_pairs(again, random_state=0)
        answers = (y[pairs[:, 0]] == y[pairs[:, 1]]).astype(int)
        known = {"n_same": again.n_same(k), "n_rows": len(y)}
        again.cut(pair_match(k, again.level(pairs), answers, **known).best)

    return [1000 * cpu_seconds(run)[0] for _ in range(5)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--exact", type=int, nargs="*", default=[3_080, 10_000, 20_000])
    options = parser.parse_args()
    print("| rows of 384 numbers | exact tree, CPU s | SciPy, CPU s | the same merges "
          "| memory MB | after the linkage, CPU ms |")  # fmt: skip
    print("|---|---|---|---|---|---|")
    for n in options.exact:
        X, y, tree = exact(n)
        after = spread(after_the_linkage(tree, y))
        # A second run: to trace memory slows what it traces.
        memory = peak_megabytes(lambda: ward_tree(X, linkage_size=n))  # noqa: B023
        print(f"{memory:.0f} | {after} |")
    if options.repeats:
        choosing(options.rows, options.repeats)
        two_steps(options.rows, options.repeats)
