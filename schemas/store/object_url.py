"""Where a memory lies: a local folder, or a place in an object store."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mnemodex.schemas.errors import MemoryNotFoundError, UserError

SCHEMES = ("s3", "gs", "az")
"""Of object stores: those that speak S3, Google Cloud Storage, Azure Blob Storage."""

# A `Path` folds the two slashes into one.
_URL = re.compile(rf"({'|'.join(SCHEMES)}):/{{1,2}}([^/]*)/?(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ObjectUrl:
    """A place in an object store; as of a path, `/` gives what is below it.

    Attributes:
        scheme: one of `SCHEMES`.
        bucket: its name; of Azure, the container's.
        key: the path in it, without slashes at its ends; may be empty.
    """

    scheme: str
    bucket: str
    key: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}" + (f"/{self.key}" if self.key else "")

    def __truediv__(self, path: str) -> ObjectUrl:
        return ObjectUrl(self.scheme, self.bucket, f"{self.key}/{path}".strip("/"))

    def absolute(self) -> ObjectUrl:
        """Return the URL itself, which depends on no working directory and has no links."""
        return self

    resolve = absolute


Root = Path | ObjectUrl
"""Where a memory lies."""


STARTS = tuple(f"{scheme}://" for scheme in SCHEMES)
"""How URLs of object stores begin, for checks of many paths."""


def is_url(path: object) -> bool:
    """Return whether a path is the URL of an object store."""
    return isinstance(path, ObjectUrl) or _URL.fullmatch(str(path)) is not None


def refuse_url(path: Path, error: type[UserError]) -> None:
    """Refuse a URL that is given for a file that is only read from this machine.

    Raises:
        UserError: of the given class; it names the URL.
    """
    if is_url(path):
        raise error(
            f"{parse_root(path)}: only memories and sources are read from an object store; download the file, and name "
            "the copy"
        )


def parse_root(path: str | Root) -> Root:
    """Return a path as a local one or as the URL of an object store.

    Raises:
        MemoryNotFoundError: a URL is of none of `SCHEMES`, names no bucket, or has an empty name or one of dots in its
            path.
    """
    match = _URL.fullmatch(str(path))
    if match is None and "://" in str(path):
        known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise MemoryNotFoundError(f"{path}: is no folder, and no object store that is known; write {known} or a folder")
    if match is None or isinstance(path, ObjectUrl):
        return Path(path) if isinstance(path, str) else path
    scheme, bucket, key = match[1], match[2], match[3].strip("/")
    if not bucket or any(name in {"", ".", ".."} for name in key.split("/") if key):
        raise MemoryNotFoundError(f"{path}: is no place in an object store; write {scheme}://BUCKET/FOLDER")
    return ObjectUrl(scheme, bucket, key)
