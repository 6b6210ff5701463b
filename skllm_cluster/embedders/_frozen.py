"""Split a transformer into a part that is frozen and a part that is trained."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["split_at"]

logger = logging.getLogger(__name__)

# Encoders whose lower layers need nothing but the output of the layer below. T5, of
# which Instructor is made, is none of them: its first layer owns the position bias.
_SEPARABLE = {"bert", "distilbert", "mpnet", "roberta", "xlm-roberta"}

Lower = Callable[[dict[str, Any]], Any]
Upper = Callable[[dict[str, Any]], dict[str, Any]]


def split_at(model: Any, frozen: float) -> tuple[Lower | None, Upper]:
    """Freeze the lowest share of a SentenceTransformer's layers, and cut above them.

    Parameters
    ----------
    model : SentenceTransformer
        Its frozen parameters lose ``requires_grad``.
    frozen : float in [0, 1)
        Share of the layers, rounded to a whole number of them. One is always trained.

    Returns
    -------
    lower : callable or None
        From features to the hidden states above the frozen layers, shape (B, L, d).
        None if nothing is frozen or the architecture does not allow the cut; the
        frozen layers are then computed anew in every step.
    upper : callable
        From features (with ``inputs_embeds`` from ``lower``, if that is not None) to
        features with ``sentence_embedding``, shape (B, d).
    """
    transformer = getattr(model[0], "model", None) or model[0].auto_model
    stack_name, layers = _layers(transformer)
    n_frozen = min(round(frozen * len(layers)), len(layers) - 1)
    if n_frozen == 0:
        return None, model
    if transformer.config.model_type not in _SEPARABLE:
        logger.info("frozen layers of %s are not kept", transformer.config.model_type)
        _freeze(_embeddings(transformer), *layers[:n_frozen])
        return None, model
    _freeze(transformer.embeddings, *layers[:n_frozen])
    bottom = _with(transformer, stack_name, torch.nn.ModuleList(layers[:n_frozen]))
    top = _with(transformer, stack_name, torch.nn.ModuleList(layers[n_frozen:]))
    top.embeddings = _Given()

    def lower(features: dict[str, Any]) -> Any:
        was_training = bottom.training
        bottom.eval()
        try:
            return bottom(
                input_ids=features["input_ids"],
                attention_mask=features["attention_mask"],
            ).last_hidden_state
        finally:
            bottom.train(was_training)

    def upper(features: dict[str, Any]) -> dict[str, Any]:
        features["token_embeddings"] = top(
            inputs_embeds=features["inputs_embeds"],
            attention_mask=features["attention_mask"],
        ).last_hidden_state
        for module in list(model)[1:]:
            features = module(features)
        return features

    return lower, upper


class _Given(torch.nn.Module):
    """Stands where the token embeddings were: the states from below are given."""

    def forward(self, *given: Any, inputs_embeds: Any = None, **_: Any) -> Any:
        if inputs_embeds is None:  # DistilBERT passes it by place
            return next(value for value in given if value is not None)
        return inputs_embeds


def _freeze(*modules: Any) -> None:
    for module in modules:
        module.requires_grad_(False)


def _embeddings(transformer: Any) -> Any:
    return transformer.get_input_embeddings()


def _layers(transformer: Any) -> tuple[str, list[Any]]:
    """Find the stack of layers: the longest ModuleList, and its dotted name."""
    stacks = {
        name: module
        for name, module in transformer.named_modules()
        if isinstance(module, torch.nn.ModuleList)
    }
    name = max(stacks, key=lambda n: len(stacks[n]))
    return name, list(stacks[name])


def _with(module: Any, path: str, child: Any) -> Any:
    """Copy a module, but for the child at a dotted path; all weights are shared."""
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    name, _, rest = path.partition(".")
    twin._modules[name] = _with(module._modules[name], rest, child) if rest else child
    return twin
