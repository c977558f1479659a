"""What `eval --text` prints for people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from typing_extensions import override

from mnemodex.pipelines.commands.output import print_table, say
from mnemodex.pipelines.commands.rendering import INDENT, ChunkRenderer
from mnemodex.retrievers.readers.knn_lm.mixing import Buckets, Mixing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.retrievers.hits import Hits
    from mnemodex.retrievers.next_token import NextTokenRetriever
    from mnemodex.retrievers.readers.knn_lm_report.evaluation import Evaluation, Share, Tuned
    from mnemodex.retrievers.readers.knn_lm_report.explaining import Explanation
    from mnemodex.retrievers.readers.knn_lm_report.generation import Generation


class ContinuationRenderer(ChunkRenderer):
    """Prints what follows prompts, with the entries of the datastore that say so."""

    @override
    def to_json(self) -> dict[str, Any]:
        hits = self.request.hits()
        explanations = self._explain(hits)
        listed = [[context.to_json() for context in explanation.contexts] for explanation in explanations]
        return {
            "index": self.request.index,
            "hits": self._with_reasons(listed, hits),
            "next": [explanation.to_json() for explanation in explanations],
        }

    @override
    def print(self) -> None:
        print_continuations(self.request.questions, self._explain(self.request.hits()))

    def _explain(self, hits: Hits) -> list[Explanation]:
        from mnemodex.retrievers.readers.knn_lm_report.explaining import explain

        request = self.request
        retriever = cast("NextTokenRetriever", request.memory.retriever(request.index))
        return explain(retriever, request.questions, hits)


def print_evaluation(result: Evaluation) -> None:
    """Print an evaluation over texts."""
    found = result.figures
    title = f"{result.index}: {found.tokens:,} tokens of {result.texts:,} texts, {_said(result.settings)}"
    places = {"everywhere": found, **found.by_place}
    rows = [(name, one.tokens, one.perplexity, one.perplexity_with_memory, one.ratio) for name, one in places.items()]
    print_table(title, ("place", "tokens", "perplexity", "with memory", "ratio"), rows)
    say(f"helped {_share(found.helped)}, harmed {_share(found.harmed)}, unchanged {found.unchanged_percent:.1f} %")
    saved = f"{found.lookups.saved_by_gate:,} saved by the gate, {found.lookups.saved_by_pointers:,} by pointers"
    say(f"{found.lookups.done:,} look-ups, {saved}")
    rate = result.lookups_per_second
    looked = "" if rate is None else f", {rate:,.0f} look-ups/s"
    say(f"{result.tokens_per_second:,.0f} tokens/s by the model{looked}")
    if result.texts_left_out:
        say(f"{result.texts_left_out:,} texts without a token to predict are left out", err=True)
    if result.tuned is not None:
        say()
        _print_tuned(result.tuned)


def _print_tuned(tuned: Tuned) -> None:
    kinds = {"as given": tuned.unfitted, "one weight": tuned.fixed, "by distance": tuned.buckets}
    rows = [
        (
            name,
            fit.settings.temperature,
            _weight(fit.settings),
            fit.figures.perplexity,
            fit.figures.perplexity_with_memory,
            fit.figures.ratio,
            _share(fit.figures.helped),
            _share(fit.figures.harmed),
        )
        for name, fit in kinds.items()
    ]
    others = tuned.unfitted.figures.tokens
    title = f"{tuned.halves}, {tuned.fitted_on_tokens:,} tokens; measured on the others, {others:,} tokens"
    columns = ("settings", "temperature", "weight", "perplexity", "with memory", "ratio", "helped", "harmed")
    print_table(title, columns, rows)
    weight = tuned.buckets.settings.weight
    if isinstance(weight, Buckets) and weight.edges:
        bounds = [f"below {weight.edges[0]:.4g}", *(f"from {edge:.4g}" for edge in weight.edges)]
        print_table("", ("nearest distance", "weight"), list(zip(bounds, weight.weights, strict=True)))


def print_generation(result: Generation) -> None:
    """Print measures of what was generated with a memory and without, and of the text itself."""
    written = f"{result.generated_tokens} tokens after each of {result.prompts} prompts"
    title = f"{result.index}: {written}, {_said(result.settings)}"
    names = {"without": "without memory", "with_memory": "with memory", "text": "the text itself"}
    rows = [(names[way], *one.distinct.values(), one.repeated_4grams_percent) for way, one in result.ways.items()]
    print_table(title, ("written", "distinct-1", "distinct-2", "distinct-3", "repeated 4-grams %"), rows)
    say()
    by_place = [
        (
            f"{ways[0]['from']}-{ways[0]['to']}",
            *(f"{way['retrieval_entropy']:.2f} / {way['model_entropy']:.2f}" for way in ways),
        )
        for ways in zip(*(one.by_position for one in result.ways.values()), strict=True)
    ]
    columns = ("tokens", *(names[way] for way in result.ways))
    print_table("entropy of the neighbours / of the model, in nats, by generated token", columns, by_place)


def print_continuations(prompts: Sequence[str], explanations: Sequence[Explanation]) -> None:
    """Print what follows prompts: by the model, the nearest entries and both; and where these entries are."""
    for prompt, found in zip(prompts, explanations, strict=True):
        say((prompt, "bold"))
        for name, likely in found.likely.items():
            if not likely:
                continue
            said = "  ".join(f"{_quoted(token)} {probability:.3f}" for token, probability in likely)
            say((f"{name:>12}  ", "dim"), said)
        for one in found.contexts:
            title = f"{one.chunk.title}  " if one.chunk.title else ""
            figures = f"{one.chunk.rank:>3}  {one.weight:>8.4f}  {one.distance:>8.2f}  "
            say(figures, (title, "cyan"), (f"[{one.chunk.key}]", "dim"), indent=len(figures))
            token = (f"»{one.token.strip()}«" if one.token.strip() else _quoted(one.token), "bold")
            say(" " * INDENT, f"{one.before} ", token, f" {one.after}", indent=INDENT)
        if not found.contexts:
            say("  no hits")
        say()


def _quoted(token: str) -> str:
    """Return a token with its blanks and line ends."""
    return json.dumps(token, ensure_ascii=False)


def _said(mixing: Mixing) -> str:
    """Return settings in a few words."""
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
    effect = "" if share.median_nats is None else f" (median {share.median_nats:+.3f} nats)"
    return f"{share.percent:.1f} %{effect}"
