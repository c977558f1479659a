"""A source format: mailboxes, one message a document."""

from __future__ import annotations

import email
import hashlib
import re
from email import policy
from itertools import islice
from typing import TYPE_CHECKING

from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.sources.base import Piece, Record, Split
from mnemodex.pipelines.sources.files import FileSource
from mnemodex.pipelines.sources.labels import slug
from mnemodex.pipelines.sources.streams import blocks
from mnemodex.schemas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_BEGIN = re.compile(rb"^From .*\r?\n", re.MULTILINE)


class MboxSource(FileSource):
    """Messages of mbox files: the subject is the title, the plain text body the text, the message id the key.

    A mailbox is one split, because a message may be as long as it likes; so it is for mailboxes of up to some hundred
    megabytes.
    """

    endings = (".mbox",)

    def _set_fields(self, fields: Mapping[str, str]) -> None:
        if fields:
            msg = "source.fields: a mailbox has no fields; leave source.fields out"
            raise SourceError(msg)

    def plan(self) -> list[Split]:
        """See `Source`."""
        return [Split(slug(path), (self._piece(path),)) for path in self.paths]

    def _piece(self, path: str) -> Piece:
        digest, size = hashlib.sha256(), 0
        for block in blocks(self.root / path):
            digest.update(block)
            size += len(block)
        return Piece(path, 0, size, 1, digest.hexdigest())

    def _parse(self, piece: Piece, data: bytes) -> Iterator[Record | BadRow]:
        begins = [match.end() for match in _BEGIN.finditer(data)]
        ends = [*(match.start() for match in islice(_BEGIN.finditer(data), 1, None)), len(data)]
        for begin, end in zip(begins, ends, strict=True):
            line = data.count(b"\n", 0, begin) + 1
            message = email.message_from_bytes(data[begin:end], policy=policy.default)
            body = message.get_body(("plain",))
            if not message["message-id"] or body is None:
                yield BadRow(piece.path, line, "a message has no Message-ID or no plain text", str(message)[:200])
                continue
            sender = {"from": str(message["from"] or ""), "date": str(message["date"] or "")}
            yield Record(
                key=str(message["message-id"]).strip("<>"),
                title=str(message["subject"] or ""),
                text=str(body.get_content()),
                metadata=sender,
                source=piece.path,
                line=line,
            )
