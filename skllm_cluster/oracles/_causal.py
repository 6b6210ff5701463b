"""A causal language model of transformers: tokens, replies, likelihoods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

__all__ = ["CausalModel", "Frame", "choose_dtype", "load"]

Ids = list[int]

_TOP = 5  # likeliest tokens that are listed beside each token of a reply
_AT_ONCE = 4096  # tokens of one forward pass, padding included; one text may have more
_MARK = "THE-PROMPT-GOES-HERE"


@dataclass(frozen=True)
class Frame:
    """What stands around a prompt, and how long all of it may be.

    Parameters
    ----------
    before, after : list of int
        Tokens that the model is given before and after those of a prompt.
    limit : int
        Tokens of prompt, frame and reply together.
    chat : bool
        Whether the frame is a chat template.
    """

    before: Ids
    after: Ids
    limit: int
    chat: bool


@dataclass(frozen=True)
class CausalModel:
    """A loaded model with its tokenizer. For one thread at a time.

    Parameters
    ----------
    model : transformers.PreTrainedModel
    tokenizer : transformers.PreTrainedTokenizerBase
    """

    model: Any
    tokenizer: Any

    def frame(
        self, chat: bool | None, options: dict[str, Any], max_length: int | None
    ) -> Frame:
        """Find out what stands around a prompt.

        Parameters
        ----------
        chat : bool or None
            Whether to use the chat template. None: if there is one.
        options : dict
            Passed to the template.
        max_length : int or None
            What to limit the length to, if the model takes more.

        Raises
        ------
        ValueError
            If there is no usable chat template although ``chat`` is True.
        """
        own = getattr(self.model.config, "max_position_embeddings", None)
        limit = min(n for n in (max_length, own, 1 << 30) if n is not None)
        if chat is None:
            chat = self.tokenizer.chat_template is not None
        if not chat:
            first = self.tokenizer("").input_ids[:1]
            adds = first == [self.tokenizer.bos_token_id]
            return Frame(first if adds else [], [], limit, False)
        shown = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": _MARK}],
            tokenize=False,
            add_generation_prompt=True,
            **options,
        )
        before, found, after = shown.partition(_MARK)
        if not found:
            raise ValueError(
                "The model's chat template does not show what the user says. Set "
                "chat=False, or give it what it needs with template_options."
            )
        halves = self.tokenizer([before, after], add_special_tokens=False).input_ids
        return Frame(halves[0], halves[1], limit, True)

    def tokenize(self, texts: Sequence[str]) -> list[Ids]:
        """Make tokens of texts, and no special tokens, whatever the texts say."""
        # Half a surrogate pair is no text to a tokenizer.
        ready = [text.encode("utf-8", "replace").decode() for text in texts]
        tokens: list[Ids] = self.tokenizer(
            ready, add_special_tokens=False, split_special_tokens=True, verbose=False
        ).input_ids
        return tokens

    def put(
        self, frame: Frame, prompts: Sequence[str], room: Sequence[int]
    ) -> tuple[list[Ids], int]:
        """Frame prompts, cutting their beginning to leave room for what follows.

        Parameters
        ----------
        frame : Frame
        prompts : sequence of str, of length n
        room : sequence of int, of length n
            Tokens that are to follow each.

        Returns
        -------
        framed : list of list of int, of length n
        n_cut : int
            How many were cut.

        Raises
        ------
        ValueError
            If what is to follow is too long by itself, or there is nothing to begin
            an empty prompt with.
        """
        framed, n_cut = [], 0
        around = len(frame.before) + len(frame.after)
        for ids, n in zip(self.tokenize(prompts), room, strict=True):
            left = frame.limit - around - n
            if left < 0:
                raise ValueError(
                    f"A text of {n:,} tokens is too long for a model that takes "
                    f"{frame.limit:,}, {around:,} of them around the prompt. Shorten "
                    "the texts, for example with LLMOracle(max_characters=...)."
                )
            n_cut += len(ids) > left
            kept = ids[max(len(ids) - left, 0) :]
            framed.append([*frame.before, *kept, *frame.after])
        return [ids or self._beginning() for ids in framed], n_cut

    def _beginning(self) -> Ids:
        """Give the token that stands for no text at all."""
        for token in (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id):
            if token is not None:
                return [token]
        raise ValueError(
            "The tokenizer has neither a first nor a last token, so a text has no "
            "beginning. Use another model."
        )

    def reply(self, ids: Ids, most: int) -> tuple[Ids, list[dict[str, float]], bool]:
        """Choose the likeliest token again and again.

        Parameters
        ----------
        ids : list of int
            The prompt, framed.
        most : int
            Longest reply.

        Returns
        -------
        chosen : list of int
        listed : list of dict
            For each, the log-probabilities of the likeliest tokens.
        stopped : bool
            Whether the model came to an end by itself.
        """
        import torch

        chosen: Ids = []
        listed: list[dict[str, float]] = []
        ends, cache = self._ends(), None
        given = ids
        for _ in range(most):
            out = self.model(
                input_ids=torch.tensor([given], device=self.model.device),
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            logprobs = out.logits[0, -1].float().log_softmax(-1)  # (vocabulary,)
            values, tokens = logprobs.topk(min(_TOP, len(logprobs)))
            token, cache = int(tokens[0]), out.past_key_values
            if token in ends:
                return chosen, listed, True
            chosen.append(token)
            listed.append(self._named(tokens.tolist(), values.tolist()))
            given = [token]
        return chosen, listed, False

    def _ends(self) -> set[int]:
        ends = self.model.generation_config.eos_token_id
        return {*np.atleast_1d([] if ends is None else ends).tolist(),
                self.tokenizer.eos_token_id}  # fmt: skip

    def _named(self, tokens: Ids, values: list[float]) -> dict[str, float]:
        named: dict[str, float] = {}
        for token, value in zip(tokens, values, strict=True):
            # Parts of characters all look alike: the likeliest stands for them.
            named.setdefault(self.tokenizer.decode([token]), value)
        return named

    def score(
        self, sequences: Sequence[tuple[Ids, Ids]], batch_size: int
    ) -> list[float]:
        """Sum the log-probabilities of continuations.

        Parameters
        ----------
        sequences : sequence of (context, continuation), of length n
            Tokens; contexts have at least one.
        batch_size : int
            Sequences in one forward pass, fewer if they are long.

        Returns
        -------
        values : list of float, of length n
        """
        values = [0.0] * len(sequences)
        lengths = np.array([len(a) + len(b) for a, b in sequences])
        for rows in _batches(lengths, batch_size):
            batch = [sequences[i] for i in rows]
            for i, value in zip(rows, self._score_batch(batch), strict=True):
                values[i] = value
        return values

    def _score_batch(self, batch: list[tuple[Ids, Ids]]) -> list[float]:
        import torch

        longest = max(len(a) + len(b) for a, b in batch)
        ids = np.zeros((len(batch), longest), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, (context, rest) in enumerate(batch):
            # Padding comes last: a causal model never looks at it.
            whole = [*context, *rest]
            ids[row, : len(whole)], mask[row, : len(whole)] = whole, 1
        skipped = min(len(context) for context, _ in batch) - 1
        logits = self.model(
            input_ids=torch.from_numpy(ids).to(self.model.device),
            attention_mask=torch.from_numpy(mask).to(self.model.device),
            use_cache=False,
            logits_to_keep=longest - skipped,
        ).logits  # (batch, longest - skipped, vocabulary)
        sums = []
        for row, (context, rest) in enumerate(batch):
            begin = len(context) - 1 - skipped  # each place foretells the next
            own = logits[row, begin : begin + len(rest)].float().log_softmax(-1)
            targets = torch.tensor(rest, dtype=torch.int64, device=own.device)
            sums.append(own.gather(1, targets[:, None]).double().sum())
        found: list[float] = torch.stack(sums).tolist()
        return found


def load(
    model: str,
    *,
    dtype: torch.dtype,
    device: torch.device,
    gguf_file: str | None = None,
    revision: str | None = None,
) -> CausalModel:
    """Load a model and its tokenizer, drawing nothing on the screen.

    Parameters
    ----------
    model : str
        A local folder, or a name on the Hugging Face hub.
    dtype : torch.dtype
    device : torch.device
    gguf_file : str, optional
        Name of a GGUF file in it.
    revision : str, optional
        Branch, tag or commit on the hub.

    Raises
    ------
    OSError
        If there is no such model.
    """
    import transformers

    where = {"gguf_file": gguf_file, "revision": revision or "main"}
    with _no_progress_bars(gguf_file is not None):
        tokenizer = transformers.AutoTokenizer.from_pretrained(model, **where)
        weights: Any = transformers.AutoModelForCausalLM.from_pretrained(
            model, dtype=dtype, **where, **_unpacked(gguf_file)
        )
    return CausalModel(weights.to(device).eval(), tokenizer)


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """Choose the precision that is fast, or the one that is named.

    Parameters
    ----------
    name : {"auto", "bfloat16", "float32"}
    device : torch.device
    """
    import torch

    fast = False
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        has = torch.cpu.get_capabilities()
        # Others compute bfloat16, too, but by way of float32.
        fast = bool(has.get("avx512_bf16") or has.get("amx_bf16"))
    half = fast if name == "auto" else name == "bfloat16"
    return torch.bfloat16 if half else torch.float32


def _batches(lengths: NDArray[np.intp], size: int) -> Iterator[list[int]]:
    """Cut rows, longest first, into batches of bounded size with padding."""
    rows = np.argsort(-lengths, kind="stable").tolist()
    while rows:
        n = min(size, max(1, _AT_ONCE // int(lengths[rows[0]])))
        yield rows[:n]
        rows = rows[n:]


def _unpacked(gguf_file: str | None) -> dict[str, Any]:
    """Have GGUF weights de-quantised, which newer versions do not do by themselves."""
    import transformers

    config = getattr(transformers, "GgufConfig", None)
    if gguf_file is None or config is None:
        return {}
    # Computing with packed weights takes a kernel, which would come over the network.
    return {"quantization_config": config(dequantize=True)}


@contextmanager
def _no_progress_bars(gguf: bool) -> Iterator[None]:
    """Keep transformers from drawing on the screen while it reads weights."""
    logging: Any = import_module("transformers.utils.logging")
    reader: Any = import_module("transformers.modeling_gguf_pytorch_utils")
    shown, bar = logging.is_progress_bar_enabled(), reader.tqdm
    logging.disable_progress_bar()
    if gguf:  # its bar has no switch
        reader.tqdm = partial(bar, disable=True)
    try:
        yield
    finally:
        reader.tqdm = bar
        if shown:
            logging.enable_progress_bar()
