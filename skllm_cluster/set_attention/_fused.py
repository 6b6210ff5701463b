"""Attention to other entities that never holds all scores, with its own gradient."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from ._layout import Others

__all__ = ["MASKED", "fused_attention", "others_mask"]

# In place of minus infinity: no NaN where all is masked.
MASKED = -1e30
# The mask is made for this many pairs of token and entity at a time.
_PAIRS = 2**24
# Columns to add: one is needed, and kernels on CUDA want a multiple of 8.
_COLUMNS = 8
_ops = torch.ops.aten


def fused_attention(
    q: Tensor, k: Tensor, v: Tensor, others: Others, scale: float
) -> tuple[Tensor, Tensor]:
    """Attend to the other entities by PyTorch's fused kernel.

    Parameters
    ----------
    q : Tensor, shape (S, H, M, D)
        Of the tokens of each set, on the CPU or a CUDA device.
    k, v : Tensor, shape (S, H, N, D)
        Of the entities of each set.
    others : Others
        Which of them a token must not see.
    scale : float

    Returns
    -------
    output : Tensor, shape (S, H, M, D)
    mass : Tensor of float32, shape (S, H, M)
        Log-sum-exp of the scores.

    Notes
    -----
    On the CPU it is the flash kernel; on CUDA the memory-efficient one, which alone
    takes a mask. That branch was checked for its shapes only, by tensors without data:
    it was never run on a GPU.
    """
    sets, entities = k.shape[0], k.shape[2]
    step = max(1, _PAIRS // (sets * entities))
    parts = []
    for start in range(0, q.shape[2], step):
        piece = slice(start, start + step)
        seen = Others(others.owner[:, piece], others.members, others.real)
        parts.append(
            _Fused.apply(q[:, :, piece], k, v, seen, scale)  # type: ignore[no-untyped-call]
        )
    output, mass = (torch.cat(part, dim=2) for part in zip(*parts, strict=True))
    return output, mass


def others_mask(others: Others, dtype: torch.dtype) -> Tensor:
    """Mask a token's own entity, and what is no entity: (S, 1, M, N), additive."""
    hidden, count = others.hidden, others.real.shape[1]
    # The kernel on CUDA wants rows that begin at multiples of 16 numbers.
    mask = torch.zeros(
        *hidden.shape[:2], count + -count % 16, dtype=dtype, device=hidden.device
    )[..., :count]
    masked = max(MASKED, torch.finfo(dtype).min / 2)
    return mask.masked_fill_(hidden, masked)[:, None]


class _Fused(torch.autograd.Function):
    """A fused kernel, with a gradient for the log-sum-exp too.

    The kernels know the gradient of their output only. With P the weights, that of the
    scores is P (dO v^T - D), where D sums dO * O over the columns; a gradient of the
    log-sum-exp has to be added to -D. So dO gets a column of ones, O one of minus that
    gradient, and q, k and v one of zeros.
    """

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, others: Others, scale: float
    ) -> tuple[Tensor, Tensor]:
        forward = _on_cuda if q.device.type == "cuda" else _on_cpu
        output, mass, state = forward(q, k, v, others_mask(others, q.dtype), scale)
        ctx.save_for_backward(q, k, v, output, *state)
        # Without the mask that it may have made by now.
        ctx.others, ctx.scale = replace(others), scale
        return output, mass

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        q, k, v, output, *state = ctx.saved_tensors
        d_output, d_mass = grads
        wide = [pad(x, (0, _COLUMNS)) for x in (q, k, v, output, d_output)]
        wide[3][..., q.shape[-1]] = -d_mass
        wide[4][..., q.shape[-1]] = 1
        backward: Any = _back_on_cuda if q.device.type == "cuda" else _back_on_cpu
        mask = others_mask(ctx.others, q.dtype)
        found = backward(*wide, mask, ctx.scale, *state)
        return *(x[..., : q.shape[-1]] for x in found), None, None


def _on_cpu(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float) -> Any:
    output, mass = _ops._scaled_dot_product_flash_attention_for_cpu(
        q, k, v, attn_mask=mask, scale=scale
    )
    return output, mass, (mass,)


def _back_on_cpu(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    output: Tensor,
    d_output: Tensor,
    mask: Tensor,
    scale: float,
    mass: Tensor,
) -> Any:
    return _ops._scaled_dot_product_flash_attention_for_cpu_backward(
        d_output, q, k, v, output, mass, 0.0, False, attn_mask=mask, scale=scale
    )


def _on_cuda(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float) -> Any:
    output, mass, seed, offset = _ops._scaled_dot_product_efficient_attention(
        q, k, v, mask.expand(-1, q.shape[1], -1, -1), True, scale=scale
    )
    # The kernel pads the log-sum-exps to a multiple of 32.
    return output, mass[:, :, : q.shape[2]].clone(), (mass, seed, offset)


def _back_on_cuda(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    output: Tensor,
    d_output: Tensor,
    mask: Tensor,
    scale: float,
    mass: Tensor,
    seed: Tensor,
    offset: Tensor,
) -> Any:
    wanted = [True, True, True, False]
    bias = mask.expand(-1, q.shape[1], -1, -1)
    found = _ops._scaled_dot_product_efficient_attention_backward(
        *(d_output, q, k, v, bias, output, mass, seed, offset, 0.0, wanted),
        scale=scale,
    )
    return found[:3]
