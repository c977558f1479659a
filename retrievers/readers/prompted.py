"""Prompts of a batch, and what a language model expects after them, token by token."""

from __future__ import annotations

import copy
import inspect
from typing import TYPE_CHECKING, Any

from mnemodex.indexers.text import pad
from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from mnemodex.indexers.arrays import Float64s, Int64s
    from mnemodex.indexers.models.language_model import LanguageModel


def last_logits_only(model: Any) -> dict[str, int]:
    """Return the arguments by which a model of transformers makes logits of the last token only, if it can."""
    return {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}


def to_tensors(ids: Sequence[list[int]], lm: LanguageModel) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids of rows, padded by 0 where a model wants it, and their mask: int64 of shape (rows, longest)."""
    import torch

    # A causal model continues a row at its end.
    padded = pad(ids, max(map(len, ids), default=0), left=not lm.is_encoder_decoder)
    tokens, mask = (torch.from_numpy(array).to(lm.device) for array in padded)
    return tokens, mask


class Expected:
    """What a model expects next in each row, by its logits: a float tensor of shape (rows, tokens)."""

    def __init__(self, logits: torch.Tensor) -> None:
        # Doubles, since floats of different scores may be equal.
        self._logits = logits if logits.element_size() >= 4 else logits.float()
        self._total = self._logits.logsumexp(dim=1).double()

    def __len__(self) -> int:
        return len(self._logits)

    def at(self, rows: Int64s, tokens: Int64s) -> Float64s:
        """Return log-probabilities of single tokens: float64 of the shape of `rows` and `tokens`."""
        import torch

        row, token = (torch.from_numpy(indices).to(self._logits.device) for indices in (rows, tokens))
        return (self._logits[row, token].double() - self._total[row]).cpu().numpy()

    def top(self, rows: Int64s, k: int, known: torch.Tensor) -> Int64s:
        """Return the most probable of the tokens `known`, of shape (n,), best first: int64 of shape (rows, k)."""
        import torch

        logits = self._logits[torch.from_numpy(rows).to(self._logits.device)]
        # Most indexes know every token of the model; then nothing is copied.
        all_known = len(known) == logits.shape[1]
        best = (logits if all_known else logits[:, known]).topk(min(k, len(known)), dim=1).indices
        return (best if all_known else known[best]).cpu().numpy()


class Prompted:
    """A model that has read the prompts of a batch, and reads on token by token, each row from a former row.

    What was read is kept in the model's cache, so that a step reads one token a row, and a prompt is read once, however
    many beams come from it.

    Args:
        lm: an encoder-decoder, whose encoder reads the prompt and whose decoder starts as its configuration says, or a
            causal model.
        prompts: one text a row.
        room: tokens that will follow.

    Attributes:
        expected: what comes next, for each row.

    Raises:
        QueryError: a prompt, with what will follow it, is longer than the model can read.
    """

    def __init__(self, lm: LanguageModel, prompts: Sequence[str], *, room: int) -> None:
        self._lm = lm
        self._inputs: dict[str, Any] = {}
        self._options = last_logits_only(lm.model)
        takes = inspect.signature(lm.model.forward).parameters
        self._numbered = "position_ids" in takes and not lm.is_encoder_decoder
        self._cache: Any = None
        ids = [encoding.ids for encoding in lm.tokenizer.encode_batch(list(prompts))]
        self._check(ids, 0 if lm.is_encoder_decoder else room)
        tokens, mask = to_tensors(ids, lm)
        if lm.is_encoder_decoder:
            tokens = self._encode(tokens, mask)
        else:
            self._inputs["attention_mask"] = mask
        self.expected = self._read(tokens)

    def fork(self) -> Prompted:
        """Return the same state, to be continued in another way."""
        twin = copy.copy(self)
        twin._cache = copy.deepcopy(self._cache)
        twin._inputs = dict(self._inputs)
        return twin

    def follow(self, rows: Int64s, tokens: Int64s) -> Expected:
        """Make new row i of the former row `rows[i]` and one token more; int64 arrays of shape (new rows,)."""
        import torch

        former = torch.from_numpy(rows).to(self._lm.device)
        self._cache.reorder_cache(former)
        for name, value in self._inputs.items():
            self._inputs[name] = tuple(part[former] for part in value) if isinstance(value, tuple) else value[former]
        following = torch.from_numpy(tokens).to(self._lm.device)[:, None]
        if not self._lm.is_encoder_decoder:
            mask = self._inputs["attention_mask"]
            self._inputs["attention_mask"] = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        self.expected = self._read(following)
        return self.expected

    def _check(self, ids: list[list[int]], room: int) -> None:
        limit = getattr(self._lm.model.config, "max_position_embeddings", None)
        lengths = [len(some) for some in ids]
        longest = max(lengths, default=0)
        if limit is not None and longest + room > limit:
            problem = f"question {lengths.index(longest)} makes a prompt of {longest} tokens"
            raise QueryError(f"{problem}; model {self._lm.name!r} reads {limit - room}: shorten it")

    def _encode(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Run the encoder, and return what the decoder starts with, int64 of shape (rows, tokens)."""
        import torch

        model = self._lm.model
        with torch.inference_mode():
            states = model.get_encoder()(input_ids=tokens, attention_mask=mask).last_hidden_state
        self._inputs |= {"encoder_outputs": (states,), "attention_mask": mask}
        start = (model.config.decoder_start_token_id, model.generation_config.forced_bos_token_id)
        first = [token for token in start if token is not None]
        return torch.tensor([first] * len(tokens), dtype=torch.int64, device=self._lm.device).reshape(len(tokens), -1)

    def _read(self, tokens: torch.Tensor) -> Expected:
        """Read tokens, of shape (rows, new tokens), after what was read before."""
        import torch

        inputs = {**self._inputs, "decoder_input_ids" if self._lm.is_encoder_decoder else "input_ids": tokens}
        if self._numbered:
            numbers = inputs["attention_mask"].cumsum(dim=1) - 1
            inputs["position_ids"] = numbers.clamp(min=0)[:, -tokens.shape[1] :]
        with torch.inference_mode():
            output = self._lm.model(**inputs, past_key_values=self._cache, use_cache=True, **self._options)
        self._cache = output.past_key_values
        return Expected(output.logits[:, -1])
