"""A chat server on the loopback interface, with answers made by a function."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Any  # a reply's text, or (status, body), body: str or what JSON can hold


def completion(content: str | None, usage: tuple[int, int] | None = (7, 3)) -> Any:
    """The body of a usual answer."""
    body: dict[str, Any] = {
        "id": "chat-1",
        "object": "chat.completion",
        "created": 0,
        "model": "served",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": content},
            }
        ],
    }
    if usage is not None:
        names = ("prompt_tokens", "completion_tokens", "total_tokens")
        body["usage"] = dict(zip(names, (*usage, sum(usage)), strict=True))
    return body


class ChatServer:
    """Serve ``/v1/chat/completions`` while the context is open.

    Parameters
    ----------
    answer : callable
        From a prompt to the text of the reply, or to (status, body).
    delay : float
        Seconds until each answer.
    headers : mapping
        Sent with every answer.

    Attributes
    ----------
    url : str
    requests : list of dict
        The JSON bodies received, in order, each with the request's headers (their
        names in lower case) as "headers".
    peak : int
        Most requests that were under way at one time.
    """

    def __init__(
        self,
        answer: Callable[[str], Answer],
        *,
        delay: float = 0.0,
        headers: Mapping[str, str] | None = None,
    ):
        self.answer = answer
        self.delay = delay
        # The client's own pauses between attempts are half a second and more.
        self.headers = {"retry-after-ms": "1", **(headers or {})}
        self.requests: list[dict[str, Any]] = []
        self.peak = 0
        self._under_way = 0
        self._lock = threading.Lock()

    def __enter__(self) -> ChatServer:
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()

    def respond(self, request: dict[str, Any]) -> tuple[int, str]:
        """Return status and body for one request."""
        with self._lock:
            self.requests.append(request)
            self._under_way += 1
            self.peak = max(self.peak, self._under_way)
        try:
            time.sleep(self.delay)
            answer = self.answer(request["messages"][-1]["content"])
        finally:
            with self._lock:
                self._under_way -= 1
        status, body = (
            answer if isinstance(answer, tuple) else (200, completion(answer))
        )
        return status, body if isinstance(body, str) else json.dumps(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # closing waits for them
    request_queue_size = 128

    def __init__(self, *args: Any):
        super().__init__(*args)
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that hung up."""

    def hang_up(self) -> None:
        """End the connections that clients keep alive."""
        for connection in list(self._open):
            with contextlib.suppress(OSError):  # the client was faster
                connection.shutdown(socket.SHUT_RDWR)


def _handler(chat: ChatServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # keeps connections alive
        disable_nagle_algorithm = True
        wbufsize = -1  # header and body leave in one packet

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            request["headers"] = {k.lower(): v for k, v in self.headers.items()}
            if self.path == "/v1/chat/completions":
                status, text = chat.respond(request)
            else:
                status, text = 404, json.dumps({"error": {"message": "no such path"}})
            body = text.encode()
            kind = "text/html" if text.startswith("<") else "application/json"
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            for name, value in chat.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
