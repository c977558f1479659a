"""The reader: a language model that looks up what came next in a datastore."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mnemodex.retrievers.readers.knn_lm.attachment import Attachment, check_free
from mnemodex.retrievers.readers.knn_lm.check import check_model, check_tokenizer
from mnemodex.retrievers.readers.knn_lm.mixer import Mixer, Stats
from mnemodex.retrievers.readers.knn_lm.mixing import Mixing
from mnemodex.retrievers.readers.knn_lm.processor import make_processor
from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor
    from transformers import LogitsProcessor

    from mnemodex.retrievers.datastore import Datastore
    from mnemodex.retrievers.readers.knn_lm.forward import Forward


class KnnLM:
    """Mixes a language model's next-token probabilities with those of its neighbours in a datastore (kNN-LM).

    Khandelwal et al., 2020. What was read so far is a key; the datastore's entries with the nearest keys say which
    token came next there. `KnnLM(memory.retriever("next"), k=64, weight=0.25)`.

    Args:
        datastore: what is looked up; in this process or in another one.
        mixing: how it is mixed in; `Mixing()` by default.
        tokenizer: of tokenizers or transformers: what texts are read with, to be compared with the datastore's.
        **settings: fields of `Mixing`, instead of those in `mixing`.

    Attributes:
        datastore: the same.
        mixing: the settings.
        temperature: of the softmax over negated squared distances: `mixing.temperature`, or the datastore's scale.
        stats: what was looked up since a model was last attached to.

    Raises:
        QueryError: a setting is out of its range, `k` is above the number of entries, or the datastore has no scale
            and no temperature is given.
        ModelError: the tokenizer is not the datastore's.
        TypeError: `Mixing` has no such field.
    """

    def __init__(
        self, datastore: Datastore, mixing: Mixing | None = None, *, tokenizer: Any = None, **settings: Any
    ) -> None:
        info = datastore.info
        self.datastore = datastore
        self.mixing = replace(mixing or Mixing(), **settings)
        if self.mixing.k > info.rows:
            msg = f"k is {self.mixing.k}, but datastore {info.name!r} has {info.rows} entries: give at most so many"
            raise QueryError(msg)
        self.temperature = info.scale if self.mixing.temperature is None else self.mixing.temperature
        if not self.temperature > 0:
            msg = f"datastore {info.name!r} has the scale {info.scale}: give a temperature, a squared distance above 0"
            raise QueryError(msg)
        if tokenizer is not None:
            check_tokenizer(tokenizer, info)
        self.stats = Stats()

    @contextmanager
    def attach(self, model: Any) -> Iterator[KnnLM]:
        """Within the block, the model's logits are the logarithms of the mixed probabilities, and its loss is theirs.

        That holds for `model(...)` and for `generate()`. Logits are float32 (float64 of a model of doubles) and carry
        no gradient; neither does the loss, which is the model's `loss_function` of them, without what some models add
        to it in training. Places of padding are left as they are. With pointers, `model(...)` walks through its texts
        token by token, and a pass that is given a cache goes on where that ended.

        Args:
            model: the causal language model of transformers that the datastore was built with, in any dtype and on any
                device.

        Raises:
            ModelError: it is another model, or has a KnnLM attached already.
            NotFiniteError: in a forward pass: the model's keys are NaN or infinite.
        """
        mixer = self._mixer(model)

        def seen(forward: Forward, keys: Tensor) -> None:
            forward.output.logits = mixer.mixed(forward, keys)
            loss = attachment.loss(forward)
            if loss is not None:
                forward.output.loss = loss

        attachment = Attachment(model, self.datastore.info.key, mixer, seen)
        with attachment:
            yield self

    @contextmanager
    def processor(self, model: Any) -> Iterator[LogitsProcessor]:
        """Within the block, a logits processor for the model's `generate()`, which gives what `attach` does.

        `model.generate(..., logits_processor=[processor])`. The model's own outputs stay as they are. Penalties that
        multiply logits (`repetition_penalty`) see the model's instead of the mixed ones. One step reads one token, so
        assisted generation needs `attach`.

        Args:
            model: as for `attach`.

        Raises:
            ModelError: as for `attach`.
            QueryError: in `generate()`: a step has no forward pass of its own.
        """
        mixer = self._mixer(model)
        processor, seen = make_processor(mixer)
        with Attachment(model, self.datastore.info.key, mixer, seen):
            yield processor

    def _mixer(self, model: Any) -> Mixer:
        """A new one for a model, which is looked at first; the statistics begin anew."""
        check_free(model)
        check_model(model, self.datastore.info)
        mixer = Mixer(self.datastore, self.mixing, self.temperature)
        self.stats = mixer.stats
        return mixer
