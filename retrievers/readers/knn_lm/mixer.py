"""Looking up places of a forward pass and mixing what is found into the model's probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.retrievers.readers.knn_lm.mixing import nearest_distance, token_log_probabilities
from mnemodex.retrievers.readers.knn_lm.neighbours import look_up, missing, put, taken
from mnemodex.retrievers.readers.knn_lm.pointers import Pointers
from mnemodex.retrievers.readers.knn_lm.trails import Trails
from mnemodex.schemas.errors import ModelError, NotFiniteError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from mnemodex.retrievers.datastore import Datastore, Neighbours
    from mnemodex.retrievers.readers.knn_lm.forward import Forward
    from mnemodex.retrievers.readers.knn_lm.mixing import Mixing


@dataclass
class Stats:
    """What was looked up while a model was attached to.

    Attributes:
        lookups: places whose neighbours were mixed in.
        searches: of them, those that the datastore was searched for.
        gated: places that were left to the model, which was sure enough.
    """

    lookups: int = 0
    searches: int = 0
    gated: int = 0

    @property
    def saved(self) -> int:
        """Places whose neighbours followed from those of the token before."""
        return self.lookups - self.searches


class Mixer:
    """Mixes the probabilities of forward passes; keeps pointers between them.

    Args:
        datastore: where neighbours are.
        mixing: how.
        temperature: of the softmax over negated squared distances.

    Attributes:
        stats: what was looked up.
        trails: the pointers.
    """

    def __init__(self, datastore: Datastore, mixing: Mixing, temperature: float) -> None:
        self._datastore = datastore
        self._mixing = mixing
        self._temperature = temperature
        self.stats = Stats()
        self.trails = Trails(lambda rows: Pointers(datastore, mixing, rows))

    def mixed(self, forward: Forward, keys: Tensor, *, last: bool = False) -> Tensor:
        """The logarithms of the mixed probabilities of a forward pass.

        They are float32 whatever the model's dtype (float64 of a model of doubles): rounded to bf16, probable tokens
        would tie. They carry no gradient.

        Args:
            forward: the pass.
            keys: of its places, shape (batch, places, dimension).
            last: of the last place of each sequence only.

        Returns:
            Shape (batch, places, vocabulary), or (batch, 1, vocabulary).

        Raises:
            NotFiniteError: a key holds NaN or infinity.
        """
        import torch

        logits, real, positions = forward.output.logits, forward.real(), forward.positions
        if last:
            logits, keys, real, positions = logits[:, -1:], keys[:, -1:], real[:, -1:], positions[-1:]
        log = torch.log_softmax(
            logits.detach().to(torch.promote_types(logits.dtype, torch.float32)), dim=-1
        ).contiguous()
        wanted = real & self._uncertain(log)
        self.stats.gated += int((real & ~wanted).sum())
        self.stats.lookups += int(wanted.sum())
        if self._mixing.pointers is None:
            found = self._search(keys[torch.from_numpy(wanted).to(keys.device)])
        else:
            found = self._follow(forward, positions, keys, wanted)
        self._mix(log.view(-1, log.shape[-1]), np.flatnonzero(wanted), found)
        return log

    def _uncertain(self, log: Tensor) -> NDArray[np.bool_] | bool:
        """Where the model's entropy does not fall short of the gate: shape (batch, places)."""
        import torch

        if self._mixing.gate is None:
            return True
        entropy = torch.special.entr(log.exp()).sum(dim=-1)
        # NaN is let through, to be found among the keys.
        uncertain: NDArray[np.bool_] = (~(entropy < self._mixing.gate)).cpu().numpy()
        return uncertain

    def _search(self, keys: Tensor) -> Neighbours:
        """The neighbours of keys of shape (q, dimension)."""
        self.stats.searches += len(keys)
        if not len(keys):
            return missing(0, self._mixing.k)
        return look_up(self._datastore, _array(keys), self._mixing.k, rescore=self._mixing.rescore)

    def _follow(
        self, forward: Forward, positions: NDArray[np.int64], keys: Tensor, wanted: NDArray[np.bool_]
    ) -> Neighbours:
        """The neighbours of wanted places, found in the order of time."""
        import torch

        batch, places = wanted.shape
        pointers, start = self._pointers(forward, positions, batch)
        before = pointers.searches
        read = forward.read()
        every = np.zeros((batch, places, keys.shape[-1]), np.float32)
        every[wanted] = _array(keys[torch.from_numpy(wanted).to(keys.device)])
        found = missing(batch * places, self._mixing.k)
        for place, position in enumerate(positions):
            goes_on = start if place == 0 else position == positions[place - 1] + 1
            if not goes_on:
                pointers.forget()
            came = read[:, position] if read is not None else np.full(batch, -1, np.int64)
            here = pointers.step(every[:, place], came, wanted[:, place])
            put(found, np.arange(batch) * places + place, here)
        self.stats.searches += pointers.searches - before
        self._keep(forward, positions, pointers)
        return taken(found, wanted.reshape(-1))

    def _pointers(self, forward: Forward, positions: NDArray[np.int64], batch: int) -> tuple[Pointers, bool]:
        """The pointers to go on with, and whether they end in front of the first place."""
        cache, read = forward.cache, forward.read()
        if cache is None and read is not None and len(positions) == 1 and positions[0] == forward.tokens - 1:
            return self.trails.of_tokens(read), True
        past = 0 if cache is None else _length(cache) - forward.tokens
        return self.trails.of_cache(cache, past, batch), positions[0] == 0

    def _keep(self, forward: Forward, positions: NDArray[np.int64], pointers: Pointers) -> None:
        """Remember pointers for the next forward pass, if they end at the last token."""
        cache, read = forward.cache, forward.read()
        if positions[-1] != forward.tokens - 1:
            return
        if cache is not None:
            self.trails.keep_of_cache(cache, _length(cache), pointers)
        elif read is not None:
            self.trails.keep_of_tokens(read, pointers)

    def _mix(self, log: Tensor, places: NDArray[np.int64], found: Neighbours) -> None:
        """Mix neighbours into log-probabilities of shape (all places, vocabulary), in place.

        Only the tokens of neighbours take a `logaddexp`; the others' probabilities are scaled.
        """
        import torch

        if not len(places):
            return
        weights = self._mixing.weight_of(nearest_distance(found.distances))
        row, token, part = token_log_probabilities(found.distances, found.tokens, self._temperature)
        rest = np.zeros(len(log))
        with np.errstate(divide="ignore"):
            rest[places] = np.log1p(-weights)
            part = part + np.log(weights[row])
        log += torch.as_tensor(rest, dtype=log.dtype).to(log.device)[:, None]
        at = torch.from_numpy(places[row]).to(log.device), torch.from_numpy(token).to(log.device)
        log[at] = torch.logaddexp(log[at], torch.as_tensor(part, dtype=log.dtype).to(log.device))


def _length(cache: Any) -> int:
    """The tokens in a cache.

    Raises:
        ModelError: it does not tell.
    """
    try:
        return int(cache.get_seq_length())
    except (AttributeError, ValueError) as error:
        msg = (
            f"pointers go on where a cache ends, but a {type(cache).__name__} of this model does not tell where that "
            "is; leave pointers out"
        )
        raise ModelError(msg) from error


def _array(keys: Tensor) -> NDArray[np.float32]:
    """Keys as the datastore takes them.

    Raises:
        NotFiniteError: one holds NaN or infinity.
    """
    import torch

    array: NDArray[np.float32] = keys.detach().to("cpu", torch.float32).numpy()
    if not np.isfinite(array).all():
        msg = "the model's keys hold NaN or infinity: its weights or its input are broken, or its dtype overflows"
        raise NotFiniteError(msg)
    return array
