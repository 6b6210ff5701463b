"""Freezing and cutting the architectures that embedders are made of."""

import numpy as np
import pytest

from skllm_cluster.adaptation import FineTuner
from skllm_cluster.embedders import SentenceTransformerEmbedder

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
MARKS = {"cls_token_id": 101, "sep_token_id": 102}
ENDS = {"bos_token_id": 101, "eos_token_id": 102}
ARCHITECTURES = {
    "Bert": SHAPE,
    "DistilBert": {
        "dim": 32,
        "n_layers": 4,
        "n_heads": 4,
        "hidden_dim": 64,
        "max_position_embeddings": 64,
    },
    "Electra": SHAPE | {"embedding_size": 16},
    "MPNet": SHAPE,
    "ModernBert": SHAPE | MARKS | ENDS,
    "Roberta": SHAPE,
    "XLMRoberta": SHAPE,
    "T5": {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 4, "num_heads": 4},
}
TEXTS = [
    "a b c d e f",
    "where is my card",
    "hello",
    "a long message about a card that was lost in the mail only yesterday",
]


@pytest.fixture(scope="module", params=sorted(ARCHITECTURES))
def embedder(request, minilm_path, tmp_path_factory):
    """A small model of random weights in a folder, with MiniLM's tokenizer."""
    folder = tmp_path_factory.mktemp(request.param)
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm_path)
    config = getattr(transformers, f"{request.param}Config")(
        vocab_size=tokenizer.vocab_size, **ARCHITECTURES[request.param]
    )
    kind = "T5EncoderModel" if request.param == "T5" else f"{request.param}Model"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        getattr(transformers, kind)(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return SentenceTransformerEmbedder(folder, max_length=48)


@pytest.mark.parametrize("frozen", [0.0, 0.5, 0.99])
def test_training_starts_from_the_vectors_of_inference(embedder, frozen):
    embedder.module.eval()
    forward = embedder.forward_from(TEXTS, frozen)
    with torch.no_grad():
        found = forward(np.array([3, 0, 2, 1])).numpy()
    embedder.module.requires_grad_(True)
    np.testing.assert_allclose(found, embedder.encode(TEXTS)[[3, 0, 2, 1]], atol=2e-6)


def test_a_text_alone_has_the_vector_that_it_has_among_others(embedder):
    together = embedder.encode(TEXTS)
    alone = np.concatenate([embedder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(alone, together, atol=2e-6)


def test_frozen_layers_stay_and_the_layers_above_move(embedder):
    tuner = FineTuner(learning_rate=1e-3, frozen=0.5)
    tuned = tuner.adapt(embedder, TEXTS, [[0, 1, 2], [1, 3, 2]], random_state=0)
    changed = {
        name
        for (name, before), after in zip(
            embedder.module.named_parameters(),
            tuned.module.parameters(),
            strict=True,
        )
        if not torch.equal(before, after)
    }
    # The first number in a name is that of the transformer among the modules.
    layers = {
        next((part for part in name.split(".")[1:] if part.isdigit()), None)
        for name in changed
    }
    assert layers - {None} == {"2", "3"}
