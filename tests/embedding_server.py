"""An embeddings server on the loopback interface, whose vectors are made of hashes."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import chat_server
import numpy as np
from chat_server import ChatServer

__all__ = ["EmbeddingServer", "answer", "vector"]


def vector(text: str, d: int = 8) -> np.ndarray:
    """The vector of a text."""
    rng = np.random.default_rng(zlib.crc32(text.encode()))
    return rng.standard_normal(d, dtype=np.float32)


def answer(texts: list[str], *, form: str = "float", d: int = 8) -> dict[str, Any]:
    """The body of a usual answer."""
    data = []
    for i, text in enumerate(texts):
        found = vector(text, d)
        encoded = base64.b64encode(found.astype("<f4").tobytes()).decode()
        given = encoded if form == "base64" else [float(x) for x in found]
        data.append({"object": "embedding", "index": i, "embedding": given})
    tokens = sum(len(text.split()) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": "served", "usage": usage}


class EmbeddingServer(ChatServer):
    """Serve ``/v1/embeddings``: a :class:`ChatServer` whose prompts are batches.

    ``answer`` is given the texts of a request, and returns what a ChatServer's may.
    None: the usual answer.
    """

    def __init__(self, answer: Any = None, **more: Any):
        super().__init__(answer or self.usual, **more)

    def usual(self, texts: list[str]) -> Any:
        asked = self.current
        form, d = asked["encoding_format"], asked.get("dimensions", 8)
        return 200, answer(texts, form=form, d=d)

    def __enter__(self) -> EmbeddingServer:
        super().__enter__()
        self._server.RequestHandlerClass = _Handler
        return self

    @property
    def batches_sent(self) -> list[list[str]]:
        return [request["input"] for request in self.requests]

    @property
    def texts_sent(self) -> list[str]:
        return [text for batch in self.batches_sent for text in batch]


class _Handler(chat_server._Handler):
    def do_POST(self) -> None:  # noqa: N802
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == "/v1/embeddings"
        request["headers"] = {k.lower(): v for k, v in self.headers.items()}
        request["messages"] = [{"content": request["input"]}]
        self.meet(self.server.chat.respond(request))
