"""Loading the model of an encoder of sets, and freezing a part of it."""

from __future__ import annotations

from typing import Any

from .._validation import import_extra
from ._base import no_progress_bars

__all__ = ["freeze", "load_model"]

# Classes that are an encoder only, where AutoModel would load a decoder too.
_ENCODERS = {"mt5": "MT5EncoderModel", "t5": "T5EncoderModel"}
# What configurations call their rates of dropout.
_DROPOUT = (
    "attention_dropout",
    "attention_probs_dropout_prob",
    "dropout",
    "dropout_rate",
    "embedding_dropout",
    "hidden_dropout_prob",
    "mlp_dropout",
)


def load_model(name: str, dropout: float | None) -> tuple[Any, Any]:
    """Load a model that can attend between texts, and its tokenizer.

    Parameters
    ----------
    name : str
        On the hub, or a folder.
    dropout : float or None
        In place of all rates of dropout of its configuration.

    Raises
    ------
    TypeError, ValueError
        If it is of a kind that cannot.
    """
    transformers = import_extra("transformers", "SetEncoder")
    import torch

    from ..set_attention import enable_sets

    tokenizer = transformers.AutoTokenizer.from_pretrained(name)
    config = transformers.AutoConfig.from_pretrained(name)
    if dropout is not None:
        for key in _DROPOUT:
            if hasattr(config, key):
                setattr(config, key, float(dropout))
    kind = getattr(transformers, _ENCODERS.get(config.model_type, "AutoModel"))
    with no_progress_bars():
        model = kind.from_pretrained(name, config=config, dtype=torch.float32)
    return enable_sets(model.eval()), tokenizer


def freeze(model: Any, share: float) -> None:
    """Freeze the token embeddings and the lowest share of the layers, never all."""
    import torch

    stacks = [list(m) for m in model.modules() if isinstance(m, torch.nn.ModuleList)]
    layers = max(stacks, key=len)
    count = min(round(share * len(layers)), len(layers) - 1)
    if count:
        embeddings = getattr(model, "embeddings", None) or model.get_input_embeddings()
        for module in (embeddings, *layers[:count]):
            module.requires_grad_(False)
