"""Which chunks are worth asking about, by a classifier (PAQ's passage selection; Lewis et al., 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from mnemodex.indexers.models.task_model import TaskModel
from mnemodex.pipelines.qa.generators.base import PassageScorer
from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Float32s
    from mnemodex.indexers.models.task_model import Row
    from mnemodex.pipelines.ops.base import Work
    from mnemodex.pipelines.qa.generators.base import Passage
    from mnemodex.schemas.pair_sections import PassageChoice


class PassageClassifier(PassageScorer):
    """A transformers sequence classifier with two classes, of which the second is "worth asking about".

    It reads a passage's title and text as two texts, 256 tokens at most: half of them of the title, and what is left
    of the text.

    Raises:
        ModelError: there is no such model, or it has not two classes.
    """

    def __init__(self, settings: PassageChoice, work: Work) -> None:
        self._model = TaskModel(settings.model, "classes", threads=work.cpus)
        classes = int(self._model.model.config.num_labels)
        if classes != 2:
            raise ModelError(
                f"model {settings.model!r}: has {classes} classes; passages are chosen by one with two, of which the "
                "second is those to ask about"
            )
        self._frames = self._model.frame(1), self._model.frame(2)
        self.cut = 0

    @override
    def score(self, passages: Sequence[Passage]) -> Float32s:
        tokenizer = self._model.tokenizer
        titles, texts = (
            [encoding.ids for encoding in tokenizer.encode_batch(parts, add_special_tokens=False)]
            for parts in ([passage.title for passage in passages], [passage.text for passage in passages])
        )
        scores = np.zeros(len(passages), np.float32)
        for batch, output in self._model.read(list(map(self._row, titles, texts))):
            scores[batch] = output.logits.float().log_softmax(dim=1)[:, 1].cpu().numpy()
        return scores

    def _row(self, title: list[int], text: list[int]) -> Row:
        frame = self._frames[1 if title else 0]
        room = self._model.window - frame.size
        kept = title[: room // 2]
        self.cut += len(title) + len(text) > room or len(kept) < len(title)
        parts = [kept] if title else []
        return frame.join(*parts, text[: room - len(kept)])[0]
