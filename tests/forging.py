"""Manifests and list files that someone made, with right checksums."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil

import pyarrow.parquet as pq


def linked(memory, folder):
    """A copy of a memory whose files are hard links: `put` takes the place of a file, and never writes into it."""
    return shutil.copytree(memory, folder, copy_function=os.link)


def put(path, data):
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def forge(root, change=None, *, data=None):
    """Replace the current manifest by a changed one with the right checksum."""
    path = max(root.glob("snapshots/*.json"))
    content = json.loads(path.read_bytes())
    content.pop("sha256")
    if change is not None:
        change(content)
    body = data if data is not None else (json.dumps(content) + "\n").encode()[1:]
    sealed = f'{{"sha256": "{hashlib.sha256(body).hexdigest()}",\n'.encode() + body
    put(path, sealed)
    put(root / "CURRENT", f"{path.stem} {hashlib.sha256(body).hexdigest()}\n".encode())


def forge_list(root, of, change):
    """Change the artifacts of a table or index in its list file, and all checksums of it."""

    def forged(content):
        listed = next(content[kind][of] for kind in ("tables", "indexes") if of in content[kind])
        parts = listed["partitions" if "partitions" in listed else "shards"]
        rows = [
            json.loads(text)
            for part in parts["lists"]
            for text in pq.read_table(root / f"snapshots/lists/{part['sha256']}.parquet")["artifact"].to_pylist()
        ]
        change(rows)
        schema = pq.read_schema(root / f"snapshots/lists/{parts['lists'][0]['sha256']}.parquet")
        columns = {
            "label": [row["label"] for row in rows],
            "fingerprint": [row["fingerprint"] for row in rows],
            "artifact": [json.dumps(row) for row in rows],
        }
        sink = io.BytesIO()
        pq.write_table(schema.empty_table().from_pydict(columns, schema=schema), sink)
        name = hashlib.sha256(sink.getvalue()).hexdigest()
        put(root / f"snapshots/lists/{name}.parquet", sink.getvalue())
        size = sum(file["bytes"] for row in rows for file in row["files"])
        totals = {"count": len(rows), "rows": sum(row["rows"] for row in rows), "bytes": size}
        parts |= totals | {"lists": [{"sha256": name, "content": "0", **totals}]}
        if "shards" in listed:
            listed["rows"] = totals["rows"]

    forge(root, forged)
