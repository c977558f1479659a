"""Triples by spaCy's parser and named entities: offline, one CPU an actor."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING

from typing_extensions import override

from mnemodex.indexers.graph.names import normalize
from mnemodex.indexers.models.locate import need, spacy_folder
from mnemodex.indexers.models.pipeline import load_pipeline, pieces
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
_JOINTS = {"appos": "is", "poss": "of"}
"""What joins a noun to the one that it depends on, where no word does."""
_ONE_LETTER = re.compile(r"\w(?:\+\+|#|\.)?")
_BRACKETS = re.compile(r"\([^()]*\)\s*$")


class SpacyExtractor(Extractor):
    """Facts about a document's title along dependency paths; without a title, clauses.

    A titled document is taken to be about its title (as of an encyclopedia). Each of its named entities gives the fact
    (title without a bracketed ending, path, entity), where the path are the words that join the entity to the root of
    its sentence, the root first. Without such words there is no fact. Texts without a title give what `clauses` finds.
    """

    version = 2

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
        parts = [
            (piece, (document, chunk_facts))
            for document, document_facts in zip(documents, facts, strict=True)
            for text, chunk_facts in zip(document.texts, document_facts, strict=True)
            for _, piece in pieces(text)
        ]
        for doc, (document, chunk_facts) in self._nlp.pipe(parts, as_tuples=True, batch_size=64):
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


def title_facts(doc: Doc, title: str) -> Iterator[_Parts]:
    """Yield a document's facts about its title, in the order of the text."""
    title_words = set(normalize(title).split())
    for entity in _entities(doc):
        name = entity.text.strip()
        words = normalize(name).split()
        if "".join(words).isdigit() or title_words.issuperset(words) or not _is_name(entity):
            continue
        if path := _path(entity.root):
            yield title, " ".join(path), name


def _entities(doc: Doc) -> list[Span]:
    """Return named entities that are no numbers, and the other runs of proper nouns, in the order of the text."""
    named = [_trim(entity) for entity in doc.ents if entity.label_ not in _NUMERIC]
    proper = [token.i for token in doc if token.pos_ == "PROPN" and not token.ent_type_]
    runs = [[i for _, i in run] for _, run in groupby(enumerate(proper), key=lambda item: item[1] - item[0])]
    spans = [doc[run[0] : run[-1] + 1] for run in runs]
    # One word that begins a sentence without a verb has a capital anyway: "Returns a list", "New in version 3".
    spans = [span for span in spans if len(span) > 1 or span.root.dep_ != "ROOT" or span.start > span.sent.start]
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
    """Return the words from the root of the sentence down to a token, without it; none without letters or digits.

    What is coordinated with something shares its governor, so it is passed over; else lists would become paths. What is
    the root itself is taken to depend on the verb of the sentence before, as the parser ends sentences at short forms:
    "succeeded the Hon. | Jane Roe".
    """
    token = _past_lists(token)
    if token.head.i == token.i:
        before = token.doc[: token.sent.start]
        verb = before[-1].sent.root if len(before) else None
        return [verb.text] if verb is not None and verb.pos_ in _VERBS and _is_word(verb) else []
    words: list[str] = []
    while len(words) < _PATH_WORDS and token.head.i != token.i:
        if token.dep_ in _JOINTS:
            words.append(_JOINTS[token.dep_])
        token = token.head
        if _is_word(token):
            words.append(token.text)
        token = _past_lists(token)
    return words[::-1]


def _past_lists(token: Token) -> Token:
    """Return the first of coordinated words, or the token itself; verbs govern nouns coordinated with them."""
    while token.dep_ == "conj" and (token.pos_ in _VERBS or token.head.pos_ not in _VERBS):
        token = token.head
    return token


def _is_word(token: Token) -> bool:
    return token.pos_ not in {"DET", "PUNCT", "SPACE"} and normalize(token.text) != ""


def clauses(doc: Doc) -> Iterator[_Parts]:
    """Yield triples in the order of the text: verbs with their objects, also behind a preposition; appositions.

    A relative pronoun means what its clause describes, and a verb without a subject of its own has that of the
    verb it is coordinated with. Other pronouns name nothing and are left out.
    """
    for token in doc:
        if token.dep_ == "appos":
            yield from _triple(token.head, "is", token)
        if token.pos_ not in _VERBS:
            continue
        for subject in _subjects(token):
            for prepositions, head in _objects(token):
                for noun in (head, *head.conjuncts):
                    if subject.i != noun.i:
                        yield from _triple(subject, _predicate(token, prepositions), noun)


def _triple(subject: Token, predicate: str, noun: Token) -> Iterator[_Parts]:
    """Yield the triple of two nouns, if both have names and the predicate has a letter or digit."""
    if normalize(predicate) and _is_noun(subject) and _is_noun(noun):
        phrases = _phrase(subject), _phrase(noun)
        if all(map(_is_name, phrases)):
            yield phrases[0].text, predicate, phrases[1].text


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


def _is_name(span: Span) -> bool:
    """Return whether a name has letters or digits, and is no variable, unit, number of a king or mark of an item.

    One letter is a name if it is a capital tagged as a proper noun, alone between blanks and the marks that end a
    clause, and neither belongs to the word before it ("Booker T", "40 C"), nor begins its sentence with a full stop
    ("A. First"), nor is I: "written in C", "the R package".
    """
    doc, text, last = span.doc, span.text, span[-1]
    if len(normalize(text)) != 1:
        return normalize(text) != ""
    before = doc[span.start - 1] if span.start else None
    after = doc.text[last.idx + len(last) :][:1]
    return (
        span.root.pos_ == "PROPN"
        and _ONE_LETTER.fullmatch(text) is not None
        and not text[0].islower()
        and text[0] != "I"
        and (text[-1] != "." or span.sent.start < span.start == span.sent.end - 1)
        and (after.isspace() or after in ",;.?!'\u2019")
        and (before is None or before.is_space or bool(before.whitespace_))
        and (before is None or before.pos_ not in {"PROPN", "NUM", "SYM", "PUNCT"} or before.text == ",")
    )


def _phrase(token: Token) -> Span:
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
    return doc[begin:end]


def _modifies(token: Token, noun: Token) -> bool:
    """Return whether a word is joined to a noun by modifiers alone."""
    while token.i != noun.i:
        if token.dep_ not in _MODIFIERS:
            return False
        token = token.head
    return True
