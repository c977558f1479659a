"""Reading prompts with the datastore's own language model: their keys, and what it expects after them."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.forks import claim_threads
from mnemodex.indexers.lm.capture import Captured, KeyCapture
from mnemodex.indexers.models.hashes import model_hash
from mnemodex.indexers.models.language_model import LanguageModel
from mnemodex.indexers.models.tokenizers import tokenize
from mnemodex.retrievers.readers.prompted import last_logits_only
from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from mnemodex.indexers.arrays import Float32s, Float64s, Int32s
    from mnemodex.retrievers.datastore import DatastoreInfo


class PromptKeys:
    """Reads prompts with the model of a datastore; safe to call from several threads.

    Where the model is not there, or another one by now, it is a `ModelError`.
    """

    def __init__(self, info: DatastoreInfo) -> None:
        if model_hash(info.model) != info.model_sha256:
            raise ModelError(
                f"the datastore {info.name!r} was built with another {info.model!r} (SHA-256 {info.model_sha256[:12]}…)"
                " than the one installed here; install that one, or rebuild the memory"
            )
        self._info = info
        self.model = LanguageModel(info.model)
        # What comes behind the keys, the output layer above all, is not run.
        self._capture = KeyCapture(self.model.model, info.key, stop=True)
        # Held while the model runs, since its hooks see the passes of all threads.
        self._lock = threading.Lock()

    def tokens(self, prompts: Sequence[str]) -> list[Int32s]:
        """Return the last tokens of each prompt that fit a window, after the prefix; there may be none."""
        prefix = np.array(self._info.prefix, np.int32)
        room = self._info.window - len(prefix)
        return [np.concatenate([prefix, ids[-room:]]) for ids, _ in tokenize(self.model.tokenizer, prompts)]

    def decode(self, token: int) -> str:
        """Return a token as it is written."""
        return self.model.tokenizer.decode([token], skip_special_tokens=False)

    def keys(self, prompts: Sequence[Int32s]) -> Float32s:
        """Return the keys in front of the token that would come next after prompts of one token or more.

        They are float32 of shape (prompts, dimension).
        """
        import torch

        claim_threads()
        keys = np.zeros((len(prompts), self._info.dimension), np.float32)
        with self._lock, self._capture as capture, torch.inference_mode():
            for number, ids in enumerate(prompts):
                with contextlib.suppress(Captured):
                    # Not `model(...)`, here and below, which would also run a reader that is attached to it.
                    self.model.model.forward(input_ids=self._row(ids), use_cache=False)
                keys[number] = capture.last[0, -1].float().cpu().numpy()
        return keys

    def log_probabilities(self, prompt: Int32s) -> Float64s:
        """Return the logarithms of the model's own probabilities after a prompt, float64 of shape (vocabulary,)."""
        import torch

        model = self.model.model
        with self._lock, torch.inference_mode():
            output = model.forward(input_ids=self._row(prompt), use_cache=False, **last_logits_only(model))
        return torch.log_softmax(output.logits[0, -1].double(), dim=-1).cpu().numpy()

    def _row(self, ids: Int32s) -> torch.Tensor:
        import torch

        return torch.from_numpy(ids[None].astype(np.int64)).to(self.model.device)
