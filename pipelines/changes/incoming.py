"""Documents that come into a memory: read twice, first for what they say of keys, then for their texts."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.documents.contamination import EvaluationTexts, contaminated_row, count_documents, share
from mnemodex.pipelines.documents.read import content_hash, count_rows
from mnemodex.pipelines.sources import open_source
from mnemodex.pipelines.sources.files import FileSource
from mnemodex.schemas.errors import DuplicateKeyError, SourceError
from mnemodex.schemas.kinds import SOURCES, load
from mnemodex.schemas.limits import exceeds
from mnemodex.schemas.source_sections import Source
from mnemodex.schemas.store.object_url import parse_root
from mnemodex.schemas.typed_fields import metadata_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mnemodex.pipelines.documents.contamination import Shared
    from mnemodex.pipelines.sources.base import Record, Split
    from mnemodex.pipelines.sources.base import Source as OpenSource
    from mnemodex.schemas.recipe import Recipe


@dataclass
class Incoming:
    """The documents of a file or folder.

    Attributes:
        contents: the hash of each document's content by its key; memory grows with the documents, not their texts.
        warnings: of rows that are left out.
    """

    source: OpenSource
    settings: Source
    splits: list[Split]
    evaluation: EvaluationTexts | None = None
    contents: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, path: str | Path, recipe: Recipe, *, max_errors: int | str | None = None) -> Incoming:
        """Read the keys of a source, whose fields are called as in the recipe's.

        Raises:
            SourceError: it is missing, empty, of no known format, or has more bad rows than the recipe accepts.
            DuplicateKeyError: two documents have one key and different content.
        """
        settings = _settings(path, recipe)
        if max_errors is not None:
            settings = settings.model_copy(update={"max_errors": max_errors})
        source = open_source(settings)
        clean = getattr(recipe.source, "decontaminate", None)
        incoming = cls(source, settings, source.plan(), EvaluationTexts(clean) if clean is not None else None)
        incoming._read_keys()
        return incoming

    def records(self, keys: set[str]) -> Iterator[Record]:
        """Yield the documents of some keys, each once."""
        left = set(keys)
        for record in self._rows():
            if not isinstance(record, BadRow) and record.key in left:
                left.remove(record.key)
                yield record

    def _read_keys(self) -> None:
        bad: list[BadRow] = []
        contaminated: list[BadRow] = []
        for record, shared in self._shared():
            if isinstance(record, BadRow):
                bad.append(record)
                continue
            if self.evaluation is not None and shared is not None:
                contaminated.append(contaminated_row(record, shared, self.evaluation.n))
                continue
            content = content_hash(record.title, record.text, metadata_text(record.metadata))
            if self.contents.setdefault(record.key, content) != content:
                raise DuplicateKeyError(
                    f"two documents have the key {record.key!r} and different content, the second in {record.source} "
                    f"line {record.line}; make the keys unique"
                )
        self._judge(bad, contaminated)

    def _judge(self, bad: list[BadRow], contaminated: list[BadRow]) -> None:
        first = f": {bad[0].source} line {bad[0].line}: {bad[0].reason}" if bad else ""
        limit = self.settings.max_errors
        if exceeds(limit, len(bad), len(self.contents) + len(bad), complete=True):
            problem = f"{count_rows(len(bad))} cannot be read, more than `source.max_errors: {limit}`"
            raise SourceError(f"{self.settings.path}: {problem}{first}")
        if contaminated:
            self.warnings.append(f"{count_documents(len(contaminated))} left out: {contaminated[0].shown}")
        elif not self.contents:
            raise SourceError(f"{self.settings.path}: no documents{first}")
        if bad:
            self.warnings.append(f"{count_rows(len(bad))} left out{first}")

    def _shared(self) -> Iterator[tuple[Record | BadRow, Shared | None]]:
        """Yield all rows, each with what it shares with the recipe's evaluation."""
        if self.evaluation is None:
            return ((row, None) for row in self._rows())
        return share(self._rows(), self.evaluation)

    def _rows(self) -> Iterator[Record | BadRow]:
        return chain.from_iterable(map(self.source.read, self.splits))


def _settings(path: str | Path, recipe: Recipe) -> Source:
    """Return the settings of a source that is read as the recipe's; other formats have no fields to name.

    A format that the recipe names holds for files of its endings, so that a chat log is added to chat logs.
    """
    given: Any = recipe.source
    fields = getattr(given, "fields", {})
    plain = Source(path=str(parse_root(path).absolute()), max_errors=getattr(given, "max_errors", 100))
    opened = open_source(plain)
    if not isinstance(opened, FileSource):
        return plain
    named = getattr(given, "format", None)
    kind: Any = load(SOURCES.find(named).make) if named is not None else None
    same = isinstance(given, Source) and isinstance(kind, type) and issubclass(kind, type(opened))
    if same and all(name.lower().endswith(kind.endings) for name in opened.paths):
        as_given: Source = given.model_copy(update={"path": plain.path, "metadata": None})
        return as_given
    return plain.model_copy(update={"fields": fields}) if opened.keys else plain
