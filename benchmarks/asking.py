"""How long 1,024 questions take when every answer takes 50 ms, 16 at a time.

Run: python benchmarks/asking.py [--repeats 5]

The server (the one of the tests) is a process of its own, so that it and the client
share no interpreter lock. Every repeat asks with a new client.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

N_QUESTIONS, N_JOBS, DELAY = 1024, 16, 0.05


def serve(pipe: Connection) -> None:
    from chat_server import ChatServer

    with ChatServer(lambda prompt: "Choice 1", delay=DELAY) as server:
        pipe.send(server.url)
        while pipe.recv() == "report":
            pipe.send((server.peak, time.process_time()))
            server.peak = 0


def ask(url: str, repeat: int) -> float:
    from skllm_cluster.oracles import LLMOracle, OpenAIChat

    chat = OpenAIChat("served", base_url=url, api_key_env="NO_SUCH_KEY")
    oracle = LLMOracle(chat, perspective="intent", n_jobs=N_JOBS)
    triplets = [
        (f"text {i} of {repeat}", f"first {i}", f"second {i}")
        for i in range(N_QUESTIONS)
    ]
    start = time.perf_counter()
    answers = oracle.answer_triplets(triplets)
    seconds = time.perf_counter() - start
    if not (answers >= 0).all() or oracle.report()["n_asked"] != N_QUESTIONS:
        raise RuntimeError(f"not every question was answered: {oracle.report()}")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats

    os.environ["NO_PROXY"] = "127.0.0.1"
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs,), daemon=True)
    process.start()
    url = ours.recv()
    import openai  # noqa: F401  importing it is no part of asking

    wall, cpu, peaks = [], [], []
    server_cpu = 0.0
    for repeat in range(repeats):
        start = time.process_time()
        wall.append(ask(url, repeat))
        client = time.process_time() - start
        ours.send("report")
        peak, total = ours.recv()
        peaks.append(peak)
        cpu.append((client, total - server_cpu))
        server_cpu = total
    ours.send("stop")
    process.join()

    ideal = N_QUESTIONS * DELAY / N_JOBS
    client, server = (statistics.median(column) for column in zip(*cpu, strict=True))
    print(f"{N_QUESTIONS:,} questions, {DELAY * 1000:.0f} ms each, {N_JOBS} at a time,")
    print(f"{repeats} repeats, {os.cpu_count()} cores\n")
    print("| what | value |")
    print("|---|---|")
    print(f"| wall, median | {statistics.median(wall):.2f} s |")
    print(f"| wall, min to max | {min(wall):.2f} to {max(wall):.2f} s |")
    print(f"| wall, ideal | {ideal:.2f} s |")
    print(f"| CPU of the client, median | {client:.2f} s |")
    print(f"| CPU of the server, median | {server:.2f} s |")
    print(f"| most requests at one time | {max(peaks)} |")


if __name__ == "__main__":
    main()
