"""A server of memories on a real socket, without Ray."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING

import uvicorn

from mnemodex.deploy.app import http_app
from mnemodex.deploy.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.deploy.settings import ServerSettings


@contextlib.contextmanager
def serving(settings: ServerSettings) -> Iterator[str]:
    """Serve in a thread as long as the context lasts; gives the address."""
    listening = socket.create_server(("127.0.0.1", 0))
    app = http_app(settings, Service(settings))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
