"""The rewrites of the method `bridge`: what each round of them is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain, groupby, islice
from typing import TYPE_CHECKING, NamedTuple

from mnemodex.retrievers.graph.asking import Rewrite
from mnemodex.retrievers.graph.clauses import Clause, clause_around, clauses_of
from mnemodex.retrievers.graph.pairs import pair_of
from mnemodex.retrievers.graph.rewriting import MOST, distinct, through_facts, through_passages
from mnemodex.retrievers.graph.substitution import fact_ends, names_near

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from spacy.tokens import Doc

    from mnemodex.indexers.arrays import Float32s, Int64s
    from mnemodex.retrievers.graph.asking import Asker, Reply
    from mnemodex.retrievers.graph.mentions import Mentions
    from mnemodex.retrievers.graph.pairs import Pair

FACTS = 30
"""Facts that are linked to a rewrite, and looked at where it is a question with one name of a pair."""
_CLAUSE_FACTS, _ENDS, _NAMES = 15, 3, 2
"""Facts of a clause, and what takes its place: ends of these, and names from passages."""
_PAIR_ENDS, _HOLDS = 3, 0.5
"""Ends that take the place of a pair for each of its names, and the part of a name that the fact's other end covers."""
_OUTER, _OUTER_ENDS = 2, 2
"""Substitutions of a question around which a clause is looked for, and ends that take its place."""
BEHIND, _OUTER_BEHIND = 0.02, 0.04
"""How much less what takes the place of a clause or a pair counts than the question, and what the last two rounds do.
A rewrite is nearest to the passage about what was put into it, right or wrong: as good as the question's best, it takes
the second place from the question's own."""

_Facts = list[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class Parts:
    """What the scores of passages are made of, besides rewrites through facts and sentences that mention a name.

    Attributes:
        cap: whether the scores of rewrites are limited by those of the question.
        clauses: clauses, and what takes their place; needs a parse of the questions.
        pairs: two names that "or" or "and" joins.
        second: the clauses around what took the place of a clause.
        titles: whether a passage counts for more where the question mentions its title.
    """

    cap: bool = True
    clauses: bool = True
    pairs: bool = True
    second: bool = True
    titles: bool = True


class Question(NamedTuple):
    """A question of a batch.

    Attributes:
        text: as it was asked.
        facts: subject, predicate and object of the facts that are near to it.
        cosines: of all passages, of shape (passages,).
        mentions: of the ends of these facts.
        doc: its parse, if there is one.
    """

    text: str
    facts: _Facts
    cosines: Float32s
    mentions: Mentions
    doc: Doc | None = None


class Rounds:
    """Rewrites a batch of questions through facts, clauses and pairs, and asks them.

    Args:
        asker: asks the rewrites of a round.
        questions: those of the batch that are rewritten, by their numbers in it.
        parts: what questions are rewritten by.
    """

    def __init__(self, asker: Asker, questions: Mapping[int, Question], parts: Parts) -> None:
        self._asker = asker
        self._space = asker.space
        self._questions = questions
        self._parts = parts

    def run(self) -> None:
        """Ask all rounds.

        The first has the rewrites through facts, the clauses, and the questions with one name of a pair; the second
        what takes the place of clauses and pairs; the third the clauses around that, and the fourth what takes their
        place.
        """
        replies = self._asker.ask(chain.from_iterable(map(self._first, self._questions)))
        later = [self._second, self._outer_clauses, self._outer_substitutions] if self._parts.second else [self._second]
        for make in later:
            going_on = [reply for reply in replies if reply.rewrite.clause or reply.rewrite.pair]
            if not going_on or not self._asker.has_time(reply.rewrite.question for reply in going_on):
                break
            replies = self._asker.ask(make(going_on))

    def _first(self, number: int) -> Iterator[Rewrite]:
        question = self._questions[number]
        texts = by_facts = through_facts(question.mentions, question.facts)
        if len(texts) < MOST:
            texts = distinct([*texts, *through_passages(self._space, question.text, question.cosines)])
        for text in texts:
            yield Rewrite(number, text, behind=0.0 if text in by_facts else BEHIND)
        if question.doc is not None:
            for clause in clauses_of(question.doc, question.facts, self._space.words):
                yield Rewrite(number, question.text[clause.start : clause.end], clause)
        if self._parts.pairs and (pair := pair_of(question.text)):
            yield from (Rewrite(number, pair.replaced(name), pair=pair, name=name) for name in pair.names)

    def _second(self, replies: Sequence[Reply]) -> Iterator[Rewrite]:
        yield from self._substitutions([(reply, clause) for reply in replies if (clause := reply.rewrite.clause)])
        yield from self._pair_rewrites([(reply, pair) for reply in replies if (pair := reply.rewrite.pair)])

    def _substitutions(self, clauses: Sequence[tuple[Reply, Clause]]) -> Iterator[Rewrite]:
        """Yield questions in which something takes the place of a clause."""
        numbers = list(dict.fromkeys(chain.from_iterable(reply.passages.tolist() for reply, _ in clauses)))
        passages = dict(zip(numbers, self._space.read(numbers), strict=True))
        facts = self._read_facts([reply.facts[:_CLAUSE_FACTS] for reply, _ in clauses])
        words = self._space.words
        for (reply, clause), linked in zip(clauses, facts, strict=True):
            question = self._questions[reply.rewrite.question].text
            names = fact_ends(linked, reply.rewrite.text, question, words, most=_ENDS)
            nearest = [passages[number] for number in reply.passages.tolist()]
            names += names_near(nearest, clause.mention, question, words, most=_NAMES)
            for name in names:
                yield replace(reply.rewrite, text=clause.replaced(question, name), name=name, behind=BEHIND)

    def _pair_rewrites(self, pairs: Sequence[tuple[Reply, Pair]]) -> Iterator[Rewrite]:
        """Yield questions in which the other end of a fact about one name of a pair takes the place of both."""
        facts = self._read_facts([reply.facts for reply, _ in pairs])
        for (reply, pair), linked in zip(pairs, facts, strict=True):
            number, name = reply.rewrite.question, reply.rewrite.name
            question = self._questions[number].text
            for end in fact_ends(linked, name, question, self._space.words, most=_PAIR_ENDS, holds=_HOLDS):
                yield Rewrite(number, pair.replaced(end), name=end, behind=BEHIND)

    def _outer_clauses(self, replies: Sequence[Reply]) -> Iterator[Rewrite]:
        """Yield the clauses around what took the place of a clause, for the best of these of each question."""
        replies = sorted(replies, key=lambda reply: (reply.rewrite.question, -reply.cosine))
        for number, group in groupby(replies, lambda reply: reply.rewrite.question):
            text, doc = self._questions[number].text, self._questions[number].doc
            for reply in islice(group, _OUTER):
                clause, name = reply.rewrite.clause, reply.rewrite.name
                around = clause_around(doc, clause.start, clause.end) if doc and clause else None
                if clause and around:
                    asked = text[around[0] : clause.start] + name + text[clause.end : around[1]]
                    yield Rewrite(number, asked, Clause(name, *around), behind=_OUTER_BEHIND)

    def _outer_substitutions(self, replies: Sequence[Reply]) -> Iterator[Rewrite]:
        facts = self._read_facts([reply.facts[:_CLAUSE_FACTS] for reply in replies])
        for reply, linked in zip(replies, facts, strict=True):
            rewrite, question = reply.rewrite, self._questions[reply.rewrite.question].text
            if rewrite.clause is None:
                continue
            # What was put into the question before is no answer to it.
            known = f"{question} {rewrite.clause.mention}"
            for name in fact_ends(linked, rewrite.text, known, self._space.words, most=_OUTER_ENDS):
                yield replace(rewrite, text=rewrite.clause.replaced(question, name), name=name)

    def _read_facts(self, rows: Sequence[Int64s]) -> list[_Facts]:
        """Read the facts of several rewrites at once."""
        facts = iter(self._space.facts(list(chain.from_iterable(row.tolist() for row in rows))))
        return [list(islice(facts, len(row))) for row in rows]
