"""`sql`, `show`, `verify` and `upgrade`."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnemodex.pipelines.commands.history import show_history
from mnemodex.pipelines.commands.output import print_json, print_table, say, size
from mnemodex.pipelines.commands.texts import MemoryArgument, SnapshotOption, TextCommand
from mnemodex.schemas.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mnemodex.retrievers.snapshot import Snapshot
    from mnemodex.schemas.manifest import EncoderEntry, IndexEntry, LanguageModelEntry, Manifest

_ANSWER_BYTES = 64 << 20
"""What an answer of SQL may have: more takes longer to print than its statement to run."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        cls=TextCommand,
        epilog='Example: mnemodex sql memories/python-manual "SELECT title, tokens FROM chunks LIMIT 5"',
    )(sql)
    app.command(epilog="Example: mnemodex show memories/python-manual dense")(show)
    app.command(epilog="Example: mnemodex verify memories/python-manual")(verify)
    app.command(epilog="Example: mnemodex upgrade memories/older")(upgrade)


def sql(
    memory: MemoryArgument,
    query: Annotated[str, typer.Argument(help="One SELECT or EXPLAIN statement.")],
    timeout: Annotated[float, typer.Option(help="Seconds after which it is stopped.", min=0.001)] = 60.0,
    memory_limit: Annotated[str, typer.Option(help="Memory of the statement; its texts may take 2 GiB more.")] = "4GB",
    snapshot: SnapshotOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Ask the memory's tables and indexes in SQL: read-only, without access to anything else."""
    from mnemodex.retrievers.answer import Answer
    from mnemodex.retrievers.memory import Memory
    from mnemodex.retrievers.memory_limit import HEADROOM, bounded_memory
    from mnemodex.retrievers.sql import Connection

    opened = Memory(memory, snapshot=snapshot)
    made = Connection(
        opened.snapshot, opened.encoder, opened.retriever, memory_limit=memory_limit, answer_bytes=_ANSWER_BYTES
    )
    with contextlib.closing(made) as connection, bounded_memory(connection.memory_bytes + HEADROOM):
        table = connection.fetch(query, seconds=timeout)
    answer = Answer(table).to_json()
    if as_json:
        print_json(answer)
        return
    print_table("", answer["columns"], [list(map(_shown, row)) for row in answer["rows"]])


def _shown(value: Any) -> Any:
    if isinstance(value, int | float | None):
        return str(value) if isinstance(value, int) else value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 400 else text[:400] + "…"


def show(
    memory: MemoryArgument,
    index: Annotated[str | None, typer.Argument(help="One index, in detail.")] = None,
    snapshot: SnapshotOption = None,
    history: Annotated[bool, typer.Option("--history", help="What each snapshot changed.")] = False,
    ordering: Annotated[
        bool, typer.Option("--ordering", help="Measure what the insertion order of a graph over its vectors changes.")
    ] = False,
    rows: Annotated[int, typer.Option(help="Of the sample that --ordering builds graphs of.", min=20)] = 20_000,
    seeds: Annotated[int, typer.Option(help="Graphs of --ordering for each library and order.", min=3)] = 3,
    plot: Annotated[Path | None, typer.Option(help="Write what --ordering measured as an SVG picture too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what a memory holds: tables, indexes, shards, sizes, models, measured recall, history."""
    from mnemodex.retrievers.snapshot import Snapshot

    if plot is not None and not ordering:
        raise UserError("--plot: is the picture of --ordering; add that, or leave it out")
    opened = Snapshot.open(memory, snapshot=snapshot)
    if ordering:
        from mnemodex.pipelines.commands.ordering import show_ordering

        if index is None:
            raise UserError("--ordering: studies one index; name it after the memory")
        show_ordering(opened, index, rows=rows, seeds=seeds, plot=plot, as_json=as_json)
        return
    if history:
        show_history(opened, as_json=as_json)
        return
    if index is not None:
        entry = opened.index(index)
        if as_json:
            shards = [shard.model_dump(mode="json") for shard in entry.shards]
            print_json({**entry.model_dump(mode="json"), "shards": shards})
        else:
            _show_index(entry, opened.manifest.encoders.get(entry.settings.get("embed", "")))
        return
    manifests = list(opened.store.history(opened.manifest))
    if as_json:
        shown = {"decontaminated": _decontaminated(opened), "history": [manifest.name for manifest in manifests]}
        print_json({**opened.manifest.model_dump(mode="json"), **shown})
        return
    _show_memory(opened, manifests)


def _decontaminated(opened: Snapshot) -> int:
    """Return how many documents of the source were left out because they share words with an evaluation."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from mnemodex.pipelines.bad_row import LEFT_OUT
    from mnemodex.retrievers.sql_views import dataset
    from mnemodex.schemas.tables import ERRORS

    entry = opened.manifest.tables.get(ERRORS.label)
    if entry is None or not len(entry.partitions):
        return 0
    found = dataset(opened, ERRORS.label).filter(pc.field("stage") == LEFT_OUT)
    return int(found.num_rows if isinstance(found, pa.Table) else found.count_rows())


def _show_memory(opened: Snapshot, history: list[Manifest]) -> None:
    manifest = opened.manifest
    tables = [(table.name, len(table.partitions), table.rows, size(table.bytes)) for table in manifest.tables.values()]
    print_table("Tables", ("table", "partitions", "rows", "size"), tables)
    if count := _decontaminated(opened):
        documents = f"{count:,} document{'s' * (count > 1)}"
        say(f"{documents} left out that share words with an evaluation; the table errors has them all")
    say()
    if fields := [field for table in manifest.tables.values() for field in table.fields.items()]:
        print_table("Metadata of documents", ("column", "type"), fields)
        say()
    indexes = [
        (i.name, i.type, i.table or "-", len(i.shards), i.rows, size(i.bytes), *_recall(i))
        for i in manifest.indexes.values()
    ]
    print_table("Indexes", ("index", "type", "over", "shards", "rows", "size", "recall@10", "95 % interval"), indexes)
    say()
    entries: list[tuple[str, EncoderEntry | LanguageModelEntry]] = [
        *manifest.encoders.items(),
        *manifest.language_models.items(),
    ]
    models = [
        (name, _model_of(model.settings), model.dimension, model.max_length, model.sha256[:12])
        for name, model in entries
    ]
    if models:
        print_table("Models", ("name", "model", "dimension", "max tokens", "sha256"), models)
        say()
    used = [(name, *_used_as(encoder).values()) for name, encoder in manifest.encoders.items()]
    if used:
        print_table("Encoders", ("name", *_USES), used)
        say()
    print_table(
        "History", ("snapshot", "created (UTC)", "recipe"), [(m.name, m.created, m.recipe_hash) for m in history]
    )


def _recall(entry: IndexEntry) -> tuple[float | None, str | None]:
    """Return the recall of an index and its interval, where they were measured."""
    return (entry.recall.recall, entry.recall.interval or None) if entry.recall else (None, None)


_USES = {"before questions": "query_prefix", "before passages": "passage_prefix", "similarity": "normalize"}
"""What `show` says of an encoder, and the settings that decide it."""


def _model_of(settings: Mapping[str, Any]) -> str:
    """Return what makes vectors; of those that were made elsewhere the model for questions, or the files."""
    if settings.get("encoder") != "file":
        return str(settings.get("model", "-"))
    questions = settings["questions"]
    return (
        _model_of(questions) if questions is not None else ", ".join(PurePath(path).name for path in settings["path"])
    )


def _used_as(encoder: EncoderEntry) -> dict[str, str]:
    """Return what precedes questions and passages, how vectors are compared, and who says so: model or recipe."""
    if encoder.settings.get("encoder") == "file":
        questions = encoder.settings["questions"]
        before = json.dumps(questions.get("query_prefix") or "") if questions is not None else "no questions in words"
        how = {True: "cosine", False: "inner product", None: "all lengths are 1"}[encoder.settings["normalize"]]
        return dict(zip(_USES, (before, "vectors of files", how), strict=True))
    used = {}
    for name, key in _USES.items():
        value = encoder.settings.get(key)
        if key == "normalize":
            said = "cosine" if value else "inner product"
        else:
            said = json.dumps(value, ensure_ascii=False) if value else "nothing"
        source = "" if encoder.own is None else " (model)" if key in encoder.own else " (recipe)"
        used[name] = said + source
    return used


def _show_index(entry: IndexEntry, encoder: EncoderEntry | None) -> None:
    facts = {
        "type": entry.type,
        "over": entry.table,
        "rows": entry.rows,
        "size": size(entry.bytes),
        **entry.settings,
        **(_used_as(encoder) if encoder is not None else {}),
        # What `auto` became.
        "built as": next((found for shard in entry.shards if (found := getattr(shard.stats, "factory", None))), None),
        **entry.search.model_dump(),
        **_search_costs(entry, encoder),
    }
    print_table(
        entry.name, ("setting", "value"), [(key, str(value)) for key, value in facts.items() if value is not None]
    )
    for title, figures in (("Recall", entry.recall), ("Abstention", entry.abstention), ("Weights", entry.fitted)):
        if figures is not None:
            say()
            print_table(title, ("figure", "value"), [(key, str(value)) for key, value in figures if value is not None])
    say()
    shards = [(shard.label, shard.fingerprint, shard.rows, size(shard.bytes)) for shard in entry.shards]
    print_table("Shards", ("shard", "fingerprint", "rows", "size"), shards)


def _search_costs(entry: IndexEntry, encoder: EncoderEntry | None) -> dict[str, str]:
    """Return what searches of an index hold in memory, and read of vectors on disk, where its hits are refined."""
    if entry.search.refine is None or encoder is None:
        return {}
    codes = entry.memory_bytes
    vector = 4 * encoder.dimension
    read = _SHOWN_HITS * entry.search.refine * vector * len(entry.shards)
    return {
        "in memory": f"{size(codes)} of codes, {codes / max(1, entry.rows * vector):.1%} of the vectors",
        "read a question": f"{size(read)} of vectors for {_SHOWN_HITS} hits",
    }


_SHOWN_HITS = 10


def verify(
    memory: MemoryArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check every checksum, id and cross-reference of a memory."""
    from mnemodex.pipelines.verify import verify as run

    result = run(memory)
    if as_json:
        print_json(asdict(result))
    else:
        for problem in result.problems:
            say(f"problem: {problem}", err=True)
        count = len(result.problems)
        verdict = f"{count} problem{'s' * (count > 1)}" if count else "sound"
        say(f"{memory}: {result.files} files, {size(result.bytes)} read: {verdict}")
        if result.unfinished:
            say(f"left by steps that were killed, files: {result.unfinished}; `mnemodex gc` removes them")
    if result.problems:
        raise typer.Exit(1)


def upgrade(memory: MemoryArgument) -> None:
    """Bring a memory of the former version's format to this one's. Its data files stay as they are."""
    from mnemodex.schemas.store.store import Store

    manifest = Store(memory).upgrade()
    say(f"{memory}: snapshot {manifest.name} has format {manifest.format}", err=True)
