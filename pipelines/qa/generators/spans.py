"""Possible answers of a chunk: what spaCy names in it, or what a model marks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from mnemodex.indexers.graph.names import normalize
from mnemodex.indexers.models.pipeline import load_pipeline, pieces
from mnemodex.indexers.models.spans import SpanModel
from mnemodex.pipelines.qa.generators.base import AnswerFinder, Span
from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from spacy.tokens import Doc
    from spacy.tokens import Span as Words

    from mnemodex.pipelines.ops.base import Work
    from mnemodex.pipelines.qa.generators.base import Passage
    from mnemodex.schemas.pair_sections import AnswerSpans

_VALUES = {"CARDINAL", "ORDINAL", "QUANTITY", "PERCENT", "MONEY", "DATE", "TIME"}
"""What OntoNotes calls values, not names."""
_BEFORE, _AFTER = {"DET", "PUNCT", "SPACE"}, {"PUNCT", "SPACE", "PART"}
"""Parts of speech that no answer begins or ends with: articles and marks; the 's of a genitive."""


class SpacyFinder(AnswerFinder):
    """Named entities and noun chunks by spaCy.

    Names come first, then values (dates, numbers, amounts), then noun chunks, and in each of these what comes earlier
    in the chunk. What overlaps with a better one or says the same (in lower case, without punctuation), is longer than
    `max_tokens` or a line, has no letter or digit, or is a pronoun, is left out.
    """

    def __init__(self, settings: AnswerSpans, work: Work) -> None:
        assert settings.spacy is not None  # noqa: S101 - settings by spaCy name a model
        self._settings = settings
        # Nothing reads lemmas.
        self._nlp = load_pipeline(settings.spacy, exclude=["lemmatizer"])
        self._has_chunks = self._nlp.vocab.get_noun_chunks is not None and "parser" in self._nlp.pipe_names
        if not self._has_chunks and "ner" not in self._nlp.pipe_names:
            raise ModelError(
                f"spaCy model {settings.spacy!r}: finds neither entities nor noun chunks; take a model with both"
            )

    @override
    def find(self, passages: Sequence[Passage]) -> list[list[Span]]:
        found: list[list[tuple[int, Span]]] = [[] for _ in passages]
        parts = [
            (part, (number, start)) for number, passage in enumerate(passages) for start, part in pieces(passage.text)
        ]
        for doc, (number, start) in self._nlp.pipe(parts, as_tuples=True, batch_size=64):
            found[number] += self._spans(doc, start)
        return [
            self._choose(passage.text, [span for _, span in sorted(spans, key=_order)])
            for passage, spans in zip(passages, found, strict=True)
        ]

    def _spans(self, doc: Doc, start: int) -> Iterator[tuple[int, Span]]:
        """Yield the spans of a part of a chunk, each with the number of its class."""
        spans = [(entity, entity.label_) for entity in doc.ents]
        spans += [(chunk, "noun_chunk") for chunk in doc.noun_chunks] if self._has_chunks else []
        for whole, kind in spans:
            words = _trim(whole)
            is_short = 0 < len(words) <= self._settings.max_tokens and "\n" not in words.text
            if is_short and words.root.pos_ != "PRON":
                rank = 2 if kind == "noun_chunk" else int(kind in _VALUES)
                yield rank, Span(start + words.start_char, start + words.end_char, kind)

    def _choose(self, text: str, spans: Sequence[Span]) -> list[Span]:
        kept: list[Span] = []
        known = {""}
        for span in spans:
            form = normalize(text[span.start : span.end])
            free = all(span.end <= other.start or span.start >= other.end for other in kept)
            if form not in known and free and len(kept) < self._settings.max_answers:
                kept.append(span)
                known.add(form)
        return kept


def _order(ranked: tuple[int, Span]) -> tuple[int, int]:
    rank, span = ranked
    return rank, span.start


def _trim(words: Words) -> Words:
    """Return a span without what no answer begins or ends with."""
    start, end = words.start, words.end
    while start < end and words.doc[start].pos_ in _BEFORE:
        start += 1
    while end > start and words.doc[end - 1].pos_ in _AFTER:
        end -= 1
    return words.doc[start:end]


class SpanFinder(AnswerFinder):
    """The spans that a transformers model for extractive question answering marks in a chunk, without a question.

    PAQ's answer extractor is such a model (Lewis et al., 2021). The score of a span is the log-probability of its first
    and its last token. See `SpanModel` for long chunks and for what can be a span.
    """

    def __init__(self, settings: AnswerSpans, work: Work) -> None:
        assert settings.model is not None  # noqa: S101 - settings by a model name it
        self._settings = settings
        self._model = SpanModel(settings.model, threads=work.cpus)

    @override
    def find(self, passages: Sequence[Passage]) -> list[list[Span]]:
        texts = [passage.text for passage in passages]
        settings = self._settings
        marked = self._model.mark(texts, top=settings.max_answers, max_tokens=settings.max_tokens)
        return [[Span(span.start, span.end, "span", span.score) for span in spans or ()] for spans in marked]
