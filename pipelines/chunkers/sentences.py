"""The chunker that packs whole sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from mnemodex.indexers.models.locate import need
from mnemodex.indexers.models.tokenizers import token_offsets, tokenizer
from mnemodex.pipelines.chunkers import Chunker
from mnemodex.pipelines.chunkers.units import EMPTY, pack_units, trimmed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.schemas.sections import SentenceChunks


class SentenceChunker(Chunker):
    """Sentences by sentencex's rules, which know the stops of all scripts and the abbreviations of a language.

    A sentence of more tokens than a chunk has is cut into windows of tokens. White space between chunks is in none.
    """

    def __init__(self, settings: SentenceChunks) -> None:
        need("sentencex", extra="documents")
        self.settings = settings
        self._tokenizer = tokenizer(settings.tokenizer)

    @override
    def spans(self, texts: Sequence[str]) -> list[Int64s]:
        offsets = token_offsets(self._tokenizer, texts)
        return [
            pack_units(text, self._sentences(text), tokens, size=self.settings.size) if text else EMPTY.copy()
            for text, tokens in zip(texts, offsets, strict=True)
        ]

    def _sentences(self, text: str) -> Int64s:
        from sentencex import get_sentence_boundaries

        found = get_sentence_boundaries(self.settings.language, text)
        return trimmed(text, ((sentence["start_index"], sentence["end_index"]) for sentence in found))
