"""An extractor of triples: sentences of the form "X is a Y"."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from mnemodex.pipelines.extractors.base import Extraction, Raw
from mnemodex.schemas.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnemodex.pipelines.extractors.base import Passages
    from mnemodex.pipelines.ops.base import Work

_SENTENCE = re.compile(r"\b([A-Z][\w-]*(?: [A-Z][\w-]*){0,4}) (is|was) (?:an?|the) ([\w-]+(?: [\w-]+){0,3})")


class PatternSettings(Spec):
    """Settings of `extractor: pattern`: there are none."""

    extractor: Literal["pattern"]


class PatternExtractor:
    """Finds (X, is, Y); see `Extractor`."""

    version: ClassVar[int] = 1

    def __init__(self, settings: PatternSettings, work: Work) -> None:
        """There is nothing to load."""

    @classmethod
    def check(cls, settings: Any) -> None:
        """See `Extractor`: it needs nothing."""

    def begin(self, given: Path | None) -> None:
        """See `Extractor`."""

    def extract(self, documents: Sequence[Passages]) -> list[Extraction]:
        """See `Extractor`."""
        return [
            Extraction(
                [[Raw(list(found), one.source, one.line) for found in _SENTENCE.findall(text)] for text in one.texts]
            )
            for one in documents
        ]

    def counts(self) -> dict[str, int]:
        """See `Extractor`."""
        return {}
