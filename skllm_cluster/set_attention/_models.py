"""Which models can attend between entities, what that takes, and what they are fed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ._attention import set_attention
from ._layout import SetLayout

__all__ = ["enable_sets", "pack"]

NAME = "sia"
SUPPORTED = (
    "bert",
    "camembert",
    "distilbert",
    "electra",
    "modernbert",
    "mpnet",
    "mt5",
    "roberta",
    "t5",
    "xlm-roberta",
)
_RELATIVE = ("mt5", "t5")  # no position is given to these


def enable_sets(model: Any) -> Any:
    """Let a model of transformers attend between the entities of a set.

    Parameters
    ----------
    model : PreTrainedModel
        An encoder without a head: BERT (MiniLM, E5), RoBERTa, XLM-RoBERTa, CamemBERT,
        DistilBERT, ELECTRA, ModernBERT, MPNet, or the encoder of T5, Flan-T5 or mT5.
        It is changed in place. No weight is added.

    Returns
    -------
    model : PreTrainedModel
        The same. It takes a :class:`SetLayout` as keyword ``sia``; without one it
        does what it did before.

    Raises
    ------
    ValueError
        If the model is of another kind, or has a decoder.
    ImportError
        If this release of transformers is too old for the model.

    See Also
    --------
    pack : Makes the input.

    Notes
    -----
    The layout is passed along by the models themselves, so that it is right under
    gradient checkpointing as well. MPNet does not pass it along: it is kept aside for
    the time of a call, and transformers refuses gradient checkpointing for MPNet.

    Examples
    --------
    >>> from transformers import BertConfig, BertModel
    >>> from skllm_cluster.set_attention import SetLayout, enable_sets, pack
    >>> config = BertConfig(
    ...     vocab_size=10,
    ...     hidden_size=8,
    ...     num_hidden_layers=1,
    ...     num_attention_heads=2,
    ...     intermediate_size=8,
    ... )
    >>> model = enable_sets(BertModel(config).eval())
    >>> layout = SetLayout([3, 2], groups=[0, 0])
    >>> states = model(**pack(model, [[1, 5, 2], [1, 2]], layout)).last_hidden_state
    >>> states.shape, layout.pool(states).shape
    (torch.Size([1, 5, 8]), torch.Size([2, 8]))
    """
    import transformers
    from transformers.masking_utils import sdpa_mask

    if not _is_encoder(model):
        raise ValueError(
            f"{type(model).__name__} cannot attend between entities. Supported are "
            f"encoders without a head of the kinds {', '.join(SUPPORTED)}; of T5, "
            "T5EncoderModel."
        )
    transformers.AttentionInterface.register(NAME, set_attention)
    # Without a mask of its own the model would silently ignore what is padding.
    transformers.AttentionMaskInterface.register(NAME, sdpa_mask)
    if model.config.model_type == "mpnet":
        from ._mpnet import enable_mpnet

        return enable_mpnet(model, NAME)
    if not model._can_set_attn_implementation():
        raise ImportError(
            f"{type(model).__name__} of transformers {transformers.__version__} does "
            "not let its attention be replaced. Run: pip install 'transformers>=5.15'"
        )
    model.set_attn_implementation(NAME)
    for module in model.modules():
        if getattr(module, "has_relative_attention_bias", False):
            _hook(module, _give_bias)
        elif type(module).__name__ == "ModernBertAttention":
            _hook(module, _give_rotation)
    return model


def pack(
    model: Any, tokens: Sequence[Sequence[int]], layout: SetLayout
) -> dict[str, Any]:
    """Make the input of a model: one row of all tokens, without padding.

    Parameters
    ----------
    model : PreTrainedModel
        Prepared by :func:`enable_sets`.
    tokens : sequence of sequence of int, of length R
        Of each entity, special tokens included.
    layout : SetLayout
        Of these tokens, not ``padded``.

    Returns
    -------
    inputs : dict
        Keyword arguments of the model, the layout among them.

    Raises
    ------
    ValueError
        If the tokens are not those of the layout, or more than the model has
        positions for.

    See Also
    --------
    enable_sets : Prepares the model; it has an example of both.

    Examples
    --------
    >>> from transformers import T5Config, T5EncoderModel
    >>> from skllm_cluster.set_attention import SetLayout, enable_sets, pack
    >>> config = T5Config(
    ...     vocab_size=10, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2
    ... )
    >>> model = enable_sets(T5EncoderModel(config))
    >>> pack(model, [[5, 1], [1]], SetLayout([2, 1]))["input_ids"]
    tensor([[5, 1, 1]])
    """
    flat = np.concatenate([np.asarray(t, dtype=np.int64) for t in tokens])
    if layout.padded or len(flat) != len(layout.positions):
        raise ValueError(
            f"The layout must be that of the {len(flat)} tokens, in one row, got one "
            f"of {len(layout.positions)} tokens{', padded' * layout.padded}."
        )
    config, device = model.config, model.device
    inputs = {"input_ids": torch.from_numpy(flat)[None].to(device), NAME: layout}
    if config.model_type in _RELATIVE:
        return inputs
    check_positions(model, int(layout.positions.max()) + 1)
    positions = torch.from_numpy(layout.positions + _first_position(model))
    inputs["position_ids"] = positions[None].to(device)
    if config.model_type == "modernbert":
        # Else it would make a mask of all tokens by all tokens for its local layers.
        inputs["attention_mask"] = dict.fromkeys(set(config.layer_types))
    return inputs


def check_positions(model: Any, n_tokens: int) -> None:
    """Refuse a row of more tokens than a model has positions for.

    Parameters
    ----------
    model : PreTrainedModel
    n_tokens : int

    Raises
    ------
    ValueError
        If it has not as many. Relative positions are without limit.

    Examples
    --------
    >>> from transformers import BertConfig, BertModel
    >>> from skllm_cluster.set_attention import check_positions
    >>> config = BertConfig(
    ...     vocab_size=10,
    ...     hidden_size=8,
    ...     num_hidden_layers=1,
    ...     num_attention_heads=2,
    ...     intermediate_size=8,
    ...     max_position_embeddings=16,
    ... )
    >>> check_positions(BertModel(config), 17)
    Traceback (most recent call last):
        ...
    ValueError: BertModel has positions for 16 tokens, got a row of 17. Use ...
    """
    if model.config.model_type in _RELATIVE:
        return
    limit = model.config.max_position_embeddings - _first_position(model)
    if n_tokens > limit:
        raise ValueError(
            f"{type(model).__name__} has positions for {limit} tokens, got a row of "
            f"{n_tokens}. Use attention='sia', smaller sets or fewer tokens, or a "
            "model with relative positions such as T5."
        )


def _first_position(model: Any) -> int:
    # RoBERTa and its kin begin to count after the number of the padding token.
    first = getattr(model.embeddings, "padding_idx", None)
    return 0 if first is None else int(first) + 1


def _is_encoder(model: Any) -> bool:
    config = getattr(model, "config", None)
    known = getattr(config, "model_type", None) in SUPPORTED
    headless = getattr(model, "base_model", None) is model
    decodes = hasattr(model, "decoder") or getattr(config, "is_decoder", False)
    return known and headless and not decodes


def _hook(module: Any, hook: Any) -> None:
    if hook not in module._forward_pre_hooks.values():
        module.register_forward_pre_hook(hook, with_kwargs=True)


def _give_bias(module: Any, args: Any, kwargs: Any) -> Any:
    """Give T5's bias by distance: left to itself it makes one for all pairs of tokens.

    All layers share it. Its last entry is that of the last bucket, the released code's
    bias between entities.
    """
    if kwargs.get(NAME) is not None:
        farthest = module.relative_attention_max_distance
        table = module.relative_attention_bias
        distance = torch.arange(-farthest, farthest + 1, device=table.weight.device)
        buckets = module._relative_position_bucket(
            distance,
            bidirectional=True,
            num_buckets=module.relative_attention_num_buckets,
            max_distance=farthest,
        )
        kwargs["position_bias"] = table(buckets).T[None, :, None]  # (1, H, 1, 2 m + 1)
    return args, kwargs


def _give_rotation(module: Any, args: Any, kwargs: Any) -> Any:
    """Let the attention function know by what queries and keys are rotated."""
    if kwargs.get(NAME) is not None:
        kwargs["rotation"] = kwargs["position_embeddings"]
    return args, kwargs
