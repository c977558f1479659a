"""Extractions that are kept: what a model found in a document is taken over wherever the document is later."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mnemodex.pipelines.extractors.base import Extraction, Passages, Raw
from mnemodex.schemas.ids import hash_text
from mnemodex.schemas.tables import EXTRACTIONS, spec_of

if TYPE_CHECKING:
    from mnemodex.pipelines.ops.inputs import Inputs


class Kept:
    """What a model found in the documents of a partition, and in those of the current snapshot."""

    def __init__(self, inputs: Inputs) -> None:
        self._rows: list[tuple[int, str]] = []
        self._former: dict[int, str] = {}
        if inputs.former:
            chunk_ids, doc_ids = inputs.ids(0, "chunk_id"), inputs.ids(0, "doc_id")
            documents = np.split(chunk_ids, np.flatnonzero(np.diff(doc_ids)) + 1)
            ids = np.array([_extraction_id(document.tolist()) for document in documents], np.int64)
            rows = inputs.former.take(ids, spec_of(EXTRACTIONS).schema)
            self._former = dict(zip(*(column.to_pylist() for column in rows), strict=True))

    def find(self, ids: list[list[int]], documents: list[Passages]) -> dict[int, Extraction]:
        """Return the extractions of the current snapshot, by the documents' numbers; they are where these are now."""
        extractions = {}
        for number, (chunk_ids, document) in enumerate(zip(ids, documents, strict=True)):
            text = self._former.get(_extraction_id(chunk_ids))
            if text is not None:
                found = [[Raw(value, document.source, document.line) for value in chunk] for chunk in json.loads(text)]
                extractions[number] = Extraction(found)
        return extractions

    def add(self, chunk_ids: list[int], extraction: Extraction) -> None:
        """Keep what was found in a document; where something failed, the next build tries again."""
        if not extraction.problems:
            found = json.dumps([[raw.value for raw in chunk] for chunk in extraction.triples])
            self._rows.append((_extraction_id(chunk_ids), found))

    def batches(self) -> list[pa.RecordBatch]:
        """Return what was kept as rows of the table."""
        columns: list[Any] = list(zip(*self._rows, strict=True)) or [(), ()]
        return [pa.record_batch(columns, schema=spec_of(EXTRACTIONS).schema)]


def _extraction_id(chunk_ids: list[int]) -> int:
    return hash_text(*map(str, chunk_ids))
