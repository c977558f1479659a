"""Triples that are there already: each goes to the chunk of its document where it was read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic_core import from_json

from mnemodex.pipelines.extractors.base import Extraction, Raw
from mnemodex.pipelines.sources.streams import blocks
from mnemodex.schemas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.pipelines.extractors.base import Passages
    from mnemodex.pipelines.ops.base import Work
    from mnemodex.schemas.triples import TripleFile


class FileExtractor:
    """Gives out what `SortTriples` set aside for a partition; see `Extractor`.

    A file has the triples of documents. Where a document has several chunks, a triple belongs to the first that holds
    both names (its title counts as its own), else to the first that holds the subject, else to the first of all.
    """

    version: ClassVar[int] = 1

    def __init__(self, settings: TripleFile, work: Work) -> None:
        self._file = Path(settings.path).name

    @classmethod
    def check(cls, settings: TripleFile) -> None:
        """See `Extractor`.

        Raises:
            SourceError: the file is not there, or is empty.
        """
        path = Path(settings.path)
        if not path.is_file():
            msg = f"{path}: no such file of triples; correct triples.from"
            raise SourceError(msg)
        if next(blocks(path), None) is None:
            msg = f"{path}: the file of triples is empty; correct triples.from"
            raise SourceError(msg)

    def begin(self, given: Path | None) -> None:
        """See `Extractor`; a partition that no line is about was given nothing."""
        self._found: dict[int, list[Raw]] = {}
        if given is None:
            return
        with given.open("rb") as lines:
            for line in lines:
                doc_id, number, triples = from_json(line)
                self._found.setdefault(doc_id, []).extend(Raw(value, self._file, number) for value in triples)

    def extract(self, documents: Sequence[Passages]) -> list[Extraction]:
        """See `Extractor`."""
        return [Extraction(_shared_out(self._found.get(document.doc_id, []), document)) for document in documents]

    def counts(self) -> dict[str, int]:
        """See `Extractor`."""
        return {}


def _shared_out(triples: list[Raw], document: Passages) -> list[list[Raw]]:
    """The triples of each chunk."""
    chunks: list[list[Raw]] = [[] for _ in document.texts]
    if len(chunks) == 1:
        return [triples]
    texts = [f"{document.title}\n{text}".casefold() for text in document.texts]
    for triple in triples:
        chunks[_place(triple.value, texts)].append(triple)
    return chunks


def _place(triple: Any, texts: list[str]) -> int:
    if not isinstance(triple, list) or len(triple) != 3:
        return 0
    subject, object_ = (str(triple[part]).strip().casefold() for part in (0, 2))
    holding = [place for place, text in enumerate(texts) if subject in text]
    both = (place for place in holding if object_ in texts[place])
    return next(both, holding[0] if holding else 0)
