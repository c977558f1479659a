"""A server that speaks OpenAI's chat protocol over HTTP, and does what tests tell it to."""

from __future__ import annotations

import json
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Reply:
    """One answer of the server.

    Attributes:
        content: the words of the model.
        status: 200, or an error's.
        headers: further ones, such as Retry-After.
        delay: seconds until it comes.
        body: these bytes instead of the protocol's.
        finish: why the model stopped.
        message: what an error says.
        drip: seconds before each byte, from the first of the head to the last of the body.
        streams: seconds before each word, where the request asks for a stream; None for a server that knows none.
    """

    content: str | None = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    body: str | None = None
    finish: str = "stop"
    message: str = "as scripted"
    drip: float = 0.0
    streams: float | None = None


class ChatServer:
    """`with ChatServer(answer) as server: Chat(server.url, "model")`.

    Args:
        answer: the model: words, or a whole reply, for a request's JSON; an object is written as JSON.
        script: replies to the first requests, one each; after them `answer` is asked.
        formats: the types of `response_format` that the server knows; another is answered 400.
        key: the key it asks for; None for no key.

    Attributes:
        requests: the JSON of all requests so far.
        times: when each came, in seconds.
        most: how many were being answered at once.
    """

    def __init__(
        self,
        answer: Callable[[dict[str, Any]], Any] = lambda request: "",
        *,
        script: tuple[Reply, ...] = (),
        formats: tuple[str, ...] = ("json_schema", "json_object"),
        key: str | None = None,
    ) -> None:
        self.requests: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.most = 0
        self._busy = 0
        self._answer, self._script, self._formats, self._key = answer, list(script), formats, key
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def reply(self, path: str, key: str, request: dict[str, Any]) -> Reply:
        """What a request is answered."""
        with self._lock:
            self.requests.append(request)
            self.times.append(time.monotonic())
            self._busy += 1
            self.most = max(self.most, self._busy)
            scripted = self._script.pop(0) if self._script else None
        try:
            chosen = self._choose(path, key, request, scripted)
            time.sleep(chosen.delay)
            return chosen
        finally:
            with self._lock:
                self._busy -= 1

    def _choose(self, path: str, key: str, request: dict[str, Any], scripted: Reply | None) -> Reply:
        if path != "/v1/chat/completions":
            return Reply(status=404, message="no such path")
        if self._key is not None and key != f"Bearer {self._key}":
            return Reply(status=401, message="wrong key")
        if scripted is not None:
            return scripted
        wanted = request.get("response_format", {}).get("type", "text")
        if wanted not in {"text", *self._formats}:
            return Reply(status=400, message=f"response_format of type {wanted} is not supported")
        answer = self._answer(request)
        if isinstance(answer, Reply):
            return answer
        return Reply(answer if isinstance(answer, str) else json.dumps(answer))


def _handler(server: ChatServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            reply = server.reply(self.path, self.headers.get("Authorization", ""), request)
            data = (_body(reply, request) if reply.body is None else reply.body).encode()
            try:
                if reply.drip:
                    head = f"HTTP/1.1 {reply.status} OK\r\nContent-Length: {len(data)}\r\n\r\n"
                    for byte in head.encode() + data:
                        time.sleep(reply.drip)
                        self.wfile.write(bytes([byte]))
                    return
                if reply.streams is not None and request.get("stream"):
                    self._stream(reply, reply.streams)
                    return
                self.send_response(reply.status)
                for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except OSError:
                # Who asked has given up waiting.
                self.close_connection = True

        def _stream(self, reply: Reply, seconds: float) -> None:
            """Send a word at a time, and the numbers of tokens at the end; with it the connection ends."""
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            words = re.findall(r"\S+\s*|\s+", reply.content or "")
            chunks = [{"choices": [{"index": 0, "delta": {"content": word}}]} for word in words]
            chunks += [{"choices": [{"index": 0, "delta": {}, "finish_reason": reply.finish}]}]
            chunks += [{"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": len(words)}}]
            for chunk in [*map(json.dumps, chunks), "[DONE]"]:
                time.sleep(seconds)
                self.wfile.write(f"data: {chunk}\n\n".encode())
                self.wfile.flush()
            self.close_connection = True

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    return Handler


def _body(reply: Reply, request: dict[str, Any]) -> str:
    if reply.status != 200:
        return json.dumps({"error": {"message": reply.message, "type": "scripted", "code": None, "param": None}})
    words = sum(len(message["content"].split()) for message in request["messages"])
    written = len((reply.content or "").split())
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 0,
            "model": request["model"],
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": reply.content},
                    "finish_reason": reply.finish,
                    "logprobs": None,
                }
            ],
            "usage": {"prompt_tokens": words, "completion_tokens": written, "total_tokens": words + written},
        }
    )
