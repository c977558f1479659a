"""The keys of a server: who may ask it, and what."""

from __future__ import annotations

import hmac
import logging
from typing import TYPE_CHECKING

from mnemodex.deploy.key_file import hash_token, read_keys
from mnemodex.schemas.errors import KeyRefusedError, UserError

if TYPE_CHECKING:
    from pathlib import Path

    from mnemodex.deploy.access import Access

_log = logging.getLogger("mnemodex.server")
_LONGEST = 200
_UNKNOWN = "the key is unknown or revoked; send one as the header Authorization: Bearer KEY"


class Keys:
    """The keys of a server, read again when their file changes.

    Args:
        path: their file.

    Raises:
        UserError: it is not there, is none, or others may write it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read()

    def access(self, authorization: str | None) -> Access:
        """Return what the sender of a request may do.

        Args:
            authorization: the header of that name.

        Raises:
            KeyRefusedError: it has no key, one that is not known, or one that was revoked; or the file of keys can no
                longer be read, which lets nobody in.
        """
        scheme, _, token = (authorization or "").strip().partition(" ")
        if not authorization:
            raise KeyRefusedError("no key; send one as the header Authorization: Bearer KEY")
        if scheme.casefold() != "bearer" or not token.strip():
            raise KeyRefusedError("the header Authorization is not a key; write it as Bearer KEY")
        self._follow()
        given = hash_token(token.strip()[:_LONGEST])
        found = None
        # All are compared, each in constant time: how long it takes says nothing of how near a guess is.
        for digest, access in self._known:
            if hmac.compare_digest(digest, given):
                found = access
        if found is None:
            raise KeyRefusedError(_UNKNOWN)
        return found

    def _follow(self) -> None:
        """Read the file again where it is another one than before."""
        try:
            if _stamp(self._path) != self._read_at:
                self._read()
        except UserError as error:
            _log.error("keys are refused: %s", error)
            raise KeyRefusedError("the server cannot read its keys; ask who runs it") from error

    def _read(self) -> None:
        # Before it is read: what is written meanwhile is read at the next request.
        stamp = _stamp(self._path)
        file = read_keys(self._path)
        self._read_at = stamp
        self._known = [(key.sha256, key.access()) for key in file.keys if key.revoked is None]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        # Whoever reads it says why.
        return None
    return status.st_ctime_ns, status.st_size, status.st_ino
