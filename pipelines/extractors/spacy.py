"""Triples by spaCy's parser and named entities: offline, one CPU an actor."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING, ClassVar

from mnemodex.indexers.graph.names import normalize
from mnemodex.indexers.models.locate import need, spacy_folder
from mnemodex.pipelines.extractors.base import Extraction, Raw
from mnemodex.pipelines.extractors.clauses import clauses

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from spacy.tokens import Doc, Span, Token

    from mnemodex.pipelines.extractors.base import Passages
    from mnemodex.pipelines.ops.base import Work
    from mnemodex.schemas.triples import SpacyTriples

_NUMERIC = {"CARDINAL", "ORDINAL", "QUANTITY", "PERCENT", "MONEY", "DATE", "TIME"}
"""What OntoNotes calls values, not names."""

_PATH = 7
"""Most words of a path."""

_PIECE = 20_000
"""Characters that are parsed at once: the parser's memory grows with them."""

_BRACKETS = re.compile(r"\s*\([^()]*\)\s*$")


class SpacyExtractor:
    """Facts about a document's title along dependency paths; without a title, clauses. See `Extractor`.

    A titled document is taken to be about its title (as of an encyclopedia). Each of its named entities gives the fact
    (title without a bracketed ending, path, entity), where the path are the words that join the entity to the root of
    its sentence, the root first. Texts without a title give what `clauses` finds.
    """

    version: ClassVar[int] = 1

    def __init__(self, settings: SpacyTriples, work: Work) -> None:
        import spacy

        self._spec = settings
        # Nothing reads lemmas.
        self._nlp = spacy.load(spacy_folder(settings.model), exclude=["lemmatizer"])

    @classmethod
    def check(cls, settings: SpacyTriples) -> None:
        """See `Extractor`.

        Raises:
            MissingExtraError: the extra `openie` is not installed.
            ModelError: there is no such model.
        """
        need("spacy", extra="openie")
        spacy_folder(settings.model)

    def begin(self, given: Path | None) -> None:
        """See `Extractor`."""

    def extract(self, documents: Sequence[Passages]) -> list[Extraction]:
        """See `Extractor`."""
        pieces = [
            (piece, (number, place))
            for number, document in enumerate(documents)
            for place, text in enumerate(document.texts)
            for piece in _pieces(text)
        ]
        found: list[list[list[Raw]]] = [[[] for _ in document.texts] for document in documents]
        for parsed, (number, place) in self._nlp.pipe(pieces, as_tuples=True, batch_size=64):
            document = documents[number]
            facts = found[number][place]
            title = _BRACKETS.sub("", document.title).strip()
            triples = title_facts(parsed, title) if normalize(title) else clauses(parsed)
            known = {tuple(map(normalize, fact.value)) for fact in facts}
            for triple in triples:
                if len(facts) == self._spec.max_facts:
                    break
                if (form := tuple(map(normalize, triple))) not in known:
                    known.add(form)
                    facts.append(Raw(list(triple), document.source, document.line))
        return [Extraction(triples) for triples in found]

    def counts(self) -> dict[str, int]:
        """See `Extractor`."""
        return {}


def title_facts(doc: Doc, title: str) -> Iterator[tuple[str, str, str]]:
    """A document's facts about its title, in the order of the text."""
    own = set(normalize(title).split())
    for entity in _entities(doc):
        name = entity.text.strip()
        words = normalize(name).split()
        if not words or "".join(words).isdigit() or own.issuperset(words):
            continue
        yield title, " ".join(_path(entity.root)), name


def _entities(doc: Doc) -> list[Span]:
    """Named entities that are no numbers, and the runs of proper nouns that are left, in the order of the text."""
    named = [_bare(entity) for entity in doc.ents if entity.label_ not in _NUMERIC]
    free = [token for token in doc if token.pos_ == "PROPN" and not token.ent_type_]
    runs = [list(run) for _, run in groupby(enumerate(free), key=lambda item: item[1].i - item[0])]
    spans = [doc[run[0][1].i : run[-1][1].i + 1] for run in runs]
    return sorted([span for span in named if len(span)] + spans, key=lambda span: span.start)


def _bare(entity: Span) -> Span:
    """An entity without an article before it, and without the 's of a genitive after it."""
    start, end = entity.start, entity.end
    while start < end and entity.doc[start].pos_ == "DET":
        start += 1
    while end > start and entity.doc[end - 1].tag_ == "POS":
        end -= 1
    return entity.doc[start:end]


def _path(token: Token) -> list[str]:
    """The words from the root of the sentence down to a token, without it.

    What is coordinated with something shares its governor, so it is passed over; else lists would become paths.
    """
    words: list[str] = []
    while len(words) < _PATH:
        while token.dep_ == "conj":
            token = token.head
        if token.head is token or token.head.i == token.i:
            break
        token = token.head
        if token.pos_ not in {"DET", "PUNCT", "SPACE"}:
            words.append(token.text)
    return words[::-1]


def _pieces(text: str) -> Iterator[str]:
    """A text in pieces that end at white space, if they can."""
    while len(text) > _PIECE:
        cut = max(text.rfind(" ", 0, _PIECE), text.rfind("\n", 0, _PIECE))
        end = cut + 1 if cut > 0 else _PIECE
        yield text[:end]
        text = text[end:]
    if text.strip():
        yield text
