"""A server of S3 on this machine, for tests of memories in an object store."""

from __future__ import annotations

import http.client
import itertools
import logging
import threading
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


def harming(method: str, part: str, harm: str, *, times: int | None = None) -> Callable[[str, str], str | None]:
    """Return what does harm to requests of a method, the first ones or all, whose path has a part."""
    numbers = itertools.count()

    def choose(sent: str, path: str) -> str | None:
        hit = (method in ("", sent)) and part in path
        return harm if hit and (times is None or next(numbers) < times) else None

    return choose


class Proxy:
    """A proxy between client and server, which does to each request what `harm` says of its method and path.

    None forwards it, `refuse` answers with an error, `cut` closes the connection half-way through the body, `lose`
    forwards it and drops the answer, `ignore` forwards it without its conditions.
    """

    def __init__(self, target: str) -> None:
        self.harm: Callable[[str, str], str | None] = lambda method, path: None
        self.seen: list[tuple[str, str]] = []
        proxy, host = self, target.removeprefix("http://")

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def handle_request(self) -> None:
                proxy.seen.append((self.command, self.path))
                harm, length = proxy.harm(self.command, self.path), int(self.headers.get("Content-Length", 0))
                if harm == "cut":
                    self.rfile.read(length // 2)
                    self.close_connection = True
                    return
                body, headers = self.rfile.read(length), dict(self.headers)
                if harm == "refuse":
                    self.answer(403, {}, b"<Error><Code>InvalidAccessKeyId</Code></Error>")
                    return
                if harm == "ignore":
                    headers = {name: value for name, value in headers.items() if not name.lower().startswith("if-")}
                upstream = http.client.HTTPConnection(host)
                upstream.request(self.command, self.path, body, headers)
                answer = upstream.getresponse()
                content = answer.read()
                if harm == "lose":
                    self.close_connection = True
                    return
                upstream_length = answer.headers.get("Content-Length")
                kept = {name: value for name, value in answer.headers.items() if name.lower() not in _OWN}
                self.answer(answer.status, kept, content, upstream_length if self.command == "HEAD" else None)

            def answer(self, status: int, headers: dict[str, str], content: bytes, length: str | None = None) -> None:
                self.send_response_only(status)
                for name, value in {**headers, "Content-Length": length or str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_request  # noqa: N815 - as they are called

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """End the server."""
        self._server.shutdown()
        self._server.server_close()


_OWN = ("content-length", "transfer-encoding", "connection", "date", "server")
"""Headers that a proxy writes itself."""
