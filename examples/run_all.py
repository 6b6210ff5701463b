"""Run every example as a user would, the one with an LLM against a server of its own.

    make examples

The server stands in for an LLM: it SIMULATES answers from the known labels of the
messages that the questions are about.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from skllm_cluster.datasets import load_support_messages

HERE = Path(__file__).parent
TEXTS, TOPICS = load_support_messages(return_labels="topic")
LABEL = {" ".join(t.split()): topic for t, topic in zip(TEXTS, TOPICS, strict=True)}
LINE = re.compile(r"^(?:Query|Choice \d|Sentence \d): (.*)$", re.MULTILINE)


def plain(shown):
    """Take a text out of the quotation marks that it may stand in."""
    return " ".join(json.loads(shown).split()) if shown.startswith('"') else shown


class SimulatedLLM(BaseHTTPRequestHandler):
    """Answers prompts of triplets and pairs in the OpenAI protocol."""

    protocol_version = "HTTP/1.1"
    n_requests = 0

    def do_POST(self):
        SimulatedLLM.n_requests += 1
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        shown = LINE.findall(body["messages"][0]["content"])
        query, *others = (LABEL[plain(text)] for text in shown)
        reply = {
            (True,): "Yes", (False,): "No",
            (True, False): "Choice 1", (False, True): "Choice 2",
        }.get(tuple(query == other for other in others), "Neither")  # fmt: skip
        answer = {
            "id": "0", "object": "chat.completion", "created": 0, "model": "simulated",
            "choices": [{"index": 0, "finish_reason": "stop",
                         "message": {"role": "assistant", "content": reply}}],
            "usage": {"prompt_tokens": 80, "completion_tokens": 3, "total_tokens": 83},
        }  # fmt: skip
        sent = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *_):
        pass


def run(*arguments, **environment):
    print("$ python", *arguments, flush=True)
    subprocess.run(
        [sys.executable, *map(str, arguments)],
        check=True,
        env=os.environ | environment,
        timeout=600,
    )


def main():
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "demo.png"
        run(HERE / "demo.py", "--questions", "100", "--picture", picture)
        assert picture.stat().st_size > 10_000
    run(HERE / "refine_support_tickets.py")
    server = ThreadingHTTPServer(("127.0.0.1", 0), SimulatedLLM)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    with tempfile.TemporaryDirectory() as folder:
        command = (
            HERE / "cluster_with_openai.py", "--model", "simulated", "--base-url", url,
            "--questions", "200", "--embedder", "hashing",
            "--journal", f"{folder}/answers.db", "--prices", "0.15", "0.6",
        )  # fmt: skip
        run(*command, "--plan")
        run(*command)
        n_requests = SimulatedLLM.n_requests
        run(*command)
        assert SimulatedLLM.n_requests == n_requests > 0  # the journal had it all
    server.shutdown()


if __name__ == "__main__":
    main()
