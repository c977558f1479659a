"""The context that a reader is given: hits with their neighbourhoods, within a budget of tokens, every text once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from mnemodex.indexers.models.tokenizers import tokenizer as load_tokenizer
from mnemodex.retrievers.base import is_blank
from mnemodex.retrievers.spans import neighbourhoods
from mnemodex.schemas.errors import QueryError
from mnemodex.schemas.sections import DEFAULT_MODEL

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnemodex.retrievers.contiguity import ContiguityRetriever
    from mnemodex.retrievers.hits import Hits
    from mnemodex.retrievers.spans import Neighbourhood, Span


@dataclass(frozen=True, slots=True)
class Context:
    """What a reader is given for one question.

    Attributes:
        text: the spans in the order that was asked for, each below its title, as often as was asked for.
        spans: what is in it.
        tokens: of the text.
        left_out: the ranks of the hits that did not fit, from 1.
        missing: the keys of the documents of which no part fits.
        repeated: the ranks of the hits, from 1, whose title and text are those of a better hit of another document:
            they are in it once.
    """

    text: str
    spans: tuple[Span, ...]
    tokens: int
    left_out: tuple[int, ...]
    missing: tuple[str, ...]
    repeated: tuple[int, ...]


def pack(  # noqa: PLR0913 - the options of a context, by name
    hits: Hits,
    *,
    budget: int,
    tokenizer: str | Callable[[str], int] = DEFAULT_MODEL,
    order: Literal["rank", "source"] = "rank",
    repeat: int = 1,
    before: int = 0,
    after: int = 0,
    near: ContiguityRetriever | None = None,
) -> list[Context]:
    """Return the context of each query.

    Hits are taken by rank: with their neighbourhood where that fits, else alone, else they are left out and counted;
    later ones may still fit. What meets is merged, and is in the context once.

    Args:
        hits: of a search, whose chunks are in a memory of this process.
        budget: tokens that a context has at most, all repetitions together.
        tokenizer: a model whose tokens are counted, or a function that counts those of a text.
        order: the spans with the best hits first, or all in the order of the source.
        repeat: how often the text is written; a recurrent model reads it twice with 2.
        before: chunks before each hit that come with it.
        after: chunks after each hit.
        near: a contiguity index; see `expand_hits`.

    Raises:
        QueryError: a number is too small, the order is unknown, the tokenizer is none, or the hits have no neighbours;
            see `expand_hits`.
        ModelError: there is no such model.
    """
    if not all(isinstance(number, int | np.integer) and number >= 1 for number in (budget, repeat)):
        raise QueryError(f"budget is {budget!r} and repeat is {repeat!r}; give whole numbers of 1 or more")
    if order not in ("rank", "source"):
        raise QueryError(f"order is {order!r}; give 'rank' or 'source'")
    if not isinstance(tokenizer, str) and not callable(tokenizer):
        raise QueryError(f"tokenizer is {tokenizer!r}; give a model's name, or a function that counts a text's tokens")
    count = _counter(tokenizer) if isinstance(tokenizer, str) else tokenizer
    return [_pack(one, budget, count, order == "source", repeat) for one in neighbourhoods(hits, before, after, near)]


def _counter(model: str) -> Callable[[str], int]:
    loaded = load_tokenizer(model)
    return lambda text: len(loaded.encode(text, add_special_tokens=False).ids)


def _pack(found: Neighbourhood, budget: int, count: Callable[[str], int], by_source: bool, repeat: int) -> Context:
    costs = [count(f"{piece.title}\n{piece.text}\n\n") for piece in found.pieces]
    chosen: set[int] = set()
    added: list[tuple[int, set[int]]] = []
    first: dict[tuple[str, str], tuple[int, int]] = {}
    again: dict[int, int] = {}
    left = budget // repeat
    for rank, around in enumerate(found.around.tolist(), 1):
        hit = around[found.before]
        neighbourhood = {chunk for chunk in around if chunk >= 0}
        piece = found.pieces[hit]
        own = piece.title, piece.text
        # What a document says again has a place of its own in it.
        better, doc_id = first.get(own, (0, piece.doc_id))
        if doc_id != piece.doc_id and neighbourhood == {hit} and hit not in chosen:
            again[rank] = better
            continue
        for chunks in (neighbourhood, {hit}):
            new = chunks - chosen
            cost = sum(costs[chunk] for chunk in new)
            if cost <= left:
                chosen |= new
                added.append((rank, new))
                left -= cost
                first.setdefault(own, (rank, piece.doc_id))
                break
    while True:
        text, spans = _write(found, chosen, by_source, repeat)
        tokens = count(text)
        # Tokens of the parts are not exactly those of the whole.
        if tokens <= budget or not added:
            break
        chosen -= added.pop()[1]
    packed = {rank for span in spans for rank in span.ranks}
    repeated = {rank for rank, better in again.items() if better in packed}
    keys = [found.pieces[hit].key for hit in found.around[:, found.before].tolist()]
    there = {piece.key for span in spans for piece in span.pieces} | {keys[rank - 1] for rank in repeated}
    return Context(
        text,
        spans,
        tokens,
        tuple(rank for rank in range(1, len(keys) + 1) if rank not in packed | repeated),
        tuple(dict.fromkeys(key for key in keys if key not in there)),
        tuple(sorted(repeated)),
    )


def _write(found: Neighbourhood, chosen: set[int], by_source: bool, repeat: int) -> tuple[str, tuple[Span, ...]]:
    if not chosen:
        return "", ()
    spans = found.spans(np.array(sorted(chosen), np.int64))
    if by_source:
        spans = sorted(spans, key=lambda span: span.source)
    text = "\n\n".join(_block(span) for span in spans)
    return "\n\n".join([text] * repeat), tuple(spans)


def _block(span: Span) -> str:
    """Return a span's text, with each title before the first piece that has it."""
    lines, title = [], ""
    for piece in span.pieces:
        if not is_blank(piece.title) and piece.title != title:
            lines.append(f"{piece.title}\n{piece.text}")
        else:
            lines.append(piece.text)
        title = piece.title
    return "\n\n".join(lines)
