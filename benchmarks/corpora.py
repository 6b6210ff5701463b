"""Labelled corpora for the benchmarks, read from outside the project."""

from __future__ import annotations

import csv
import gzip
import os
from pathlib import Path

import numpy as np

#: Where the corpora lie: a folder ``shared/data`` beside the project, or wherever
#: this variable says.
DATA = Path(
    os.environ.get("SKLLM_CLUSTER_DATA")
    or Path(__file__).parents[2] / "shared" / "data"
)


def load_corpus(name: str, label: str = "label") -> tuple[list[str], np.ndarray]:
    """Read ``DATA/name.csv.gz``: its texts and labels."""
    path = DATA / f"{name}.csv.gz"
    if not path.exists():
        raise SystemExit(f"{path} is not there. Set SKLLM_CLUSTER_DATA to its folder.")
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], np.array([row[label] for row in rows])
