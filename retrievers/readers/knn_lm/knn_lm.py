"""The reader: a language model that looks up what came next in a datastore."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.retrievers.datastore import Neighbours
from mnemodex.retrievers.readers.knn_lm.attachment import attached, check_free
from mnemodex.retrievers.readers.knn_lm.check import check_model, check_tokenizer
from mnemodex.retrievers.readers.knn_lm.mixing import Mixing, nearest_distance, token_log_probabilities
from mnemodex.retrievers.readers.knn_lm.pointers import PointerStore, look_up
from mnemodex.schemas.errors import NotFiniteError, QueryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import LongTensor, Tensor
    from transformers import LogitsProcessor

    from mnemodex.indexers.arrays import Bools, Float32s, Int64s
    from mnemodex.retrievers.datastore import Datastore
    from mnemodex.retrievers.readers.knn_lm.attachment import Forward


@dataclass
class Stats:
    """What was looked up while a model was attached to.

    Attributes:
        lookups: places whose neighbours were mixed in.
        searches: of them, those that the datastore was searched for.
        gated: places that were left to the model, which was certain enough.
    """

    lookups: int = 0
    searches: int = 0
    gated: int = 0

    @property
    def saved(self) -> int:
        """Places whose neighbours followed from those of the token before."""
        return self.lookups - self.searches


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
        if not hasattr(type(datastore), "nearest"):
            name = getattr(datastore, "name", "")
            raise QueryError(
                f"KnnLM looks up a datastore, the retriever of an index of type knn_lm; {name!r} is a "
                f"{type(datastore).__name__}: KnnLM(memory.retriever(NAME))"
            )
        info = datastore.info
        self.datastore = datastore
        self.mixing = replace(mixing or Mixing(), **settings)
        name = f"datastore {info.name!r}"
        if self.mixing.k > info.rows:
            raise QueryError(f"k is {self.mixing.k}, but {name} has {info.rows} entries: give at most that many")
        self.temperature = info.scale if self.mixing.temperature is None else self.mixing.temperature
        if not self.temperature > 0:
            raise QueryError(f"{name} has the scale {info.scale}: give a temperature, a squared distance above 0")
        if tokenizer is not None:
            check_tokenizer(tokenizer, info)
        self.stats = Stats()

    @contextmanager
    def attach(self, model: Any) -> Iterator[KnnLM]:
        """Within the block, the model's logits are the logarithms of the mixed probabilities, and its loss is theirs.

        That holds for `model(...)` and for `generate()`. Logits are float32 (float64 of a model of doubles) and carry
        no gradient; neither does the loss, which is the model's `loss_function` of them, without what some models add
        to it in training. Places of padding are left as they are. With pointers, `model(...)` reads its texts token by
        token, and a pass that is given a cache continues where that ended.

        Raises:
            ModelError: it is not the causal language model of transformers that the datastore was built with (in any
                dtype, on any device), or has a KnnLM attached already.
            NotFiniteError: in a forward pass: the model's keys are NaN or infinite.
        """
        mixer = self._mixer(model)
        with attached(model, self.datastore.info.key, mixer.pointers, mixer.mix):
            yield self

    @contextmanager
    def processor(self, model: Any) -> Iterator[LogitsProcessor]:
        """Within the block, a logits processor for the model's `generate()`, which gives what `attach` does.

        `model.generate(..., logits_processor=[processor])`. The model's own outputs stay as they are. Penalties that
        multiply logits (`repetition_penalty`) see the model's instead of the mixed ones. One step reads one token, so
        assisted generation needs `attach`.

        Raises:
            ModelError: as for `attach`.
            QueryError: in `generate()`: a step has no forward pass of its own.
        """
        mixer = self._mixer(model)
        processor, seen = _make_processor(mixer)
        with attached(model, self.datastore.info.key, mixer.pointers, seen):
            yield processor

    def _mixer(self, model: Any) -> Mixer:
        """Check a model, and return a mixer with statistics that begin at 0."""
        check_free(model)
        check_model(model, self.datastore.info)
        mixer = Mixer(self.datastore, self.mixing, self.temperature)
        self.stats = mixer.stats
        return mixer


class Mixer:
    """Mixes neighbours into the probabilities of forward passes; its pointers are kept between these."""

    def __init__(self, datastore: Datastore, mixing: Mixing, temperature: float) -> None:
        self._datastore = datastore
        self._mixing = mixing
        self._temperature = temperature
        self.stats = Stats()
        self.pointers = PointerStore(datastore, mixing)

    def mix(self, forward: Forward) -> Tensor:
        """Return the logarithms of the mixed probabilities of a forward pass, shape (batch, places, vocabulary).

        They are float32 whatever the model's dtype (float64 of a model of doubles): rounded to bf16, probable tokens
        would tie. They carry no gradient.

        Raises:
            NotFiniteError: a key holds NaN or infinity.
        """
        import torch

        logits = forward.logits.detach()
        log = torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1).contiguous()
        wanted = forward.real & self._uncertain(log)
        self.stats.gated += int((forward.real & ~wanted).sum())
        self.stats.lookups += int(wanted.sum())
        keys = _array(forward.keys[torch.from_numpy(wanted).to(forward.keys.device)])
        neighbours = self._search(keys) if self._mixing.pointers is None else self._follow(forward, keys, wanted)
        self._add(neighbours, log.view(-1, log.shape[-1]), np.flatnonzero(wanted))
        return log

    def _uncertain(self, log: Tensor) -> Bools | bool:
        """Return where the model's entropy is no lower than the gate: shape (batch, places)."""
        import torch

        if self._mixing.gate is None:
            return True
        # NaN passes, to be noticed among the keys.
        uncertain: Bools = (~(torch.special.entr(log.exp()).sum(dim=-1) < self._mixing.gate)).cpu().numpy()
        return uncertain

    def _search(self, keys: Float32s) -> Neighbours:
        self.stats.searches += len(keys)
        return look_up(self._datastore, keys, self._mixing) if len(keys) else Neighbours.missing(0, self._mixing.k)

    def _follow(self, forward: Forward, keys: Float32s, wanted: Bools) -> Neighbours:
        """Return the neighbours of wanted places, followed to or searched in the order of time."""
        batch, places = wanted.shape
        pointers = self.pointers.resume(forward)
        before = pointers.searches
        all_keys = np.zeros((batch, places, keys.shape[-1]), np.float32)
        all_keys[wanted] = keys
        neighbours = Neighbours.missing(batch * places, self._mixing.k)
        for place, position in enumerate(forward.positions):
            if place > 0 and position != forward.positions[place - 1] + 1:
                pointers.forget()
            came = np.full(batch, -1, np.int64) if forward.tokens is None else forward.tokens[:, position]
            rows = np.arange(batch) * places + place
            neighbours.put(rows, pointers.step(all_keys[:, place], came, wanted[:, place]))
        self.stats.searches += pointers.searches - before
        self.pointers.keep(forward, pointers)
        return neighbours.take(wanted.reshape(-1))

    def _add(self, neighbours: Neighbours, log: Tensor, places: Int64s) -> None:
        """Mix the neighbours of some places into log-probabilities of shape (all places, vocabulary), in place.

        Only the tokens of neighbours take a `logaddexp`; the others' probabilities are scaled.
        """
        import torch

        if not len(places):
            return
        weights = self._mixing.weight_of(nearest_distance(neighbours.distances))
        row, token, part = token_log_probabilities(neighbours.distances, neighbours.tokens, self._temperature)
        rest = np.zeros(len(log))
        with np.errstate(divide="ignore"):
            rest[places] = np.log1p(-weights)
            part = part + np.log(weights[row])
        log += torch.as_tensor(rest, dtype=log.dtype).to(log.device)[:, None]
        at = torch.from_numpy(places[row]).to(log.device), torch.from_numpy(token).to(log.device)
        log[at] = torch.logaddexp(log[at], torch.as_tensor(part, dtype=log.dtype).to(log.device))


def _array(keys: Tensor) -> Float32s:
    """Return keys as a datastore takes them."""
    import torch

    array: Float32s = keys.detach().to("cpu", torch.float32).numpy()
    if not np.isfinite(array).all():
        raise NotFiniteError(
            "the model's keys hold NaN or infinity: its weights or its input are broken, or its dtype overflows"
        )
    return array


def _make_processor(mixer: Mixer) -> tuple[LogitsProcessor, Callable[[Forward], None]]:
    """Return a logits processor, and what has to see the forward passes of its model."""
    import torch
    from transformers import LogitsProcessor

    class KnnLogitsProcessor(LogitsProcessor):
        """Adds to scores how mixing changes the model's probabilities of the next token."""

        step: tuple[Tensor, Tensor] | None = None
        """Logits and mixed log-probabilities of the last forward pass: shape (batch, vocabulary)."""

        def see(self, forward: Forward) -> None:
            logits = forward.logits[:, -1].to(copy=True, dtype=torch.float32)
            self.step = logits, mixer.mix(forward.last())[:, 0]

        def __call__(self, input_ids: LongTensor, scores: Tensor) -> Tensor:
            if self.step is None or self.step[0].shape != scores.shape:
                raise QueryError(
                    "a step of decoding came without a forward pass of the model of its own, as in assisted "
                    "generation; use `with knn.attach(model):` there"
                )
            logits, mixed = (part.to(scores.device) for part in self.step)
            self.step = None
            # To the bit what `attach` gives, where no other processor was at work.
            if torch.equal(scores, logits):
                return mixed.to(scores.dtype)
            # What others forbid stays forbidden; beams come normalised, other scores as logits.
            shift = mixed.double() - torch.log_softmax(logits.double(), dim=-1)
            return torch.where(scores > -torch.inf, scores + shift, scores).to(scores.dtype)

    processor = KnnLogitsProcessor()
    return processor, processor.see
