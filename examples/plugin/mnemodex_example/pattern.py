"""An extractor of triples: sentences of the form "X is a Y"."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from typing_extensions import override

from mnemodex.pipelines.extractors.base import Extraction, Extractor, Raw
from mnemodex.schemas.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.pipelines.extractors.base import Passages

_SENTENCE = re.compile(r"\b([A-Z][\w-]*(?: [A-Z][\w-]*){0,4}) (is|was) (?:an?|the) ([\w-]+(?: [\w-]+){0,3})")


class PatternSettings(Spec):
    """Settings of `extractor: pattern`: there are none."""

    extractor: Literal["pattern"]


class PatternExtractor(Extractor):
    """Finds (X, is, Y)."""

    @override
    def extract(self, documents: Sequence[Passages]) -> list[Extraction]:
        return [
            Extraction(
                [
                    [Raw(list(parts), document.source, document.line) for parts in _SENTENCE.findall(text)]
                    for text in document.texts
                ]
            )
            for document in documents
        ]
