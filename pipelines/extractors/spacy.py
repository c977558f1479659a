"""Triples by spaCy's parser and named entities: offline, one CPU an actor."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING

from typing_extensions import override

from mnemodex.indexers.graph.names import normalize
from mnemodex.indexers.models.locate import need, spacy_folder
from mnemodex.indexers.models.pipeline import load_pipeline
from mnemodex.pipelines.extractors.base import Extraction, Extractor, Passages, Raw

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from spacy.tokens import Doc, Span, Token

    from mnemodex.pipelines.ops.base import Work
    from mnemodex.schemas.sections import SpacyTriples

_Parts = tuple[str, str, str]
_NUMERIC = {"CARDINAL", "ORDINAL", "QUANTITY", "PERCENT", "MONEY", "DATE", "TIME"}
"""What OntoNotes calls values, not names."""
_VERBS = {"VERB", "AUX"}
_VERB_PARTS = {"aux", "auxpass", "neg", "prt"}
_MODIFIERS = {"compound", "amod", "nummod", "nmod", "poss", "case", "quantmod", "advmod"}
_PATH_WORDS = 7
_PIECE = 20_000
"""Characters that are parsed at once: the parser's memory grows with them."""
_BRACKETS = re.compile(r"\([^()]*\)\s*$")


class SpacyExtractor(Extractor):
    """Facts about a document's title along dependency paths; without a title, clauses.

    A titled document is taken to be about its title (as of an encyclopedia). Each of its named entities gives the fact
    (title without a bracketed ending, path, entity), where the path are the words that join the entity to the root of
    its sentence, the root first. Texts without a title give what `clauses` finds.
    """

    def __init__(self, settings: SpacyTriples, work: Work) -> None:
        self._max_facts = settings.max_facts
        # Nothing reads lemmas.
        self._nlp = load_pipeline(settings.model, exclude=["lemmatizer"])

    @override
    @classmethod
    def check(cls, settings: SpacyTriples) -> None:
        need("spacy", extra="openie")
        spacy_folder(settings.model)

    @override
    def extract(self, documents: Sequence[Passages]) -> list[Extraction]:
        facts: list[list[list[Raw]]] = [[[] for _ in document.texts] for document in documents]
        pieces = [
            (piece, (document, chunk_facts))
            for document, document_facts in zip(documents, facts, strict=True)
            for text, chunk_facts in zip(document.texts, document_facts, strict=True)
            for piece in _pieces(text)
        ]
        for doc, (document, chunk_facts) in self._nlp.pipe(pieces, as_tuples=True, batch_size=64):
            title = _BRACKETS.sub("", document.title).strip()
            triples = title_facts(doc, title) if normalize(title) else clauses(doc)
            known = {tuple(map(normalize, fact.value)) for fact in chunk_facts}
            for triple in triples:
                if len(chunk_facts) == self._max_facts:
                    break
                if (form := tuple(map(normalize, triple))) not in known:
                    known.add(form)
                    chunk_facts.append(Raw(list(triple), document.source, document.line))
        return list(map(Extraction, facts))


def _pieces(text: str) -> Iterator[str]:
    """Yield a text in pieces that end at white space, if they can."""
    while len(text) > _PIECE:
        cut = max(text.rfind(" ", 0, _PIECE), text.rfind("\n", 0, _PIECE))
        end = cut + 1 if cut > 0 else _PIECE
        yield text[:end]
        text = text[end:]
    if text.strip():
        yield text


def title_facts(doc: Doc, title: str) -> Iterator[_Parts]:
    """Yield a document's facts about its title, in the order of the text."""
    title_words = set(normalize(title).split())
    for entity in _entities(doc):
        name = entity.text.strip()
        words = normalize(name).split()
        if words and not "".join(words).isdigit() and not title_words.issuperset(words):
            yield title, " ".join(_path(entity.root)), name


def _entities(doc: Doc) -> list[Span]:
    """Return named entities that are no numbers, and the other runs of proper nouns, in the order of the text."""
    named = [_trim(entity) for entity in doc.ents if entity.label_ not in _NUMERIC]
    proper = [token.i for token in doc if token.pos_ == "PROPN" and not token.ent_type_]
    runs = [[i for _, i in run] for _, run in groupby(enumerate(proper), key=lambda item: item[1] - item[0])]
    spans = [doc[run[0] : run[-1] + 1] for run in runs]
    return sorted([span for span in named if len(span)] + spans, key=lambda span: span.start)


def _trim(entity: Span) -> Span:
    """Return an entity without an article before it, and without the 's of a genitive after it."""
    start, end = entity.start, entity.end
    while start < end and entity.doc[start].pos_ == "DET":
        start += 1
    while end > start and entity.doc[end - 1].tag_ == "POS":
        end -= 1
    return entity.doc[start:end]


def _path(token: Token) -> list[str]:
    """Return the words from the root of the sentence down to a token, without it.

    What is coordinated with something shares its governor, so it is passed over; else lists would become paths.
    """
    words: list[str] = []
    while len(words) < _PATH_WORDS:
        while token.dep_ == "conj":
            token = token.head
        if token.head.i == token.i:
            break
        token = token.head
        if token.pos_ not in {"DET", "PUNCT", "SPACE"}:
            words.append(token.text)
    return words[::-1]


def clauses(doc: Doc) -> Iterator[_Parts]:
    """Yield triples in the order of the text: verbs with their objects, also behind a preposition; appositions.

    A relative pronoun means what its clause describes, and a verb without a subject of its own has that of the
    verb it is coordinated with. Other pronouns name nothing and are left out.
    """
    for token in doc:
        if token.dep_ == "appos" and _is_noun(token.head) and _is_noun(token):
            yield _phrase(token.head), "is", _phrase(token)
        if token.pos_ not in _VERBS:
            continue
        for subject in _subjects(token):
            for prepositions, head in _objects(token):
                for noun in (head, *head.conjuncts):
                    if _is_noun(subject) and _is_noun(noun) and subject.i != noun.i:
                        yield _phrase(subject), _predicate(token, prepositions), _phrase(noun)


def _subjects(verb: Token) -> list[Token]:
    while True:
        subjects = [child for child in verb.children if child.dep_ in {"nsubj", "nsubjpass"}]
        if subjects or verb.dep_ not in {"conj", "xcomp"} or verb.head.pos_ not in _VERBS:
            break
        verb = verb.head
    heads = [verb.head if child.tag_ in {"WDT", "WP"} and verb.dep_ == "relcl" else child for child in subjects]
    # A participle behind a noun is a clause about it: "a letter written by Ada".
    heads += [verb.head] if not subjects and verb.dep_ == "acl" else []
    return [noun for head in heads for noun in (head, *head.conjuncts)]


def _objects(head: Token, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Token]]:
    """Yield the objects of a verb, or of the last of some prepositions, each with the prepositions before it."""
    for child in head.children:
        if child.dep_ in ({"pobj"} if words else {"dobj", "attr", "oprd"}):
            yield words, child
        if child.dep_ in ({"prep"} if words else {"prep", "agent", "dative"}):
            yield from _objects(child, (*words, child.text))


def _predicate(verb: Token, prepositions: tuple[str, ...]) -> str:
    parts = [verb, *(child for child in verb.children if child.dep_ in _VERB_PARTS)]
    return " ".join([*(token.text for token in sorted(parts, key=lambda token: token.i)), *prepositions])


def _is_noun(token: Token) -> bool:
    return token.pos_ in {"NOUN", "PROPN", "NUM"} or (token.ent_type_ != "" and token.pos_ != "PRON")


def _phrase(token: Token) -> str:
    """Return a noun with the words that belong to its name, without articles."""
    doc, end = token.doc, token.i + 1
    begin = min(child.i for child in token.subtree if child.i <= token.i and _modifies(child, token))
    while begin < token.i and doc[begin].pos_ in {"DET", "PUNCT"}:
        begin += 1
    if token.ent_type_:
        entity = next(span for span in doc.ents if span.start <= token.i < span.end)
        begin, end = min(begin, entity.start), max(end, entity.end)
        while begin < end - 1 and doc[begin].pos_ == "DET":
            begin += 1
    return str(doc[begin:end].text)


def _modifies(token: Token, noun: Token) -> bool:
    """Return whether a word is joined to a noun by modifiers alone."""
    while token.i != noun.i:
        if token.dep_ not in _MODIFIERS:
            return False
        token = token.head
    return True
