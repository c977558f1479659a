"""What each snapshot of a memory changed, for `show --history`."""

from __future__ import annotations

from dataclasses import asdict, astuple, dataclass
from typing import TYPE_CHECKING

from mnemodex.pipelines.commands.output import print_json, print_table, size

if TYPE_CHECKING:
    from mnemodex.retrievers.snapshot import Snapshot
    from mnemodex.schemas.manifest import Manifest


def show_history(opened: Snapshot, *, as_json: bool) -> None:
    """Show what each snapshot changed of the one before it that was not collected, newest first."""
    manifests = list(opened.store.history(opened.manifest))
    found = [_changes(opened, *pair) for pair in zip(manifests, [*manifests[1:], None], strict=True)]
    if as_json:
        print_json({"memory": str(opened.store.root), "history": [asdict(one) for one in found]})
        return
    shown = [(*astuple(one)[:-1], size(one.bytes)) for one in found]
    print_table("History", ("snapshot", "created (UTC)", "added", "removed", "changed", "written"), shown)


@dataclass(frozen=True, slots=True)
class _Changes:
    """What a snapshot changed: documents, and the bytes that were written; `created` is naive UTC."""

    snapshot: str
    created: str
    added: int
    removed: int
    changed: int
    bytes: int


def _changes(opened: Snapshot, manifest: Manifest, former: Manifest | None) -> _Changes:
    from mnemodex.pipelines.changes.difference import compare_documents, written_bytes
    from mnemodex.retrievers.snapshot import Snapshot
    from mnemodex.schemas.tables import DOCUMENTS

    written = written_bytes(former, manifest)
    if former is None:
        documents = manifest.tables.get(DOCUMENTS.label)
        return _Changes(manifest.name, manifest.created, documents.rows if documents is not None else 0, 0, 0, written)
    found = compare_documents(Snapshot(opened.store, former), Snapshot(opened.store, manifest))
    added, removed, changed = map(len, (found.added, found.removed, found.changed))
    return _Changes(manifest.name, manifest.created, added, removed, changed, written)
