"""What `eval --text` prints for people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import typer
from typing_extensions import override

from mnemodex.pipelines.commands.output import print_table
from mnemodex.pipelines.commands.rendering import ChunkRenderer
from mnemodex.retrievers.readers.knn_lm.mixing import Buckets, Mixing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.retrievers.hits import Hits
    from mnemodex.retrievers.next_token import NextTokenRetriever
    from mnemodex.retrievers.readers.knn_lm_report.evaluation import Evaluation
    from mnemodex.retrievers.readers.knn_lm_report.explaining import Explanation
    from mnemodex.retrievers.readers.knn_lm_report.figures import Share
    from mnemodex.retrievers.readers.knn_lm_report.generation import Generation
    from mnemodex.retrievers.readers.knn_lm_report.tuning import Tuned


class ContinuationRenderer(ChunkRenderer):
    """Prints what follows prompts, with the entries of the datastore that say so."""

    @override
    def to_json(self) -> dict[str, Any]:
        hits, explanations = self._explained()
        listed = [
            [
                {**chunk.to_json(), **context.to_json()}
                for chunk, context in zip(chunks, explanation.contexts, strict=True)
            ]
            for chunks, explanation in zip(hits.chunks(), explanations, strict=True)
        ]
        return {"index": self.request.index, "hits": listed, "next": [one.likely() for one in explanations]}

    @override
    def print(self) -> None:
        print_continuations(self.request.questions, self._explained()[1])

    def _explained(self) -> tuple[Hits, list[Explanation]]:
        from mnemodex.retrievers.readers.knn_lm_report.explaining import explain

        request = self.request
        hits = request.hits()
        retriever = cast("NextTokenRetriever", request.memory.retriever(request.index))
        return hits, explain(retriever, request.memory.snapshot, request.questions, hits)


def print_evaluation(result: Evaluation) -> None:
    """An evaluation over texts."""
    found = result.figures
    title = f"{result.index}: {found.overall.tokens:,} tokens of {result.texts:,} texts, {_said(result.mixing)}"
    places = {"everywhere": found.overall, **found.by_place}
    rows = [(name, one.tokens, one.without, one.mixed, one.ratio) for name, one in places.items()]
    print_table(title, ("place", "tokens", "perplexity", "with memory", "ratio"), rows)
    typer.echo(f"helped {_share(found.helped)}, harmed {_share(found.harmed)}, unchanged {found.unchanged:.1f} %")
    saved = f"{found.lookups.saved_by_gate:,} saved by the gate, {found.lookups.saved_by_pointers:,} by pointers"
    typer.echo(f"{found.lookups.done:,} look-ups, {saved}")
    rate = result.lookups_per_second
    looked = "" if rate is None else f", {rate:,.0f} look-ups/s"
    typer.echo(f"{result.tokens_per_second:,.0f} tokens/s by the model{looked}")
    if result.left_out:
        typer.echo(f"{result.left_out:,} texts without a token to predict are left out", err=True)
    if result.tuned is not None:
        typer.echo()
        _print_tuned(result.tuned)


def _print_tuned(tuned: Tuned) -> None:
    kinds = {"as given": tuned.unfitted, "one weight": tuned.fixed, "by distance": tuned.buckets}
    rows = [
        (
            name,
            fit.mixing.temperature,
            _weight(fit.mixing),
            fit.figures.overall.without,
            fit.figures.overall.mixed,
            fit.figures.overall.ratio,
            _share(fit.figures.helped),
            _share(fit.figures.harmed),
        )
        for name, fit in kinds.items()
    ]
    others = tuned.unfitted.figures.overall.tokens
    title = f"{tuned.halves}, {tuned.tokens:,} tokens; measured on the others, {others:,} tokens"
    columns = ("settings", "temperature", "weight", "perplexity", "with memory", "ratio", "helped", "harmed")
    print_table(title, columns, rows)
    weight = tuned.buckets.mixing.weight
    if isinstance(weight, Buckets) and weight.edges:
        bounds = [f"below {weight.edges[0]:.4g}", *(f"from {edge:.4g}" for edge in weight.edges)]
        print_table("", ("nearest distance", "weight"), list(zip(bounds, weight.weights, strict=True)))


def print_generation(result: Generation) -> None:
    """What was written with a memory and without, and the text itself."""
    title = f"{result.index}: {result.tokens} tokens after each of {result.prompts} prompts, {_said(result.mixing)}"
    names = {"without": "without memory", "with_memory": "with memory", "text": "the text itself"}
    rows = [(names[way], *one.distinct, one.repeated) for way, one in result.ways.items()]
    print_table(title, ("written", "distinct-1", "distinct-2", "distinct-3", "repeated 4-grams %"), rows)
    typer.echo()
    places = zip(*(one.entropies for one in result.ways.values()), strict=True)
    by_place = [
        (f"{ways[0].start}-{ways[0].stop}", *(f"{way.retrieval:.2f} / {way.model:.2f}" for way in ways))
        for ways in places
    ]
    columns = ("tokens", *(names[way] for way in result.ways))
    print_table("entropy of the neighbours / of the model, in nats, by generated token", columns, by_place)


def print_continuations(prompts: Sequence[str], explanations: Sequence[Explanation]) -> None:
    """What comes after prompts: by the model, by the nearest entries and by both, and where these entries stand."""
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True)
    for prompt, found in zip(prompts, explanations, strict=True):
        console.print(Text(prompt, style="bold"))
        for name, likely in (("model", found.model), ("neighbours", found.neighbours), ("mixed", found.mixed)):
            if not likely:
                continue
            said = "  ".join(f"{_quoted(token)} {probability:.3f}" for token, probability in likely)
            console.print(Text.assemble((f"{name:>12}  ", "dim"), said))
        for one in found.contexts:
            title = f"{one.title}  " if one.title else ""
            figures = f"{one.rank:>3}  {one.weight:>8.4f}  {one.distance:>8.2f}  "
            console.print(Text.assemble(figures, (title, "cyan"), (f"[{one.key}]", "dim")))
            token = (f"»{one.token.strip()}«" if one.token.strip() else _quoted(one.token), "bold")
            console.print(Text.assemble(f"               {one.before} ", token, f" {one.after}"))
        if not found.contexts:
            console.print("  no hits")
        console.print()


def _quoted(token: str) -> str:
    """A token with its blanks and line ends."""
    return json.dumps(token, ensure_ascii=False)


def _said(mixing: Mixing) -> str:
    """Settings in a few words."""
    gate = None if mixing.gate is None else f"gate {mixing.gate:g}"
    pointers = None if mixing.pointers is None else f"pointers {mixing.pointers}"
    exact = "exact distances" if mixing.rescore else None
    said = (
        f"k {mixing.k}",
        f"weight {_weight(mixing)}",
        f"temperature {mixing.temperature:.4g}",
        gate,
        pointers,
        exact,
    )
    return ", ".join(one for one in said if one)


def _weight(mixing: Mixing) -> str:
    if isinstance(mixing.weight, Buckets):
        return f"{min(mixing.weight.weights):.3g} to {max(mixing.weight.weights):.3g}"
    return f"{mixing.weight:.3g}"


def _share(share: Share) -> str:
    effect = "" if share.nats is None else f" (median {share.nats:+.3f} nats)"
    return f"{share.percent:.1f} %{effect}"
