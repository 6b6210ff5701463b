"""The files and batches of the OpenAI API, as far as a batch of questions needs them.

``POST /v1/files``, ``GET /v1/files/{id}/content``, ``POST /v1/batches`` and
``GET /v1/batches/{id}``. Each poll brings a batch one step on its way.
"""

from __future__ import annotations

import email
import email.policy
import json
import threading
from collections.abc import Callable
from typing import Any

from faults import Answer, Raw, error, raw

_STEPS = ("validating", "in_progress", "completed")


class Batches:
    """Files that were uploaded, and batches that are being worked on.

    Parameters
    ----------
    answer : callable
        From the body of a chat request to an answer, as for :class:`ChatServer`.

    Attributes
    ----------
    files : dict of bytes
        Content of each file, by its id.
    """

    def __init__(self, answer: Callable[[dict[str, Any]], Answer]):
        self.answer = answer
        self.files: dict[str, bytes] = {}
        self._batches: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def handle(self, method: str, path: str, kind: str, body: bytes) -> Answer:
        """Answer one request; None if it is none of these."""
        parts = path.strip("/").split("/")[1:]
        with self._lock:
            match (method, *parts):
                case ("POST", "files"):
                    return 200, self._upload(_form(kind, body))
                case ("POST", "batches"):
                    return self._create(json.loads(body))
                case ("GET", "batches", name) if name in self._batches:
                    return 200, self._step(self._batches[name])
                case ("GET", "files", name, "content") if name in self.files:
                    return Raw(
                        self.files[name], content_type="application/octet-stream"
                    )
        return None

    def _keep(self, content: bytes) -> str:
        name = f"file-{len(self.files)}"
        self.files[name] = content
        return name

    def _upload(self, form: dict[str, bytes]) -> dict[str, Any]:
        return {
            "id": self._keep(form["file"]),
            "object": "file",
            "bytes": len(form["file"]),
            "created_at": 0,
            "filename": "questions.jsonl",
            "purpose": form["purpose"].decode(),
            "status": "processed",
        }

    def _create(self, request: dict[str, Any]) -> Answer:
        if request["input_file_id"] not in self.files:
            return 400, error("no such file", "invalid_request", param="input_file_id")
        batch = {
            "id": f"batch-{len(self._batches)}",
            "object": "batch",
            "created_at": 0,
            "status": _STEPS[0],
            **request,
        }
        self._batches[batch["id"]] = batch
        return 200, dict(batch)

    def _step(self, batch: dict[str, Any]) -> dict[str, Any]:
        if batch["status"] != _STEPS[-1]:
            batch["status"] = _STEPS[_STEPS.index(batch["status"]) + 1]
            if batch["status"] == _STEPS[-1]:
                self._work(batch)
        return dict(batch)

    def _work(self, batch: dict[str, Any]) -> None:
        good, bad = [], []
        for line in self.files[batch["input_file_id"]].splitlines():
            question = json.loads(line)
            assert (question["method"], question["url"]) == ("POST", batch["endpoint"])
            reply = raw(self.answer(question["body"]))
            response = {
                "status_code": reply.status,
                "request_id": "r",
                "body": json.loads(reply.body),
            }
            result = {"custom_id": question["custom_id"], "response": response}
            result |= {"id": f"result-{len(good) + len(bad)}", "error": None}
            (good if reply.status == 200 else bad).append(json.dumps(result))
        total = len(good) + len(bad)
        batch["request_counts"] = {
            "total": total,
            "completed": len(good),
            "failed": len(bad),
        }
        # Results come back in another order than the questions went in.
        for name, lines in (("output", good[::-1]), ("error", bad[::-1])):
            if lines:
                batch[f"{name}_file_id"] = self._keep("\n".join(lines).encode() + b"\n")


def _form(kind: str, body: bytes) -> dict[str, bytes]:
    """The fields of a multipart form."""
    head = f"Content-Type: {kind}\r\n\r\n".encode()
    form = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    return {
        part.get_param("name", header="content-disposition"): part.get_payload(
            decode=True
        )
        for part in form.iter_parts()
    }
