"""Losses over embeddings, as plain functions of tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["contrastive_loss"]


def contrastive_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, *, temperature: float
) -> Tensor:
    r"""Contrast anchors with hard and in-batch negatives (ClusterLLM, Eq. 5).

    Parameters
    ----------
    anchor, positive, negative : Tensor of shape (B, d)
        Embeddings of the B anchors, of the choice that the oracle took for each, and
        of the choice that it left. They need not be normalised.
    temperature : float
        :math:`\tau`, by which cosine similarities are divided.

    Returns
    -------
    loss : Tensor, a scalar

    Notes
    -----
    With :math:`s` the cosine similarity, the sum of two directions:

    .. math::

        -\frac1B \sum_i \log \frac{e^{s(a_i,p_i)/\tau}}
            {e^{s(a_i,p_i)/\tau} + \sum_j e^{s(a_i,n_j)/\tau}}
        -\frac1B \sum_i \log \frac{e^{s(p_i,a_i)/\tau}}{\sum_j e^{s(p_i,a_j)/\tau}}

    An anchor thus sees its own positive and *all* B hard negatives, but no other
    positive; a positive sees all B anchors, but no hard negative. Eq. 5 leaves open
    what "other in-batch negatives" are and prints no logarithm; this is what the
    released code computes, to which the published figures belong.

    Examples
    --------
    >>> import torch
    >>> anchor = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> loss = contrastive_loss(anchor, anchor, anchor.flip(0), temperature=0.5)
    >>> round(loss.item(), 4)
    0.8856
    """
    import torch
    from torch.nn.functional import normalize

    anchor, positive, negative = (
        normalize(z, dim=-1) for z in (anchor, positive, negative)
    )
    own = (anchor * positive).sum(dim=1) / temperature  # (B,)
    hard = anchor @ negative.T / temperature  # (B, B)
    back = positive @ anchor.T / temperature  # (B, B)
    forward = torch.cat([own[:, None], hard], dim=1).logsumexp(dim=1) - own  # (B,)
    backward = back.logsumexp(dim=1) - own  # (B,)
    return (forward + backward).mean()
