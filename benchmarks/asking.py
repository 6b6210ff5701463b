"""What asking costs beside the model: against a bare client, and in the journal.

Run: python benchmarks/asking.py [--repeats 7]

1,024 questions, 50 ms an answer, 16 at a time: LLMOracle with a journal on disk, a
second oracle on the same journal, and a bare loop over the ``openai`` client with as
many threads, one after the other in every repeat. The server (the one of the tests) is
a process of its own, so that it and the client share no interpreter lock.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from skllm_cluster.journal import AnswerJournal, Attempt, question_key
from skllm_cluster.oracles import LLMOracle, OpenAIChat
from skllm_cluster.oracles._prompts import triplet_prompt
from skllm_cluster.protocols import Reply

N_QUESTIONS, N_JOBS, DELAY = 1024, 16, 0.05
N_LARGE = 100_000


def serve(pipe: Connection) -> None:
    from chat_server import ChatServer

    with ChatServer(lambda prompt: "Choice 1", delay=DELAY) as server:
        pipe.send(server.url)
        while pipe.recv() == "report":
            pipe.send((server.peak, len(server.requests)))


def triplets_of(repeat: int) -> list[tuple[str, str, str]]:
    return [
        (f"text {i} of {repeat}", f"first {i}", f"second {i}")
        for i in range(N_QUESTIONS)
    ]


def timed_oracle(url: str, journal: str, repeat: int) -> tuple[float, float]:
    """Wall and CPU seconds of one oracle, made anew."""
    chat = OpenAIChat("served", base_url=url, api_key_env="NO_SUCH_KEY")
    oracle = LLMOracle(chat, perspective="intent", n_jobs=N_JOBS, journal=journal)
    triplets = triplets_of(repeat)
    start, cpu = time.perf_counter(), time.process_time()
    answers = oracle.answer_triplets(triplets)
    seconds = time.perf_counter() - start, time.process_time() - cpu
    if not (answers >= 0).all():
        raise RuntimeError(f"not every question was answered: {oracle.report()}")
    return seconds


def timed_bare(url: str, repeat: int) -> tuple[float, float]:
    """Wall and CPU seconds of the client alone, with the same prompts."""
    import openai

    prompts = [
        triplet_prompt(*triplet, perspective="intent")
        for triplet in triplets_of(repeat)
    ]
    start, cpu = time.perf_counter(), time.process_time()
    client = openai.OpenAI(base_url=url, api_key="none")

    def ask(prompt: str) -> str | None:
        message = {"role": "user", "content": prompt}
        reply = client.chat.completions.create(model="served", messages=[message])
        return reply.choices[0].message.content

    with ThreadPoolExecutor(N_JOBS) as pool:
        replies = list(pool.map(ask, prompts))
    seconds = time.perf_counter() - start, time.process_time() - cpu
    if set(replies) != {"Choice 1"}:
        raise RuntimeError("the bare client got other replies")
    client.close()
    return seconds


def attempt(i: int) -> Attempt:
    reply = Reply(
        "Choice 1", finish_reason="stop", prompt_tokens=80, completion_tokens=3
    )
    return Attempt(started=float(i), seconds=0.05, reply=reply, error=None, answer=0)


def request(i: int) -> dict[str, object]:
    body = {"model": "served", "messages": [{"role": "user", "content": f"{i} " * 60}]}
    return {"prompt_version": 1, "sample": 0, "sent": {"base_url": None, "body": body}}


def journal_costs(folder: Path, n: int = 2000) -> dict[str, float]:
    """Milliseconds an answer takes in the journal, durable on disk."""
    costs = {}
    for n_threads in (1, N_JOBS):
        journal = AnswerJournal(folder / f"costs{n_threads}.db")
        requests = [request(i) for i in range(n)]
        keys = [question_key(r) for r in requests]

        def keep(i: int, journal=journal, keys=keys, requests=requests) -> None:
            journal.claim(keys[i], requests[i], seconds=60)
            journal.record(keys[i], attempt(i))

        journal.check()
        start = time.perf_counter()
        with ThreadPoolExecutor(n_threads) as pool:
            list(pool.map(keep, range(n)))
        costs[f"{n_threads} threads"] = (time.perf_counter() - start) / n * 1e3
        journal.close()
    return costs


def large_journal(folder: Path, repeats: int) -> tuple[list[float], float]:
    """Seconds to look up all of 100,000 answers, and megabytes of the file."""
    path = folder / "large.db"
    journal = AnswerJournal(path)
    keys = []
    for begin in range(0, N_LARGE, 10_000):
        requests = [request(i) for i in range(begin, begin + 10_000)]
        keys += (batch := [question_key(r) for r in requests])
        journal.record_all(
            zip(
                batch,
                requests,
                map(attempt, range(begin, begin + 10_000)),
                strict=True,
            )
        )
    journal.close()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        found = AnswerJournal(path).replies(keys)
        seconds.append(time.perf_counter() - start)
        if len(found) != N_LARGE:
            raise RuntimeError("answers are missing")
    return seconds, path.stat().st_size / 1e6


def spread(values: list[float], unit: str, digits: int = 2) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} {unit} ({low:.{digits}f} to {high:.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats

    os.environ["NO_PROXY"] = "127.0.0.1"
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs,), daemon=True)
    process.start()
    url = ours.recv()
    import openai  # noqa: F401  importing it is no part of asking

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        journal = str(folder / "journal.db")
        asked, warm, bare = [], [], []
        timed_bare(url, -1)  # both sides meet a server that is awake
        ours.send("report")
        _, n_before = ours.recv()
        for repeat in range(repeats):
            bare.append(timed_bare(url, repeat))
            asked.append(timed_oracle(url, journal, repeat))
            warm.append(timed_oracle(url, journal, repeat))
        ours.send("report")
        peak, n_after = ours.recv()
        ours.send("stop")
        process.join()
        extra = n_after - n_before - 2 * repeats * N_QUESTIONS
        costs = journal_costs(folder)
        lookups, size = large_journal(folder, repeats)

    ratios = [a[0] / b[0] for a, b in zip(asked, bare, strict=True)]
    cpu = [a[1] / b[1] for a, b in zip(asked, bare, strict=True)]
    ideal = N_QUESTIONS * DELAY / N_JOBS
    print(f"{N_QUESTIONS:,} questions, {DELAY * 1000:.0f} ms each, {N_JOBS} at a time,")
    print(f"{repeats} repeats, {os.cpu_count()} cores; median (least to most)\n")
    print("| what | value |")
    print("|---|---|")
    print(f"| LLMOracle with a journal | {spread([w for w, _ in asked], 's')} |")
    print(f"| bare loop over the client | {spread([w for w, _ in bare], 's')} |")
    print(f"| ideal | {ideal:.2f} s |")
    print(f"| wall, ours / bare, side by side | {spread(ratios, 'times')} |")
    print(f"| CPU of the client, ours / bare | {spread(cpu, 'times')} |")
    print(f"| most requests at one time | {peak} |")
    print(f"| again, warm journal, new oracle | {spread([w for w, _ in warm], 's')} |")
    print(f"| requests of all warm runs | {extra} |")
    for threads, milliseconds in costs.items():
        print(f"| claim and durable record, {threads} | {milliseconds:.2f} ms each |")
    print(f"| look up {N_LARGE:,} of {N_LARGE:,} answers | {spread(lookups, 's')} |")
    print(f"| size of that file | {size:.0f} MB |")


if __name__ == "__main__":
    main()
