"""What each snapshot of a memory changed, for `show --history`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mnemodex.pipelines.commands.output import print_json, print_table, size

if TYPE_CHECKING:
    from mnemodex.retrievers.snapshot import Snapshot
    from mnemodex.schemas.manifest import Manifest


def show_history(opened: Snapshot, *, as_json: bool) -> None:
    """Show what each snapshot changed of the one before it that was not collected, newest first."""
    manifests = list(opened.store.history(opened.manifest))
    rows = [_changes(opened, *pair) for pair in zip(manifests, [*manifests[1:], None], strict=True)]
    if as_json:
        print_json({"memory": str(opened.store.root), "history": rows})
        return
    shown = [[*({**row, "bytes": size(row["bytes"])}.values())] for row in rows]
    print_table("History", ("snapshot", "created (UTC)", "added", "removed", "changed", "written"), shown)


def _changes(opened: Snapshot, manifest: Manifest, former: Manifest | None) -> dict[str, Any]:
    from mnemodex.pipelines.changes.difference import compare_documents, written_bytes
    from mnemodex.retrievers.snapshot import Snapshot
    from mnemodex.schemas.tables import DOCUMENTS

    documents = manifest.tables.get(DOCUMENTS.label)
    counts = {"added": documents.rows if documents is not None else 0, "removed": 0, "changed": 0}
    if former is not None:
        found = compare_documents(Snapshot(opened.store, former), Snapshot(opened.store, manifest))
        counts = {name: len(keys) for name, keys in asdict(found).items()}
    written = written_bytes(former, manifest)
    return {"snapshot": manifest.name, "created": manifest.created, **counts, "bytes": written}
