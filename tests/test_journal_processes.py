"""The answer journal and processes: several at once, forked ones, and killed ones."""

import os
import platform
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack, closing
from types import SimpleNamespace

import pytest
from journals import answered, ask, fill, run, start

from skllm_cluster.journal import AnswerJournal
from skllm_cluster.journal import _process as processes

needs_posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX processes")
needs_proc = pytest.mark.skipif(
    not os.path.exists("/proc/self/stat"), reason="needs Linux's /proc"
)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "answers.sqlite")


def is_sound(path):
    with closing(sqlite3.connect(path)) as db:
        return db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def together(code, n, *arguments):
    """What n processes print that all begin when all are ready."""
    with ExitStack() as stack:
        all_ = [stack.enter_context(start(code, *arguments, i)) for i in range(n)]
        for process in all_:
            assert process.stdout.readline() == "ready\n", process.stderr.read()
        for process in all_:
            process.stdin.write("go\n")
            process.stdin.flush()
        outputs = [process.communicate() for process in all_]
    for process, (_, err) in zip(all_, outputs, strict=True):
        assert process.returncode == 0, err
    return [out.splitlines() for out, _ in outputs]


# Killed


RECORDING = r"""
import os, sys, threading
from journals import answered, ask
from skllm_cluster.journal import AnswerJournal
path, run = sys.argv[1:]
journal = AnswerJournal(path)
def work(thread):
    i = 0
    while True:
        key, request = ask((run, thread, i))
        journal.claim(key, request, seconds=3600)
        journal.record(key, answered(key))
        os.write(1, f"{key}\n".encode())  # at once, and whole
        i += 1
for thread in range(16):
    threading.Thread(target=work, args=(thread,)).start()
"""


@needs_posix
def test_nothing_that_was_recorded_is_lost_when_the_process_is_killed(path):
    rng, told = random.Random(0), []
    for moment in range(8):
        with start(RECORDING, path, moment) as process:
            for _ in range(rng.randrange(1, 150)):
                told.append(process.stdout.readline().strip())
            process.kill()
            rest = process.stdout.read()
        assert process.returncode == -signal.SIGKILL
        told += [
            line.strip() for line in rest.splitlines(keepends=True) if "\n" in line
        ]
        journal = AnswerJournal(path)
        found = journal.replies(told)
        assert [found[key].text for key in told] == told
        open_ = [
            row
            for row in unanswered(path)
            if not journal.claim(row[0], {}, seconds=60)  # free, at once
        ]
        assert open_ == []
        journal.close()
        assert is_sound(path)
    assert len(told) == len(set(told))


def unanswered(path):
    with closing(sqlite3.connect(path)) as db:
        return db.execute(
            "SELECT key FROM question WHERE answered_by IS NULL"
        ).fetchall()


CLAIMING = r"""
import sys
from journals import ask
from skllm_cluster.journal import AnswerJournal
journal = AnswerJournal(sys.argv[1])
print(journal.claim(*ask(0), seconds=3600))
print(journal.reserve("l", {"n": 3}, {"n": 9}), flush=True)
sys.stdin.read()
"""


@needs_posix
def test_a_claim_is_free_at_once_when_its_process_is_killed_and_not_before(path):
    journal, (key, request) = AnswerJournal(path), ask(0)
    with start(CLAIMING, path) as process:
        assert process.stdout.readline() == process.stdout.readline() == "True\n"
        assert not journal.claim(key, request, seconds=60)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        if os.path.exists("/proc/self/stat"):  # ended, but not looked after yet
            assert journal.claim(key, request, seconds=60)
            journal.release(key)
    assert journal.claim(key, request, seconds=60)


@needs_posix
def test_what_a_killed_process_had_reserved_is_booked_as_spent(path):
    journal = AnswerJournal(path)
    with start(CLAIMING, path) as process:
        assert process.stdout.readline() == process.stdout.readline() == "True\n"
        assert not journal.reserve("l", {"n": 7}, {"n": 9})
        assert journal.spent("l") == {}
        process.kill()
    journal.close()  # a process that begins now
    assert not journal.reserve("l", {"n": 7}, {"n": 9})
    assert journal.spent("l") == {"n": 3}
    assert journal.reserve("l", {"n": 6}, {"n": 9})


# Several at once


SHARING = r"""
import random, sys
from journals import answered, ask
from skllm_cluster.journal import AnswerJournal
path, me = sys.argv[1:]
questions = [ask(i) for i in range(200)]
random.Random(me).shuffle(questions)
journal = AnswerJournal(path)
print("ready", flush=True)
sys.stdin.readline()
for key, request in questions:
    if journal.claim(key, request, seconds=3600):
        journal.record(key, answered(me))
        print(key)
"""


def test_four_processes_ask_each_question_once(path):
    asked = together(SHARING, 4, path)
    keys = [ask(i)[0] for i in range(200)]
    assert Counter(key for each in asked for key in each) == Counter(keys)
    journal = AnswerJournal(path)
    found = journal.replies(keys)
    assert all(
        found[key].text == str(i) for i, each in enumerate(asked) for key in each
    )
    assert journal.summary()["n_attempts"] == 200
    journal.close()
    assert is_sound(path)


SPENDING = r"""
import sys, threading
from skllm_cluster.journal import AnswerJournal
journal = AnswerJournal(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
limits = {"questions": 60, "money": 20.0}
def work():
    for i in range(6):
        cost = {"questions": 1, "money": 0.5}
        if journal.reserve("l", cost, limits):
            is_made = i % 3 != 2
            journal.settle("l", cost, {"questions": 1, "money": 0.3} if is_made else {})
            print(f"{int(is_made)}\n", end="")
threads = [threading.Thread(target=work) for _ in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_three_processes_of_16_threads_stay_within_a_limit(path):
    made = [int(line) for each in together(SPENDING, 3, path) for line in each]
    journal = AnswerJournal(path)
    spent = journal.spent("l")
    assert 1 <= spent["questions"] == sum(made) <= 60
    assert spent["money"] == pytest.approx(0.3 * sum(made))
    rest = 60 - sum(made)  # nothing is left reserved
    assert journal.reserve("l", {"questions": rest}, {"questions": 60})
    assert not journal.reserve("l", {"questions": 1}, {"questions": 60})


MAKING = r"""
import sys
from journals import ask
from skllm_cluster.journal import AnswerJournal
journal = AnswerJournal(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(journal.claim(*ask(0), seconds=3600))
sys.stdin.read()
"""


def test_processes_that_make_the_same_file_at_once_all_use_it(path):
    with ExitStack() as stack:
        all_ = [stack.enter_context(start(MAKING, path)) for _ in range(4)]
        for process in all_:
            assert process.stdout.readline() == "ready\n"
        for process in all_:
            process.stdin.write("go\n")
            process.stdin.flush()
        claimed = [process.stdout.readline() for process in all_]  # while all live
        for process in all_:
            process.communicate()
            assert process.returncode == 0
    assert sorted(claimed) == ["False\n"] * 3 + ["True\n"]


# Forked


FORKING = r"""
import gc, os, sys
from journals import answered, ask, fill
from skllm_cluster.journal import AnswerJournal
path, way = sys.argv[1:]
journal, memory = AnswerJournal(path), AnswerJournal()
keys = fill(journal, 3)
fill(memory, 3)
assert journal.claim(*ask("parent"), seconds=3600)
with journal._here().reading():  # its lock is held, as if by another thread
    child = os.fork()
if child == 0:
    assert len(journal.replies(keys)) == 3
    assert not journal.claim(*ask("parent"), seconds=3600)
    assert journal.claim(*ask("child"), seconds=3600)
    journal.record(ask("child")[0], answered("child"))
    assert len(memory) == 0
    assert memory.claim(*ask(0), seconds=3600)
    if way == "close":
        journal.close()
    del journal
    gc.collect()
    if way == "kill":
        os.kill(os.getpid(), 9)
    sys.exit(0)  # with everything that is done at the end of a program
_, status = os.waitpid(child, 0)
assert status == (9 if way == "kill" else 0), status
assert not journal.claim(*ask("parent"), seconds=3600)
journal.record(ask("parent")[0], answered("parent"))
assert len(memory) == 3
found = journal.replies([*keys, ask("child")[0], ask("parent")[0]])
assert sorted(reply.text for reply in found.values()) == [
    "answer 0", "answer 1", "answer 2", "child", "parent"
]
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("way", ["end", "close", "kill"])
def test_a_forked_child_uses_a_connection_of_its_own(path, way):
    run(FORKING, path, way)
    assert is_sound(path)
    assert len(AnswerJournal(path)) == 5


# Who is alive


@needs_posix
def test_this_process_lives():
    assert not processes.is_dead(*processes.this_process())


@needs_posix
def test_a_process_that_ended_is_dead():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    machine, _, _ = processes.this_process()
    assert processes.is_dead(machine, process.pid, "1")


@needs_proc
def test_a_process_that_ended_and_that_nobody_looked_after_is_dead():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1) as process:
        machine, _, _ = processes.this_process()
        began = processes._began(process.pid)
        assert not processes.is_dead(machine, process.pid, began)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert processes.is_dead(machine, process.pid, began)


@needs_proc
def test_another_process_with_the_same_id_does_not_keep_a_claim():
    machine, pid, began = processes.this_process()
    assert processes.is_dead(machine, pid, str(int(began) - 1))


@needs_posix
def test_what_cannot_be_known_is_not_taken_for_dead(monkeypatch, tmp_path):
    machine, pid, began = processes.this_process()
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    assert processes.is_dead(machine, process.pid, began)
    assert not processes.is_dead("another machine", process.pid, began)
    assert not processes.is_dead(machine, pid, None)
    with monkeypatch.context() as patch:  # a system without /proc
        patch.setattr(processes, "_PROC", tmp_path)
        assert processes.this_process() == (platform.node(), pid, None)
        assert not processes.is_dead(platform.node(), pid, "1")
        assert processes.is_dead(platform.node(), process.pid, None)
    with monkeypatch.context() as patch:  # os.kill would end it there
        patch.setattr(processes, "os", SimpleNamespace(name="nt"))
        assert not processes.is_dead(machine, process.pid, began)


@needs_proc
def test_a_process_of_another_user_lives_unless_it_began_later(monkeypatch):
    def forbidden(pid, signal):
        raise PermissionError

    machine, pid, began = processes.this_process()
    monkeypatch.setattr(processes.os, "kill", forbidden)
    assert not processes.is_dead(machine, pid, began)
    assert processes.is_dead(machine, pid, "1")


def test_a_claim_of_another_machine_is_kept_until_it_lapses(path):
    key, request = ask(0)
    one, other = AnswerJournal(path), AnswerJournal(path)
    assert one.claim(key, request, seconds=3600)
    with one._here().writing() as db:
        db.execute("UPDATE holder SET machine = 'elsewhere', pid = 4194305")
    assert not other.claim(key, request, seconds=60)
    fill(one, 1)
    assert other.replies([key])[key] == answered("answer 0").reply
