"""Ward's tree of many rows: its time beside the k-means inside, and its memory.

    python benchmarks/granularity_speed.py
    python benchmarks/granularity_speed.py --exact 20000

Rows are drawn around 150 centres. In the two-step form k-means is timed inside the
very call that it is a part of, so that both see the same machine. For the exact form,
SciPy's Ward is timed beside it where its distances take less than a gigabyte. Memory
is what is allocated beyond the input, at its peak.
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

from skllm_cluster import hierarchy
from skllm_cluster.hierarchy import Tree, ward_tree
from skllm_cluster.sampling import merge_pairs

N_CLASSES = 150


def draw(n, d=384):
    """Vectors of unit length, as those of texts, about as near to their centres."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(N_CLASSES, d))
    X = centres[rng.integers(N_CLASSES, size=n)] + rng.normal(size=(n, d))
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


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


class TimedKMeans(hierarchy.MiniBatchKMeans):
    """Mini-batch k-means that notes the time of each fit."""

    seconds: list[float] = []  # noqa: RUF012

    def fit_predict(self, X, y=None):
        taken, labels = cpu_seconds(lambda: super(TimedKMeans, self).fit_predict(X))
        self.seconds.append(taken)
        return labels


def two_steps(n, repeats):
    X = draw(n)
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
    X = draw(n)
    seconds, tree = cpu_seconds(lambda: ward_tree(X, linkage_size=n))
    beside = "not run"
    same = "not compared"
    if n * (n - 1) * 4 < 1e9:
        taken, merges = cpu_seconds(lambda: linkage(X, "ward"))
        beside = f"{taken:.2f}"
        same = np.array_equal(merges[:, [0, 1, 3]], tree.merges[:, [0, 1, 3]])
    print(f"| {n:,} | {seconds:.2f} | {beside} | {same} |", end=" ", flush=True)
    return X, tree


def after_the_linkage(tree, k_max=200):
    """Lay the tree out, draw pairs, find their levels, count pairs, cut once."""

    def run():
        again = Tree(tree.merges, tree.leaf_of)
        pairs = merge_pairs(again, k_max=k_max, random_state=0)
        again.level(pairs)
        again.n_same(np.arange(2, k_max + 1))
        again.cut(77)

    return [1000 * cpu_seconds(run)[0] for _ in range(5)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--exact", type=int, nargs="*", default=[3_080, 10_000])
    options = parser.parse_args()
    print("| rows of 384 numbers | exact, CPU s | SciPy, CPU s | the same merges | "
          "memory MB | after the linkage, CPU ms |")  # fmt: skip
    print("|---|---|---|---|---|---|")
    for n in options.exact:
        X, tree = exact(n)
        after = spread(after_the_linkage(tree))
        # A second run: to trace memory slows what it traces.
        memory = peak_megabytes(lambda: ward_tree(X, linkage_size=n))  # noqa: B023
        print(f"{memory:.0f} | {after} |")
    if options.repeats:
        print(
            "\n| two steps | CPU s | k-means alone, CPU s | ratio |\n|---|---|---|---|"
        )
        two_steps(options.rows, options.repeats)
