"""What refining costs beyond encoding, for few texts and for many.

    python benchmarks/guidance_speed.py [--rows 5000 100000]

Made-up vectors: 150 classes of 384 dimensions, each of two groups. Answers are
simulated, nine in ten of them right. CPU seconds are those of the whole fit, with the
clusters that nothing is asked for; memory is the largest that the process ever had.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import argparse
import resource
import time

import numpy as np

from skllm_cluster import ClusterLLMClusterer
from skllm_cluster.metrics import clustering_accuracy
from skllm_cluster.oracles import TruthOracle
from skllm_cluster.refinement import Refiner

N_CLASSES, WIDTH = 150, 384


def make_up(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw vectors around two centres for each class; (n, 384) and (n,)."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(2 * N_CLASSES, WIDTH))
    group = rng.integers(2 * N_CLASSES, size=n)
    noise = rng.normal(scale=1.5, size=(n, WIDTH))
    return (centers[group] + noise).astype(np.float32), group // 2


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[5_000, 100_000])
    print("| texts | options | base ACC | refined ACC | CPU s | of these, base | GB |")
    print("|---|---|---|---|---|---|---|")
    for n in parser.parse_args().rows:
        Z, y = make_up(n)
        texts = [f"text {i}" for i in range(n)]
        for categories in (True, False):
            clusterer = ClusterLLMClusterer(
                oracle=TruthOracle(texts, y, accuracy=0.9, random_state=0),
                n_clusters=N_CLASSES,
                n_questions=1000,
                refiner=Refiner(categories=categories),
                random_state=0,
            )
            start = time.process_time()
            clusterer.fit(Z, texts=texts)
            spent = time.process_time() - start
            start = time.process_time()
            clusterer._cluster(Z, N_CLASSES)
            base = time.process_time() - start
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            print(
                f"| {n:,} | {'names' if categories else 'groups'} "
                f"| {100 * clustering_accuracy(y, clusterer.base_labels_):.1f} "
                f"| {100 * clustering_accuracy(y, clusterer.labels_):.1f} "
                f"| {spent:.0f} | {base:.0f} | {memory:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
