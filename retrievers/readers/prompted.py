"""Prompts of a batch, and what a language model expects after them, token by token."""

from __future__ import annotations

import copy
import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray

    from mnemodex.indexers.models.language_model import LanguageModel


class Expected:
    """What a model expects next, for each of some rows.

    Args:
        logits: float tensor of shape (rows, tokens).
    """

    def __init__(self, logits: torch.Tensor) -> None:
        # A double tells scores apart that were equal only because a float has seven digits.
        self._logits = logits if logits.element_size() >= 4 else logits.float()
        self._total = self._logits.logsumexp(dim=1).double()

    def __len__(self) -> int:
        return len(self._logits)

    def at(self, rows: NDArray[np.int64], tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log-probabilities of single tokens: float64 of the shape of `rows` and `tokens`."""
        import torch

        device = self._logits.device
        place, token = (torch.from_numpy(some).to(device) for some in (rows, tokens))
        found: NDArray[np.float64] = (self._logits[place, token].double() - self._total[place]).cpu().numpy()
        return found

    def top(self, rows: NDArray[np.int64], k: int, known: torch.Tensor) -> NDArray[np.int64]:
        """The most probable of the tokens `known` (int64 of shape (n,)), best first: int64 of shape (rows, k)."""
        import torch

        logits = self._logits[torch.from_numpy(rows).to(self._logits.device)]
        # Most models have no token that an index does not know; then nothing is copied.
        whole = len(known) == logits.shape[1]
        best = (logits if whole else logits[:, known]).topk(min(k, len(known)), dim=1).indices
        tokens: NDArray[np.int64] = (best if whole else known[best]).cpu().numpy()
        return tokens


class Prompted:
    """A model that has read the prompts of a batch and is led on, each row from a row of the step before.

    What was read is kept in the model's cache, so that a step reads one token a row. Rows are as many as are asked for:
    a prompt is read once, however many beams come of it.

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
        takes = inspect.signature(lm.model.forward).parameters
        self._options = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}
        self._numbered = "position_ids" in takes and not lm.is_encoder_decoder
        self._cache: Any = None
        ids = [encoding.ids for encoding in lm.tokenizer.encode_batch(list(prompts))]
        self._check(ids, 0 if lm.is_encoder_decoder else room)
        tokens, mask = self._padded(ids)
        if lm.is_encoder_decoder:
            tokens = self._encode(tokens, mask)
        else:
            self._inputs["attention_mask"] = mask
        self.expected = self._read(tokens)

    def fork(self) -> Prompted:
        """The same state, to be led on in another way."""
        twin = copy.copy(self)
        twin._cache = copy.deepcopy(self._cache)
        twin._inputs = dict(self._inputs)
        return twin

    def follow(self, rows: NDArray[np.int64], tokens: NDArray[np.int64]) -> Expected:
        """Lead on: new row i is the former row `rows[i]` with one token more; int64 arrays of shape (new rows,)."""
        import torch

        place = torch.from_numpy(rows).to(self._lm.device)
        self._cache.reorder_cache(place)
        for name, value in self._inputs.items():
            self._inputs[name] = self._rows_of(value, place)
        following = torch.from_numpy(tokens).to(self._lm.device)[:, None]
        if not self._lm.is_encoder_decoder:
            mask = self._inputs["attention_mask"]
            self._inputs["attention_mask"] = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        self.expected = self._read(following)
        return self.expected

    @staticmethod
    def _rows_of(value: Any, place: torch.Tensor) -> Any:
        if isinstance(value, tuple):
            return tuple(part[place] for part in value)
        return value[place]

    def _check(self, ids: list[list[int]], room: int) -> None:
        most = getattr(self._lm.model.config, "max_position_embeddings", None)
        longest = max(map(len, ids), default=0)
        if most is not None and longest + room > most:
            number = next(number for number, some in enumerate(ids) if len(some) == longest)
            msg = (
                f"question {number} makes a prompt of {longest} tokens; model {self._lm.name!r} reads {most - room}: "
                "shorten it"
            )
            raise QueryError(msg)

    def _padded(self, ids: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and mask, int64 of shape (rows, longest); what is continued at its end is padded on the left."""
        import torch

        width = max(map(len, ids), default=0)
        tokens, mask = (np.zeros((len(ids), width), np.int64) for _ in range(2))
        for row, some in enumerate(ids):
            here = slice(0, len(some)) if self._lm.is_encoder_decoder else slice(width - len(some), width)
            tokens[row, here], mask[row, here] = some, 1
        device = self._lm.device
        return torch.from_numpy(tokens).to(device), torch.from_numpy(mask).to(device)

    def _encode(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Run the encoder; returns what the decoder starts with, int64 of shape (rows, tokens)."""
        import torch

        model = self._lm.model
        with torch.inference_mode():
            states = model.get_encoder()(input_ids=tokens, attention_mask=mask).last_hidden_state
        self._inputs |= {"encoder_outputs": (states,), "attention_mask": mask}
        settings = model.generation_config
        start = [model.config.decoder_start_token_id, settings.forced_bos_token_id]
        first = [token for token in start if token is not None]
        return torch.tensor([first] * len(tokens), dtype=torch.int64, device=self._lm.device).reshape(len(tokens), -1)

    def _read(self, tokens: torch.Tensor) -> Expected:
        """Read tokens, of shape (rows, new tokens), after what was read before."""
        import torch

        given = dict(self._inputs)
        if self._lm.is_encoder_decoder:
            given["decoder_input_ids"] = tokens
        else:
            given["input_ids"] = tokens
        if self._numbered:
            numbers = given["attention_mask"].cumsum(dim=1) - 1
            given["position_ids"] = numbers.clamp(min=0)[:, -tokens.shape[1] :]
        with torch.inference_mode():
            output = self._lm.model(**given, past_key_values=self._cache, use_cache=True, **self._options)
        self._cache = output.past_key_values
        return Expected(output.logits[:, -1])
