"""`mnemodex serve` as a process of its own, on a port that is free."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager

import psutil


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """A server that is ready.

    Attributes:
        port: that it listens at.
        process: its command.
        lines: what it printed.
        cafile: the certificate that is trusted, where it serves HTTPS.
    """

    def __init__(self, process, port, cafile=None):
        self.process = process
        self.port = port
        self.lines = []
        self.cafile = cafile
        self._url = f"{'https' if cafile else 'http'}://localhost:{port}"
        self._ready = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line.decode())
            if line.startswith(b"ready after"):
                self._ready.set()
        self._ready.set()

    def wait(self):
        assert self._ready.wait(280), self.lines
        assert self.process.poll() is None, self.lines
        return self

    @property
    def family(self):
        """Its processes, those of Ray too."""
        return psutil.Process(self.process.pid).children(recursive=True)

    @property
    def replicas(self):
        return [process for process in self.family if process.name().startswith("ray::ServeRepli")]

    def ask(self, path, body=None, timeout=60.0):
        """The status and the JSON of an answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, {"Content-Type": "application/json"})
        context = ssl.create_default_context(cafile=self.cafile) if self.cafile else None
        try:
            with urllib.request.urlopen(request, timeout=timeout, context=context) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            # Of a replica that dies, Ray Serve says so in plain text.
            body = error.read()
            return error.code, json.loads(body) if "json" in error.headers["Content-Type"] else body.decode()

    def search(self, index="words", question="Town 7"):
        return self.ask("/v1/search", {"index": index, "queries": [question], "k": 1})

    def stop(self):
        """End it by SIGTERM; its exit code, and those of its processes that are left."""
        family = self.family
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        _, left = psutil.wait_procs(family, 20)
        return code, left

    def listening(self):
        """The addresses, not loopback ones, at which its processes listen, and their names."""
        return [
            (connection.laddr.ip, process.name())
            for process in [*self.family, psutil.Process(self.process.pid)]
            for connection in process.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
            and not re.fullmatch(r"(::ffff:)?127\..*|::1", connection.laddr.ip)
        ]


@contextmanager
def served(*arguments, cafile=None):
    """A server of memories, until the context ends."""
    port = free_port()
    command = [sys.executable, "-m", "mnemodex", "serve", *map(str, arguments), "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    server = Server(process, port, cafile)
    try:
        yield server.wait()
    finally:
        if process.poll() is None:
            _, left = server.stop()
            for each in left:
                each.kill()
