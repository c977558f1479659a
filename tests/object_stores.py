"""A server of S3 on this machine, for tests of memories in an object store."""

from __future__ import annotations

import logging
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "tester",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_REGION": "us-east-1",
    "AWS_ALLOW_HTTP": "true",
}
"""What a user sets, but for `AWS_ENDPOINT_URL`."""


@contextmanager
def moto_server() -> Iterator[str]:
    """Run moto's server in this process; give its address."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()


def make_bucket(address: str, name: str) -> str:
    """Make a bucket; return its URL."""
    with urllib.request.urlopen(urllib.request.Request(f"{address}/{name}", method="PUT")):
        return f"s3://{name}"
