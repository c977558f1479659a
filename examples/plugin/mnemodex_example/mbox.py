"""A source format: mailboxes, one message a document."""

from __future__ import annotations

import email
import re
from email import policy
from itertools import islice
from typing import TYPE_CHECKING

from typing_extensions import override

from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.sources.base import Record
from mnemodex.pipelines.sources.files import FileSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.pipelines.sources.base import Piece

_BEGIN = re.compile(rb"^From .*\r?\n", re.MULTILINE)


class MboxSource(FileSource):
    """Messages of mbox files: the subject is the title, the plain text body the text, the message id the key.

    A mailbox is one piece, because a message may have any length; so a mailbox may have 256 MiB.
    """

    endings = (".mbox",)

    @override
    def cut(self, path: str, start: int = 0, stop: int | None = None) -> Iterator[Piece]:
        yield self._whole_file(path)

    @override
    def _parse(self, piece: Piece, data: bytes) -> Iterator[Record | BadRow]:
        begins = [match.end() for match in _BEGIN.finditer(data)]
        ends = [*(match.start() for match in islice(_BEGIN.finditer(data), 1, None)), len(data)]
        for begin, end in zip(begins, ends, strict=True):
            line = data.count(b"\n", 0, begin) + 1
            message = email.message_from_bytes(data[begin:end], policy=policy.default)
            body = message.get_body(("plain",))
            if not message["message-id"] or body is None:
                yield BadRow.of(piece.path, line, "a message has no Message-ID or no plain text", str(message))
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
