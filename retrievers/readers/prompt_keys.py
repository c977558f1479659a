"""The keys of prompts: what the datastore's own language model has in mind after them."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.lm.capture import Captured, KeyCapture
from mnemodex.indexers.models.hashes import model_hash
from mnemodex.indexers.models.language_model import LanguageModel
from mnemodex.indexers.models.tokens import tokenize
from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnemodex.retrievers.datastore import DatastoreInfo


def load_model(info: DatastoreInfo) -> LanguageModel:
    """The language model that a datastore was built with.

    Raises:
        ModelError: it is not there, or another one by now.
    """
    if model_hash(info.model) != info.model_sha256:
        msg = (
            f"the datastore {info.name!r} was built with another {info.model!r} (SHA-256 {info.model_sha256[:12]}…) "
            "than the one installed here; install that one, or build again"
        )
        raise ModelError(msg)
    return LanguageModel(info.model)


class PromptKeys:
    """Reads prompts with the model of a datastore; safe to call from several threads.

    Attributes:
        model: the model.
        lock: held while the model runs, since its hooks see the passes of all threads.

    Raises:
        ModelError: the model is not there, or another one by now.
    """

    def __init__(self, info: DatastoreInfo) -> None:
        self._info = info
        self.model = load_model(info)
        self.lock = threading.Lock()
        # What comes behind the keys, the output layer above all, is not run.
        self._capture = KeyCapture(self.model.model, info.key, stop=True)

    def tokens(self, prompts: Sequence[str]) -> list[NDArray[np.int32]]:
        """The last tokens of each prompt that fit a window, behind what stands before every text; there may be none."""
        prefix = np.array(self._info.prefix, np.int32)
        room = self._info.window - len(prefix)
        return [np.concatenate([prefix, ids[-room:]]) for ids, _ in tokenize(self.model.tokenizer, prompts)]

    def keys(self, prompts: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        """The key in front of the token that would come next, float32 of shape (prompts, dimension).

        Args:
            prompts: tokens, one at least in each.
        """
        import torch

        keys = np.zeros((len(prompts), self._info.dimension), np.float32)
        with self.lock, self._capture as capture, torch.inference_mode():
            for number, ids in enumerate(prompts):
                read = torch.from_numpy(ids[None].astype(np.int64)).to(self.model.device)
                with contextlib.suppress(Captured):
                    # Not `model(...)`: a reader that is attached to it is none of this.
                    self.model.model.forward(input_ids=read, use_cache=False)
                keys[number] = capture.last[0, -1].float().cpu().numpy()
        return keys
