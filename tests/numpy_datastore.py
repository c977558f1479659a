"""A next-token datastore in plain numpy, exact and in this process."""

from __future__ import annotations

import numpy as np
import torch

from mnemodex.indexers.lm.capture import KeyCapture
from mnemodex.retrievers.datastore import DatastoreInfo, Neighbours


class NumpyDatastore:
    """Entries of given ids; distances as they are, or rounded to whole multiples as an index over codes would."""

    def __init__(self, info, keys, tokens, ids=None, *, rounded=None):
        self.info = info
        self.keys, self.tokens = np.asarray(keys, np.float32), np.asarray(tokens, np.int32)
        self.ids = np.arange(len(self.keys), dtype=np.int64) if ids is None else np.asarray(ids, np.int64)
        self.rounded = rounded
        self.searched = 0

    def nearest(self, keys, k):
        self.searched += len(keys)
        distances = ((keys[:, None].astype(np.float64) - self.keys[None]) ** 2).sum(-1)
        if self.rounded:
            distances = np.round(distances / self.rounded) * self.rounded
        order = np.stack([np.lexsort((self.ids, row))[:k] for row in distances.astype(np.float32)])
        return Neighbours(
            np.take_along_axis(distances, order, 1).astype(np.float32), self.tokens[order], self.ids[order]
        )

    def measure(self, keys, ids):
        place = {int(number): row for row, number in enumerate(self.ids)}
        found = np.array([[place.get(int(number), -1) for number in row] for row in ids], np.int64).reshape(ids.shape)
        distances = ((keys[:, None].astype(np.float64) - self.keys[found]) ** 2).sum(-1)
        none = found < 0
        return Neighbours(
            np.where(none, np.inf, distances).astype(np.float32),
            np.where(none, -1, self.tokens[found]).astype(np.int32),
            np.where(none, -1, ids),
        )


def states(model, tokens, kind="ffn_input"):
    """The keys of one text, float32 of shape (tokens, dimension)."""
    with torch.no_grad(), KeyCapture(model, kind) as capture:
        model(input_ids=torch.tensor([list(tokens)], device=model.device), use_cache=False)
    return capture.last[0].float().cpu().numpy()


def datastore(model, texts, kind="ffn_input", **options):
    """The entries of texts, read by a model one by one; between two texts an id is left out."""
    keys = [states(model, text[:-1], kind) for text in texts]
    tokens = [np.asarray(text[1:], np.int32) for text in texts]
    starts = np.cumsum([0, *(len(part) + 1 for part in tokens[:-1])])
    ids = np.concatenate([start + np.arange(len(part)) for start, part in zip(starts, tokens, strict=True)])
    every = np.concatenate(keys)
    info = DatastoreInfo(
        name="next",
        rows=len(every),
        dimension=every.shape[1],
        key=kind,
        model="tiny",
        model_sha256="",
        tokenizer_sha256="0" * 64,
        vocabulary=model.get_output_embeddings().weight.shape[0],
        window=128,
        overlap=16,
        prefix=(),
        scale=_scale(every),
        sample_tokens=np.asarray(texts[0], np.int32),
        sample_keys=keys[0],
    )
    return NumpyDatastore(info, every, np.concatenate(tokens), ids, **options)


def _scale(keys):
    distances = np.sort(((keys[:, None] - keys[None]) ** 2).sum(-1), axis=1)
    return float(np.median(distances[:, min(10, len(keys) - 1)] - distances[:, 1]))
