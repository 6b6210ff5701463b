"""Attention to the tokens of one's own entity, and to other entities of the set."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import dropout as drop
from torch.nn.functional import scaled_dot_product_attention

from ._fused import MASKED, fused_attention
from ._layout import Block, SetLayout, at_least_float32, take

__all__ = ["set_attention"]


def set_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    sia: SetLayout | None = None,
    dropout: float = 0.0,
    scaling: float | None = None,
    position_bias: Tensor | None = None,
    rotation: tuple[Tensor, Tensor] | None = None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend within entities and between them (CACTUS, Eq. 2-5).

    It has the signature of an attention function of transformers, where
    :func:`enable_sets` registers it as ``"sia"``.

    Parameters
    ----------
    module : torch.nn.Module
        The attention layer; not used.
    query, key, value : Tensor, shape (B, H, L, D)
        H heads. One row of all tokens (B is 1), or entities padded to one length, as
        the layout says.
    attention_mask : Tensor of bool, shape (B, 1, L, L), or None
        True where a token sees another. Looked at only if there is no layout, which
        knows what is padding.
    sia : SetLayout, default=None
        None: ordinary attention.
    dropout : float, default=0.0
        Of the attention weights, own and others' alike.
    scaling : float, default=None
        Of the products of queries and keys. None: 1 / sqrt(D).
    position_bias : Tensor, shape (1, H, 1, 2 m + 1), default=None
        What is added within an entity if the key is -m, ..., m tokens to the right of
        the query, and further left or right than that. Without a layout, what is
        added for each pair of tokens, shape (1, H, L, L).
    rotation : (Tensor, Tensor), each of shape (1, L, D), default=None
        Cosine and sine that queries and keys were rotated by. Between entities there
        is no position, so it is undone there.
    sliding_window : int, default=None
        Within an entity, a token sees those that are closer than that.
    **kwargs
        Ignored.

    Returns
    -------
    output : Tensor, shape (B, L, H, D)
    weights : None
        They are never made as a whole.

    Raises
    ------
    ValueError
        If the layout wants an ``inter_bias`` and there is no position bias, or the
        model was not prepared by :func:`enable_sets`.

    See Also
    --------
    SetLayout : The variants: pooling, bias, NIA and FIA.

    Notes
    -----
    With o and l, o' and l' the outputs and log-sum-exps of attention to the own tokens
    and to the other entities, each by a softmax of its own, the softmax over both is

    .. math:: o + σ(l' - l) (o' - o)

    so that no key is repeated for an entity and no two kinds of scores share a tensor.
    Dropout of both is dropout of the whole, since the log-sum-exps know of none. An
    entity without others has l' near minus infinity, and the output is o.

    Examples
    --------
    >>> import torch
    >>> from skllm_cluster.set_attention import SetLayout, set_attention
    >>> q, k, v = torch.randn(3, 1, 2, 5, 4)  # 5 tokens, 2 heads of size 4
    >>> layout = SetLayout([2, 2, 1], groups=[0, 0, 1])
    >>> output, _ = set_attention(None, q, k, v, None, sia=layout)
    >>> output.shape
    torch.Size([1, 5, 2, 4])
    """
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if sia is None:
        qkv = query, key, value
        return _ordinary(*qkv, attention_mask, position_bias, scale, dropout), None
    _check_bias(sia, position_bias)
    shape = query.transpose(1, 2).shape  # (B, L, H, D)
    q, k, v = (x.transpose(1, 2).flatten(0, 1) for x in (query, key, value))
    # Tokens come first from here on: (n, H, D).
    bias = [_own_bias(b, position_bias, sliding_window, q) for b in sia.rows.blocks]
    if sia.sets is None:
        return _alone(sia, q, k, v, bias, scale, dropout).reshape(shape), None
    own, own_mass = _to_own(sia, q, k, v, bias, scale, dropout)
    if rotation is not None:
        q, k = (_unrotate(x, rotation, shape) for x in (q, k))
    far, far_mass = _to_others(sia, q, k, v, scale, dropout)
    if sia.inter_bias and position_bias is not None:
        far_mass = far_mass + position_bias[0, :, 0, -1]
    gate = torch.sigmoid(far_mass - own_mass)[..., None].to(own.dtype)
    return (own + gate * (far - own)).reshape(shape), None


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float,
    dropout: float,
    *,
    bias: Tensor | None = None,
    hidden: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Attend, and tell the log-sum-exp of the scores: (B, H, L, D) and (B, H, L)."""
    scores = at_least_float32(q @ k.mT) * scale  # (B, H, L, keys)
    if bias is not None:
        scores = scores + bias
    if hidden is not None:
        scores = scores.masked_fill(hidden, MASKED)
    weights, mass = _Softmax.apply(scores)  # type: ignore[no-untyped-call]
    return drop(weights, dropout).to(v.dtype) @ v, mass


class _Softmax(torch.autograd.Function):
    """Softmax and log-sum-exp at once, keeping one tensor for the gradient of both."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor) -> tuple[Tensor, Tensor]:
        mass = scores.logsumexp(dim=-1)
        weights = (scores - mass[..., None]).exp_()
        ctx.save_for_backward(weights)
        return weights, mass

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (weights,) = ctx.saved_tensors
        d_weights, d_mass = grads
        row = (d_weights * weights).sum(dim=-1)
        d_scores: Tensor = weights * (d_weights + (d_mass - row)[..., None])
        return d_scores


def _alone(
    sia: SetLayout,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: list[Tensor | None],
    scale: float,
    dropout: float,
) -> Tensor:
    """Attend within rows, and to nothing else: (n, H, D)."""
    outputs = []
    for (q_, k_, v_), b in zip(_heads_first(sia, q, k, v), bias, strict=True):
        output = scaled_dot_product_attention(q_, k_, v_, b, dropout, scale=scale)
        outputs.append(output.transpose(1, 2))
    return sia.rows.unpad(outputs)


def _to_own(
    sia: SetLayout,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: list[Tensor | None],
    scale: float,
    dropout: float,
) -> tuple[Tensor, Tensor]:
    """Attend to the tokens of one's own entity: (n, H, D) and (n, H)."""
    outputs, masses = [], []
    for (q_, k_, v_), b in zip(_heads_first(sia, q, k, v), bias, strict=True):
        output, mass = attend(q_, k_, v_, scale, dropout, bias=b)
        outputs.append(output.transpose(1, 2))
        masses.append(mass.transpose(1, 2))
    return sia.rows.unpad(outputs), sia.rows.unpad(masses)


def _to_others(
    sia: SetLayout, q: Tensor, k: Tensor, v: Tensor, scale: float, dropout: float
) -> tuple[Tensor, Tensor]:
    """Attend to the pooled other entities of the set: (n, H, D) and (n, H)."""
    assert sia.sets is not None
    if sia.pooled_key == "first":
        pooled_k, pooled_v = take(k, sia.first), take(v, sia.first)  # (R, H, D)
    else:
        pooled = k if sia.pooled_key == "key" else q
        means = sia.entities.mean(torch.stack([pooled, v], dim=1))  # (R, 2, H, D)
        pooled_k, pooled_v = means.to(k.dtype).unbind(dim=1)
    outputs, masses = [], []
    for others, block in zip(sia.others, sia.sets.pad(q), strict=True):
        q_ = block.transpose(1, 2)  # (S, H, M, D)
        k_ = take(pooled_k, others.members).transpose(1, 2)  # (S, H, N, D)
        v_ = take(pooled_v, others.members).transpose(1, 2)
        if dropout == 0 and _is_large(q_, k_, sia):
            output, mass = fused_attention(q_, k_, v_, others, scale)
        else:
            hidden = others.hidden[:, None]  # (S, 1, M, N)
            output, mass = attend(q_, k_, v_, scale, dropout, hidden=hidden)
        outputs.append(output.transpose(1, 2))
        masses.append(mass.transpose(1, 2))
    return sia.sets.unpad(outputs), sia.sets.unpad(masses)


def _is_large(q: Tensor, k: Tensor, sia: SetLayout) -> bool:
    n_scores = q.shape[0] * q.shape[1] * q.shape[2] * k.shape[2]
    return q.device.type in ("cpu", "cuda") and n_scores > sia.fused_above


def _heads_first(sia: SetLayout, *tensors: Tensor) -> Any:
    """Give queries, keys and values of each block of rows, shape (B, H, W, D)."""
    return zip(
        *([x.transpose(1, 2) for x in sia.rows.pad(t)] for t in tensors), strict=True
    )


def _own_bias(
    block: Block, position_bias: Tensor | None, window: int | None, like: Tensor
) -> Tensor | None:
    """Add up what is known of own tokens: (B or 1, H or 1, W or 1, W), or None."""
    width = block.index.shape[1]
    bias = None if position_bias is None else _by_distance(position_bias, width)
    allowed = None if block.full else block.real[:, None, None]  # (B, 1, 1, W)
    if window is not None and width > window:
        place = torch.arange(width, device=like.device)
        near = (place[:, None] - place).abs() < window  # (W, W)
        allowed = near if allowed is None else near & allowed
    if allowed is None:
        return bias
    masked = max(MASKED, torch.finfo(like.dtype).min / 2)
    if bias is None:
        bias = torch.zeros((), dtype=like.dtype, device=like.device)
    return torch.where(allowed, bias.to(like.dtype), masked)


def _by_distance(position_bias: Tensor, width: int) -> Tensor:
    """Turn the bias of each distance into that of each pair: (1, H, W, W)."""
    farthest = position_bias.shape[-1] // 2
    distance = torch.arange(1 - width, width, device=position_bias.device)
    distance = distance.clamp(-farthest, farthest) + farthest
    lines = position_bias[:, :, 0].index_select(-1, distance)  # (1, H, 2 W - 1)
    return lines.unfold(-1, width, 1).flip(-2)  # row i begins at the distance -i


def _unrotate(x: Tensor, rotation: tuple[Tensor, Tensor], shape: torch.Size) -> Tensor:
    """Turn vectors, shape (n, H, D), back by the angles of their positions."""
    cos, sin = (
        r.expand(shape[0], -1, -1).flatten(0, 1)[:, None] for r in rotation
    )  # (n, 1, D)
    exact = at_least_float32(x)
    left, right = exact.chunk(2, dim=-1)
    half = torch.cat([right, -left], dim=-1)
    return (exact * cos + half * sin).to(x.dtype)


def _check_bias(sia: SetLayout, position_bias: Tensor | None) -> None:
    if position_bias is None:
        if sia.inter_bias:
            raise ValueError(
                "inter_bias=True needs a model with a table of relative position "
                "biases (T5, MPNet); this one has none."
            )
    elif position_bias.shape[-2] != 1:
        raise ValueError(
            "position_bias must be given by distance, shape (1, heads, 1, 2 m + 1), "
            f"got {tuple(position_bias.shape)}. Prepare the model by enable_sets."
        )


def _ordinary(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    scale: float,
    dropout: float,
) -> Tensor:
    """Attend as a model does that knows of no sets: (B, L, H, D)."""
    if bias is not None and mask is not None:
        mask = torch.where(mask, bias, max(MASKED, torch.finfo(q.dtype).min / 2))
    elif bias is not None:
        mask = bias
    output = scaled_dot_product_attention(q, k, v, mask, dropout, scale=scale)
    return output.transpose(1, 2)
