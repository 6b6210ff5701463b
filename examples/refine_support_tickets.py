"""Find what support tickets are about, and name it: no key, answers simulated.

    python examples/refine_support_tickets.py

The 600 messages that ship with the library are put into classes by 200 questions. The
embedder is a toy that hashes words, and the oracle is SIMULATED: it knows the topics,
and is wrong in one answer out of ten. With a real model, exchange both::

    from skllm_cluster.embedders import SentenceTransformerEmbedder
    from skllm_cluster.oracles import LLMOracle, OpenAIChat

    embedder = SentenceTransformerEmbedder()
    oracle = LLMOracle(
        OpenAIChat("gpt-4o-mini"),  # the key is read from OPENAI_API_KEY
        perspective="topic",
        texts="support tickets",
        journal="answers.db",
    )
"""

from collections import Counter

from skllm_cluster import ClusterLLMClusterer
from skllm_cluster.datasets import load_support_messages
from skllm_cluster.embedders import HashingEmbedder
from skllm_cluster.metrics import clustering_accuracy
from skllm_cluster.oracles import TruthOracle
from skllm_cluster.refinement import Refiner

NEW = [
    "Two parcels were announced and one came.",
    "I was charged for a month that I had cancelled, in the app.",
    "Which of the two models would you take for a small kitchen?",
    "The charger gets hot and smells.",
    "Thanks, all is well again.",
]


def main():
    texts, topics = load_support_messages(return_labels="topic")
    embedder = HashingEmbedder()
    oracle = TruthOracle(texts, topics, accuracy=0.9, random_state=0)
    clusterer = ClusterLLMClusterer(
        embedder,
        oracle,
        n_clusters=8,  # leave it out for as many as there are classes
        n_questions=200,
        refiner=Refiner(),
        random_state=0,
    )
    print("Plan:", clusterer.plan(texts))
    clusterer.fit(texts)

    found = clusterer.refinement_
    print(f"\n{found.report['asked']} questions, answers simulated.")
    print("The answers were", "kept." if found.kept_ else "not kept.")
    print(f"accuracy before: {clustering_accuracy(topics, clusterer.base_labels_):.1%}")
    print(f"accuracy after:  {clustering_accuracy(topics, clusterer.labels_):.1%}")

    sizes = Counter(clusterer.labels_.tolist())
    for cluster, (name, rows) in enumerate(
        zip(found.names_, found.exemplars_, strict=True)
    ):
        print(f"\n{name}, {sizes[cluster]} texts, such as")
        print(f"  - {texts[rows[0]][:100]}")
    print(f"\n{found.nowhere_.sum()} texts seem to belong to none of these.")

    print("\nNew texts, and where they go:")
    for text, cluster in zip(NEW, clusterer.predict(NEW), strict=True):
        print(f"  - {text} -> {found.names_[cluster]}")
    print("\nThree of them are worth asking about, the least certain first:")
    for row in clusterer.suggest_questions(NEW, 3):
        print(f"  - {NEW[row]}")


if __name__ == "__main__":
    main()
