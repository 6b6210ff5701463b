"""The loss of triplets that an oracle answered, and what an answer counts in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["answer_weights", "contrastive_loss"]


def answer_weights(confidence: ArrayLike) -> NDArray[np.float64] | None:
    r"""Say what answers count in training, from how sure their oracle is of each.

    Parameters
    ----------
    confidence : array-like of shape (Q,)
        Probability in [0.5, 1] that an answer is right; NaN: not known.

    Returns
    -------
    weights : ndarray of shape (Q,) or None
        With mean 1. None if all are equal or none is known, so that equal confidences
        train exactly as no confidences do.

    Raises
    ------
    ValueError
        If a confidence is out of range, or they are not one-dimensional.

    Notes
    -----
    Let :math:`\ell_i` be the loss of the answer given, and suppose that the other one
    would pull the other way, :math:`-\ell_i`, as it does to first order in the margin.
    If an answer is right with probability :math:`c_i`, the gradient that the truth is
    expected to have is

    .. math::

        c_i \nabla\ell_i - (1 - c_i) \nabla\ell_i = (2 c_i - 1) \nabla\ell_i,

    so an answer weighs :math:`2 c_i - 1`: what it is worth beyond a coin's. One of
    which the oracle knows no better than a coin counts nothing. An answer of unknown
    confidence counts what those of known confidence do on average.

    Weights compare answers with one another. Confidences that are all 0.5 do not, and
    give None like all that are equal: whether answers are coin flips throughout is for
    :func:`~skllm_cluster.guard.adapt_guarded` to find out.

    Examples
    --------
    >>> from skllm_cluster.losses import answer_weights
    >>> answer_weights([0.5, 0.75, 1.0, float("nan")])
    array([0., 1., 2., 1.])
    >>> answer_weights([0.8, 0.8]) is None
    True
    """
    sure = np.asarray(confidence, dtype=np.float64)
    if sure.ndim != 1:
        raise ValueError(f"confidence must be one-dimensional, got shape {sure.shape}.")
    wrong = (sure < 0.5) | (sure > 1)  # NaN is neither
    if wrong.any():
        raise ValueError(
            f"confidence must be in [0.5, 1] or NaN, got {sure[wrong][0]} at index "
            f"{np.argmax(wrong)}. An answer that is likelier wrong than right should "
            "be the other one."
        )
    known = ~np.isnan(sure)
    if not known.any() or np.ptp(sure[known]) == 0:
        return None
    worth = 2 * sure - 1
    worth[~known] = worth[known].mean()
    return np.asarray(worth / worth.mean())


def contrastive_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    temperature: float,
    weights: Tensor | None = None,
) -> Tensor:
    r"""Contrast anchors with hard and in-batch negatives (ClusterLLM, Eq. 5).

    Parameters
    ----------
    anchor, positive, negative : Tensor of shape (B, d)
        Embeddings of the B anchors, of the choice that the oracle took for each, and
        of the choice that it left. They need not be normalised.
    temperature : float
        :math:`\tau`, by which cosine similarities are divided.
    weights : Tensor of shape (B,), default=None
        What each triplet counts, 1 on average over all that are trained on (not over
        the batch, so that a batch of doubtful answers moves little). None: 1 each.

    Returns
    -------
    loss : Tensor, a scalar

    See Also
    --------
    answer_weights : Weights from the confidence of answers.

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

    With weights, the term of the triplet i in either sum is multiplied by :math:`w_i`.
    The texts of a doubtful triplet remain negatives of the others: what is in doubt is
    which of *its* two choices is closer to *its* anchor, not that texts drawn for other
    questions are, as a rule, further away.

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
    each = forward + backward  # (B,)
    return (each if weights is None else weights * each).mean()
