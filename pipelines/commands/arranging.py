"""How `search` prints groups of hits, and spans around them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnemodex.pipelines.commands.output import print_json, say
from mnemodex.pipelines.commands.rendering import INDENT, language_of
from mnemodex.pipelines.commands.snippets import shorten, snippet
from mnemodex.retrievers.base import check_one_form

if TYPE_CHECKING:
    from mnemodex.indexers.settings import Language
    from mnemodex.pipelines.commands.rendering import SearchRequest
    from mnemodex.retrievers.grouping import Group
    from mnemodex.retrievers.spans import Span


def print_arranged(request: SearchRequest, group_by: str | None, expand: int | None, *, as_json: bool) -> None:
    """Search, and print the groups of hits or the spans around them.

    Raises:
        QueryError: see `Retriever.search`.
    """
    check_one_form(request.explain, group_by, expand)
    retriever = request.memory.retriever(request.index)
    language = language_of(request.memory.snapshot, request.index)
    questions, k, where = request.questions, request.k, request.where
    if group_by is not None:
        answers = retriever.search(questions, k, where=where, newest=request.newest, group_by=group_by)
        if as_json:
            listed = [[group.to_json() for group in groups] for groups in answers]
            print_json({"index": request.index, "groups": listed})
            return
        for question, groups in zip(questions, answers, strict=True):
            _print_groups(question, groups, language)
    elif expand is not None:
        found = retriever.search(questions, k, where=where, newest=request.newest, expand=expand)
        if as_json:
            print_json({"index": request.index, "spans": [[span.to_json() for span in spans] for spans in found]})
            return
        for question, spans in zip(questions, found, strict=True):
            _print_spans(question, spans)


def _print_groups(question: str, groups: list[Group], language: Language) -> None:
    say((question, "bold"))
    for rank, group in enumerate(groups, start=1):
        name = group.value if group.value is not None else f"(document {group.hits[0].key})"
        count = f"  {len(group.hits)} hit{'s' * (len(group.hits) > 1)}"
        say(f"{rank:>3}  {group.score:>8.4f}  ", (name, "cyan"), (count, "dim"), indent=INDENT)
        best = group.hits[0]
        if parts := list(snippet(best.text, question, (), language=language)):
            say(" " * INDENT, (f"[{best.key}] ", "dim"), *parts, indent=INDENT)
    if not groups:
        say("  no hits")
    say()


def _print_spans(question: str, spans: list[Span]) -> None:
    say((question, "bold"))
    for span in spans:
        say(f"{', '.join(map(str, span.ranks)):>3}  {span.score:>8.4f}", indent=INDENT)
        for piece in span.pieces:
            where = (f"[{piece.key}] {piece.start}-{piece.end}  ", "dim")
            say(" " * INDENT, where, shorten(piece.text), indent=INDENT)
    if not spans:
        say("  no hits")
    say()
