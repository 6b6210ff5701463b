"""MPNet neither uses the registry of attention functions nor passes keywords along."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from transformers.models.mpnet.modeling_mpnet import (
    MPNetEncoder,
    MPNetModel,
    MPNetSelfAttention,
)

from ._attention import set_attention
from ._layout import SetLayout

__all__ = ["enable_mpnet"]

# Right only for the time of a call. A recomputation in the backward pass would not
# find it, but transformers refuses gradient checkpointing for MPNet.
_layout: ContextVar[SetLayout | None] = ContextVar("layout", default=None)
_FARTHEST = 128  # from there on all distances share a bucket


def enable_mpnet(model: Any, name: str) -> Any:
    """Give the model, its encoder and its attention the classes below; same weights."""
    model.config._attn_implementation = name
    model.__class__ = SetMPNetModel
    model.encoder.__class__ = SetMPNetEncoder
    for layer in model.encoder.layer:
        layer.attention.attn.__class__ = SetMPNetSelfAttention
    return model


class SetMPNetModel(MPNetModel):  # type: ignore[no-untyped-call]
    """Keeps the layout for the layers."""

    def forward(self, *args: Any, sia: SetLayout | None = None, **kwargs: Any) -> Any:
        """Encode."""
        token = _layout.set(sia)
        try:
            return super().forward(*args, **kwargs)
        finally:
            _layout.reset(token)


class SetMPNetEncoder(MPNetEncoder):
    """Gives the position bias by distance, not for all pairs of tokens."""

    def compute_position_bias(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Make the bias, shape (1, H, 1, 2 m + 1)."""
        if _layout.get() is None:
            stock: Any = super().compute_position_bias
            return stock(x, *args, **kwargs)
        distance = torch.arange(-_FARTHEST, _FARTHEST + 1, device=x.device)
        bucket: Any = self.relative_position_bucket
        buckets = bucket(distance)
        return self.relative_attention_bias(buckets).T[None, :, None]


class SetMPNetSelfAttention(MPNetSelfAttention):
    """Attends by ``set_attention``."""

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        position_bias: Tensor | None = None,
        output_attentions: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Attend; there are no weights to return."""
        shape = *hidden_states.shape[:-1], -1, self.attention_head_size
        q, k, v = (
            project(hidden_states).view(shape).transpose(1, 2)
            for project in (self.q, self.k, self.v)
        )
        output, _ = set_attention(
            self,
            q,
            k,
            v,
            attention_mask,
            sia=_layout.get(),
            dropout=self.dropout.p if self.training else 0.0,
            position_bias=position_bias,
        )
        return (self.o(output.flatten(2)),)
