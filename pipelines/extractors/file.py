"""Triples of a file: each goes to the chunk of its document from which it was extracted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json
from typing_extensions import override

from mnemodex.pipelines.extractors.base import Extraction, Extractor, Passages, Raw
from mnemodex.pipelines.sources.reading import absence, read_blocks
from mnemodex.schemas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.pipelines.ops.base import Work
    from mnemodex.schemas.sections import TripleFile


class FileExtractor(Extractor):
    """Returns the triples that `SortTriples` set aside for a partition.

    A file has the triples of documents. Where a document has several chunks, a triple belongs to the first that holds
    both names (its title counts as its own), else to the first that holds the subject, else to the first of all.
    """

    def __init__(self, settings: TripleFile, work: Work) -> None:
        self._file = Path(settings.path).name

    @override
    @classmethod
    def check(cls, settings: TripleFile) -> None:
        path = settings.path
        if not os.path.isfile(path):  # noqa: PTH113 - false for what cannot be looked at
            what = "is a folder" if os.path.isdir(path) else absence(path)  # noqa: PTH112
            raise SourceError(f"{path}: {what}, not a file of triples; correct that, or triples.from")
        if next(read_blocks(path), None) is None:
            raise SourceError(f"{path}: the file of triples is empty; correct triples.from")

    @override
    def begin(self, given: Path | None) -> None:
        self._triples: dict[int, list[Raw]] = {}
        if given is None:
            return
        with given.open("rb") as lines:
            for line in lines:
                doc_id, number, triples = from_json(line)
                self._triples.setdefault(doc_id, []).extend(Raw(value, self._file, number) for value in triples)

    @override
    def extract(self, documents: Sequence[Passages]) -> list[Extraction]:
        return [Extraction(_divide(self._triples.get(document.doc_id, []), document)) for document in documents]


def _divide(triples: list[Raw], document: Passages) -> list[list[Raw]]:
    """Return the triples of each chunk."""
    chunks: list[list[Raw]] = [[] for _ in document.texts]
    texts = [f"{document.title}\n{text}".casefold() for text in document.texts] if len(chunks) > 1 else []
    for triple in triples:
        chunks[_chunk_of(triple.value, texts)].append(triple)
    return chunks


def _chunk_of(triple: Any, texts: list[str]) -> int:
    if not isinstance(triple, list) or len(triple) != 3:
        return 0
    subject, object_ = (str(triple[part]).strip().casefold() for part in (0, 2))
    with_subject = [number for number, text in enumerate(texts) if subject in text]
    return next((number for number in with_subject if object_ in texts[number]), next(iter(with_subject), 0))
