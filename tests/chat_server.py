"""A chat server on the loopback interface, with answers made by a function."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from batch_api import Batches
from faults import Answer, Hang, Raw, Reset, completion, error, raw

__all__ = ["ChatServer", "completion"]


class ChatServer:
    """Serve ``/v1/chat/completions``, files and batches while the context is open.

    Parameters
    ----------
    answer : callable
        From a prompt to the text of the reply, to (status, body), or to anything
        else that the module ``faults`` lists.
    delay : float
        Seconds until each answer.
    headers : mapping
        Sent with every answer. A value None removes one that is sent by default:
        "retry-after-ms", which is also left out beside a "retry-after" of the answer.

    Attributes
    ----------
    url : str
    requests : list of dict
        The JSON bodies received, in order, each with the request's headers (their
        names in lower case) as "headers".
    outcomes : Counter
        How many requests were met with what: a status, "Reset", "Hang", or "broken"
        for an answer that is not sent as it was promised.
    peak : int
        Most requests that were under way at one time.
    current : dict
        The request that is being answered, for the ``answer`` function: each thread
        sees its own.
    batches : Batches
    """

    def __init__(
        self,
        answer: Callable[[str], Answer],
        *,
        delay: float = 0.0,
        headers: Mapping[str, str | None] | None = None,
    ):
        self.answer = answer
        self.delay = delay
        # Nobody should have to wait for a test.
        self.headers = {"retry-after-ms": "1", **(headers or {})}
        self.requests: list[dict[str, Any]] = []
        self.outcomes: Counter[Any] = Counter()
        self.peak = 0
        self.batches = Batches(lambda body: self.answer(_prompt(body)))
        self.closing = threading.Event()
        self._under_way = 0
        self._of_thread = threading.local()
        self._lock = threading.Lock()

    def __enter__(self) -> ChatServer:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.chat = self
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()

    @property
    def current(self) -> dict[str, Any]:
        return self._of_thread.request

    def respond(self, request: dict[str, Any]) -> Answer:
        """Return what one chat request is met with."""
        with self._lock:
            self.requests.append(request)
            self._under_way += 1
            self.peak = max(self.peak, self._under_way)
        self._of_thread.request = request
        try:
            self.closing.wait(self.delay)
            answer = self.answer(_prompt(request))
        finally:
            with self._lock:
                self._under_way -= 1
        if not isinstance(answer, (Reset, Hang)):
            answer = raw(answer)
        with self._lock:
            self.outcomes[_outcome(answer)] += 1
        return answer

    def headers_for(self, answer: Raw) -> dict[str, str]:
        """All headers but those that say how long the body is."""
        given = {name.lower() for name in answer.headers}
        own = dict(self.headers)
        if "retry-after" in given:
            own.pop("retry-after-ms", None)
        own |= {"content-type": answer.content_type, **answer.headers}
        return {name: value for name, value in own.items() if value}


def _prompt(request: dict[str, Any]) -> Any:
    return request["messages"][-1]["content"]


def _outcome(answer: Any) -> Any:
    if isinstance(answer, Raw):
        return "broken" if answer.hangs_up else answer.status
    return type(answer).__name__


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # closing waits for them
    request_queue_size = 128
    chat: ChatServer

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


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    protocol_version = "HTTP/1.1"  # keeps connections alive
    disable_nagle_algorithm = True
    wbufsize = -1  # header and body leave in one packet

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/chat/completions":
            request = json.loads(body)
            request["headers"] = {k.lower(): v for k, v in self.headers.items()}
            self.meet(self.server.chat.respond(request))
        else:
            self.meet(self.batch(body))

    def do_GET(self) -> None:
        self.meet(self.batch(b""))

    def batch(self, body: bytes) -> Raw:
        kind = self.headers.get("Content-Type", "")
        found = self.server.chat.batches.handle(self.command, self.path, kind, body)
        return raw(found or (404, error("no such path")))

    def meet(self, answer: Any) -> None:
        if isinstance(answer, Reset):
            self.reset()
        elif isinstance(answer, Hang):
            self.server.chat.closing.wait(answer.seconds)
            self.close_connection = True
        else:
            self.send(answer)

    def reset(self) -> None:
        linger = struct.pack("ii", 1, 0)  # close without waiting: RST
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        os.close(self.connection.detach())
        self.close_connection = True

    def send(self, answer: Raw) -> None:
        self.send_response(answer.status)
        for name, value in self.server.chat.headers_for(answer).items():
            self.send_header(name, value)
        if answer.pieces:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            promised = len(answer.body) + answer.missing
            self.send_header("Content-Length", str(promised))
        self.end_headers()
        if answer.pieces:
            self.send_pieces(answer)
        else:
            self.wfile.write(answer.body)
        if answer.hangs_up:
            self.close_connection = True

    def send_pieces(self, answer: Raw) -> None:
        self.wfile.flush()  # the headers go ahead
        for piece in answer.chunks():
            if answer.pause:
                self.server.chat.closing.wait(answer.pause)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
        if not answer.unfinished:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:
        pass
