"""Requests to an object store, whose errors become messages that say what to do."""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mnemodex.schemas.errors import MissingExtraError, ObjectStoreError, ObjectStoreRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from obstore import GetResult, ObjectMeta

    from mnemodex.schemas.store.object_url import ObjectUrl

_RETRIES = 5
"""Of other requests, with longer and longer pauses, some seconds together."""
_TRIES = 4
"""Of a conditional put, which the client itself must not repeat: the second one would find the first one's object."""

_ENVIRONMENT = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and, of other stores than Amazon's, AWS_ENDPOINT_URL",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
_ADDRESSES = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT")
_IN_HEADERS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION")

_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|bucket does not exist", re.IGNORECASE)
_REFUSED = re.compile(
    r"40[13] (Forbidden|Unauthorized)|AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|InvalidToken|"
    r"missing or malformed|credential|metadata/token|Account must be specified",
    re.IGNORECASE,
)


class ObjectClient:
    """The objects below one URL; keys are relative to it. Credentials come from the environment alone."""

    def __init__(self, url: ObjectUrl) -> None:
        self.url = url
        self._store = _connect(url, retries=_RETRIES)
        self._once = _connect(url, retries=0)

    def get(self, key: str) -> GetResult:
        """Ask for an object; `FileNotFoundError` where there is none."""
        import obstore

        with self._explaining(key):
            return obstore.get(self._store, key)

    def parts(self, key: str) -> Iterator[bytes]:
        """Yield the bytes of an object, by one request."""
        return self.rest(key, self.get(key))

    def rest(self, key: str, answer: GetResult) -> Iterator[bytes]:
        """Yield the bytes of an object that was asked for."""
        with self._explaining(key):
            for part in answer.stream(min_chunk_size=8 << 20):
                yield bytes(part)

    def range(self, key: str, start: int, end: int) -> bytes:
        """Return the bytes of an object from one to before another."""
        import obstore

        with self._explaining(key):
            return bytes(obstore.get_range(self._store, key, start=start, end=end))

    def head(self, key: str) -> ObjectMeta | None:
        """Return size, etag and time of an object; None where there is none."""
        import obstore

        try:
            with self._explaining(key):
                return obstore.head(self._store, key)
        except FileNotFoundError:
            return None

    def put(self, key: str, data: bytes | Path) -> None:
        """Put an object, whatever was there."""
        import obstore

        with self._explaining(key):
            obstore.put(self._store, key, data)

    def create(self, key: str, data: bytes) -> str | None:
        """Put an object unless there is one, by one part; return its etag, or None where there was one.

        Raises:
            ObjectStoreError: the store did not say whether it put it.
        """
        return self._put_if(key, data, "create")

    def replace(self, key: str, data: bytes, etag: str) -> str | None:
        """Put an object in the place of one with an etag; return its own, or None where that one is not there."""
        return self._put_if(key, data, {"e_tag": etag})

    def _put_if(self, key: str, data: bytes, mode: Any) -> str | None:
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        tried = 0
        while True:
            tried += 1
            try:
                with self._explaining(key):
                    etag = obstore.put(self._once, key, data, mode=mode, use_multipart=False)["e_tag"]
                    return etag or ""
            except (AlreadyExistsError, PreconditionError):
                return None
            except ObjectStoreRefusedError:
                raise
            except ObjectStoreError:
                # It may have been put, and only the answer was lost.
                head = self.head(key)
                if head is not None and b"".join(self.parts(key)) == data:
                    return head["e_tag"] or ""
                if tried == _TRIES:
                    raise

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects, those of them that are there."""
        import obstore

        if keys:
            with self._explaining(keys[0]):
                obstore.delete(self._store, list(keys))

    def below(self, prefix: str) -> Iterator[ObjectMeta]:
        """Yield path, size, etag and time of the objects below a folder."""
        import obstore

        with self._explaining(prefix):
            for batch in obstore.list(self._store, prefix or None):
                yield from batch

    def entries(self, prefix: str) -> Sequence[str]:
        """Return the names of objects and folders in a folder."""
        import obstore

        with self._explaining(prefix):
            listed = obstore.list_with_delimiter(self._store, prefix or None)
        paths = [*listed["common_prefixes"], *(item["path"] for item in listed["objects"])]
        return [path.rstrip("/").rpartition("/")[2] for path in paths]

    def probe(self) -> None:
        """Refuse a store that puts an object twice which is to be put only where there is none.

        Raises:
            ObjectStoreRefusedError: it does, and two writers could both commit the same snapshot.
        """
        key = f"work/probe-{uuid.uuid4().hex}"
        try:
            first, second = self.create(key, b"1"), self.create(key, b"2")
        finally:
            with contextlib.suppress(OSError):
                self.delete([key])
        if first is None or second is not None:
            raise ObjectStoreRefusedError(
                f"{self.url}: the object store has no conditional put: it put an object twice that was to be put only "
                "where there is none (If-None-Match), so two builds would overwrite each other's snapshots; build in "
                "a local folder and copy that there, or use a store that has it"
            )

    @contextlib.contextmanager
    def _explaining(self, key: str) -> Iterator[None]:
        """Raise what the store answers as errors that say what to do."""
        from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

        try:
            yield
        except (AlreadyExistsError, PreconditionError, ObjectStoreError):
            raise
        except (BaseError, FileNotFoundError) as error:
            text = str(error)
            if isinstance(error, FileNotFoundError) and not _NO_BUCKET.search(text):
                raise
            raise explain(self.url, key, text) from error


def explain(url: ObjectUrl, key: str, text: str) -> ObjectStoreError:
    """Return the error for what an object store, or the way to it, answered."""
    if _NO_BUCKET.search(text):
        return ObjectStoreRefusedError(f"{url}: there is no bucket {url.bucket!r}; create it, or correct the URL")
    if "BadScheme" in text:
        return ObjectStoreRefusedError(
            f"{url}: the endpoint is http, not https: whoever is on the way reads and changes the memory; use https, "
            "or, in a network that you trust, set AWS_ALLOW_HTTP=true"
        )
    if _REFUSED.search(text):
        return ObjectStoreRefusedError(
            f"{url}: the object store refuses the credentials ({_brief(text)}); set {_ENVIRONMENT[url.scheme]}"
        )
    return ObjectStoreError(
        f"{url / key}: the object store did not answer as it should ({_brief(text)}); check the network and the "
        "endpoint, and try again: nothing that was committed is lost"
    )


def _brief(text: str) -> str:
    """Return what matters of an answer: not its debugging part, and no more than a line."""
    text = text.partition("\n\nDebug source")[0].replace("\n", " ")
    code = re.search(r"<Code>(\w+)</Code>", text)
    status = re.search(r"status code: (\d{3} [\w ]+)", text)
    if code and status:
        return f"{status[1]}, {code[1]}"
    return text[:300]


def _connect(url: ObjectUrl, *, retries: int) -> Any:
    try:
        from obstore.store import from_url
    except ImportError as error:
        raise MissingExtraError(f"{url}: obstore is not installed; run `pip install obstore`") from error
    _check_environment(url)
    # Options that are passed take the place of the environment's.
    allow_http = os.environ.get("AWS_ALLOW_HTTP", "").lower() in {"1", "true", "yes"}
    options: Any = {"allow_http": allow_http, "connect_timeout": "10s", "read_timeout": "60s", "timeout": "6h"}
    retry: Any = {"max_retries": retries, "retry_timeout": timedelta(seconds=60)}
    try:
        return from_url(str(url), client_options=options, retry_config=retry)
    except Exception as error:
        explained = explain(url, "", str(error))
        if isinstance(explained, ObjectStoreRefusedError):
            raise explained from error
        # Nothing was asked of the store yet.
        raise ObjectStoreRefusedError(
            f"{url}: the URL, or a variable of the environment, is not understood ({_brief(str(error))}); correct it"
        ) from error


def _check_environment(url: ObjectUrl) -> None:
    """Refuse variables that cannot be a part of a request: the client panics, which is no `Exception`."""
    if url.scheme != "s3":
        return
    for name in _IN_HEADERS:
        if not os.environ.get(name, "").isprintable():
            raise ObjectStoreRefusedError(
                f"{url}: {name} has a line break, or another character that cannot be in a request; correct it"
            )
    for name in _ADDRESSES:
        value = os.environ.get(name, "")
        if value and not _is_address(value):
            raise ObjectStoreRefusedError(
                f"{url}: {name} is {value[:100]!r}, which is no address; write it as https://HOST or https://HOST:PORT"
            )


def _is_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
        # Reading the port checks it.
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0 and " " not in value
    except ValueError:
        return False
