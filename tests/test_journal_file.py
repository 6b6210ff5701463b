"""The file of a journal: how it is made, and what may be wrong with it."""

import os
import sqlite3
import stat
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from journals import answered, ask, fill, run

from skllm_cluster.journal import AnswerJournal, JournalError
from skllm_cluster.journal import _file as files


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "answers.sqlite")


@contextmanager
def database(path):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def content(path):
    """The bytes of a file and of those that SQLite may put beside it."""
    found = {}
    for end in ("", "-wal", "-shm", "-journal"):
        if os.path.isfile(path + end):
            found[end] = Path(path + end).read_bytes()
    return found


# How it is made


@pytest.fixture
def no_umask():
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.skipif(sys.platform == "win32", reason="has other permissions")
def test_what_is_made_is_readable_by_its_owner_alone(tmp_path, no_umask):
    os.chmod(tmp_path, 0o755)
    place = tmp_path / "a" / "b" / "answers.sqlite"
    journal = AnswerJournal(place)
    fill(journal, 1)
    modes = {
        str(p.relative_to(tmp_path)): stat.S_IMODE(p.stat().st_mode)
        for p in (tmp_path, *tmp_path.rglob("*"))
    }
    assert modes == {
        ".": 0o755,
        "a": 0o700,
        "a/b": 0o700,
        "a/b/answers.sqlite": 0o600,
        "a/b/answers.sqlite-wal": 0o600,
        "a/b/answers.sqlite-shm": 0o600,
    }
    journal.close()
    assert os.listdir(place.parent) == ["answers.sqlite"]


def test_an_empty_file_and_a_link_to_nothing_yet_become_journals(tmp_path):
    empty, link = tmp_path / "empty", tmp_path / "link"
    empty.touch()
    link.symlink_to(tmp_path / "target")
    for place in (empty, link):
        fill(AnswerJournal(place), 1)
        assert len(AnswerJournal(place)) == 1
    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == 0o600


def test_a_name_that_looks_like_a_uri_is_a_name(tmp_path):
    place = tmp_path / "file:a b?mode=memory&x=%41#é"
    fill(AnswerJournal(place), 1)
    assert len(AnswerJournal(place)) == 1
    assert place.exists()


def test_16_journals_that_make_the_same_file_at_once_all_use_it(path):
    start = threading.Barrier(16)

    def work(i):
        journal = AnswerJournal(path)
        start.wait()
        return journal.claim(*ask(0), seconds=60), journal

    with ThreadPoolExecutor(16) as pool:
        claimed = [is_mine for is_mine, _ in list(pool.map(work, range(16)))]
    assert sum(claimed) == 1


def other_application(path):
    with database(path) as db:
        db.execute("CREATE TABLE recipe (name TEXT)")


def other_application_with_an_id(path):
    with database(path) as db:
        db.execute("PRAGMA application_id = 7")


def other_application_that_crashed(path):
    """All of its tables are still in its log."""
    with database(path + "0") as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE recipe (name TEXT)")
        for end, found in content(path + "0").items():
            Path(path + end).write_bytes(found)


def other_version(path):
    AnswerJournal(path).check()
    with database(path) as db:
        db.execute("PRAGMA user_version = 2")


def text_file(path):
    Path(path).write_text("key,answer\n" * 500)


def short_text_file(path):
    Path(path).write_text("key")


def damaged_header(path):
    fill(AnswerJournal(path), 50)
    with open(path, "r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 3000)


def cut_off(path):
    fill(AnswerJournal(path), 200)
    os.truncate(path, os.path.getsize(path) // 2)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            other_application,
            r"is a SQLite database of another application\. Give",
        ),
        (other_application_with_an_id, "is a SQLite database of another application"),
        (other_application_that_crashed, "-wal' is the rest of another database"),
        (other_version, r"has format 2, and this version .* reads and writes format 1"),
        (text_file, "is no SQLite database"),
        (short_text_file, "is no SQLite database"),
        (damaged_header, "is damaged"),
        (cut_off, "is damaged"),
    ],
)
def test_a_file_that_is_no_journal_is_refused_and_left_as_it_is(path, make, said):
    make(path)
    before = content(path)
    journal = AnswerJournal(path)
    for use in (
        journal.check,
        lambda: journal.claim(*ask(0), seconds=60),
        lambda: fill(journal, 1),
        lambda: journal.replies([ask(0)[0]]),
    ):
        with pytest.raises(JournalError, match=rf"^The answer journal '.*' .*{said}"):
            use()
    journal.close()
    assert content(path) == before


def test_a_file_that_was_being_tidied_up_when_its_process_died_is_whole(path):
    """Its first page then counts pages that are only in its log yet."""
    place = path + "0"
    journal = AnswerJournal(place)
    with journal._here().reading() as db:
        db.execute("PRAGMA wal_autocheckpoint = 0")
    keys = fill(journal, 100)
    for end, found in content(place).items():
        Path(path + end).write_bytes(found)
    journal.close()  # which writes the log into the file
    first_page = Path(place).read_bytes()[:4096]
    size = os.path.getsize(path)
    assert int.from_bytes(first_page[28:32], "big") * 4096 > size
    with open(path, "r+b") as file:
        file.write(first_page)
    assert len(AnswerJournal(path).replies(keys)) == 100
    assert os.path.getsize(path) > size


def test_damage_that_is_found_late_is_told_and_not_made_worse(path, tmp_path):
    journal = AnswerJournal(path)
    keys = fill(journal, 1000)
    assert journal.to_jsonl(tmp_path / "export.jsonl") == 1000
    journal.close()
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        file.seek(size // 3)
        file.write(b"\xa5" * (size // 3))
    before = content(path)
    journal.check()  # the beginning is sound
    for use in (
        lambda: journal.replies(keys),
        lambda: list(journal.attempts()),
        lambda: journal.summary(),
        lambda: journal.to_jsonl(tmp_path / "export.jsonl"),
        lambda: fill(journal, 1000),
    ):
        with pytest.raises(JournalError, match=r"is damaged \(.*Put it aside, or put"):
            use()
    journal.close()
    assert content(path) == before
    assert (tmp_path / "export.jsonl").read_text().count("\n") == 1000
    assert sorted(os.listdir(tmp_path)) == ["answers.sqlite", "export.jsonl"]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE attempt SET reply = '{'",
        "UPDATE attempt SET reply = '[1]'",
        """UPDATE attempt SET reply = '{"wrong": 1}'""",
        """UPDATE attempt SET reply = '{"text": "", "top_logprobs": 1}'""",
        "UPDATE attempt SET reply = CAST(x'ff' AS TEXT)",
        "DROP TABLE question",
    ],
)
def test_an_answer_that_is_not_what_was_written_is_told(path, damage):
    keys = fill(AnswerJournal(path), 1)
    with database(path) as db:
        db.execute(damage)
    with pytest.raises(JournalError, match="is damaged"):
        AnswerJournal(path).replies(keys)
    with pytest.raises(JournalError, match="is damaged"):
        list(AnswerJournal(path).attempts())


@pytest.mark.parametrize(
    "damage", ["UPDATE question SET request = 'x'", "UPDATE attempt SET answer = ''"]
)
def test_an_attempt_that_is_not_what_was_written_is_told(path, damage):
    fill(AnswerJournal(path), 1)
    with database(path) as db:
        db.execute(damage)
    with pytest.raises(JournalError, match="is damaged"):
        list(AnswerJournal(path).attempts())


def test_a_request_that_is_not_what_was_written_is_told(path):
    keys = fill(AnswerJournal(path), 1)
    with database(path) as db:
        db.execute("UPDATE question SET request = '{'")
    with pytest.raises(JournalError, match="is damaged"):
        AnswerJournal(path).requests(keys)


# A place where no journal can be


@pytest.mark.skipif(sys.platform == "win32", reason="has other files")
@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "below a file", "nul"])
def test_a_place_where_no_file_can_be_is_told(tmp_path, kind):
    place = tmp_path / "place"
    if kind == "folder":
        place.mkdir()
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "device":
        place.symlink_to(os.devnull)
    elif kind == "below a file":
        place.write_text("text")
        place = place / "answers.sqlite"
    else:
        place = tmp_path / "a\0b"
    with pytest.raises(
        JournalError, match=r"^The answer journal '.*ive .*path"
    ) as told:
        AnswerJournal(place).check()
    said = {
        "below a file": "cannot be used (Not a directory). Check its disk",
        "nul": "is no path (",
    }
    assert said.get(kind, "it is no regular file") in str(told.value)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs Linux's /proc")
def test_a_drive_that_is_missing_is_told():
    with pytest.raises(JournalError, match=r"'/proc/none/.*cannot be used .*No such"):
        AnswerJournal("/proc/none/answers.sqlite").check()


def test_a_path_with_a_telling_name_does_not_tell_another_fault(tmp_path):
    (tmp_path / "locked").write_text("text")
    with pytest.raises(JournalError, match="cannot be used"):
        AnswerJournal(tmp_path / "locked" / "disk is full").check()


def test_a_file_that_can_only_be_read_is_told_before_anything_is_asked(
    path, monkeypatch
):
    keys = fill(AnswerJournal(path), 3)
    connect = files._connect
    monkeypatch.setattr(files, "_connect", lambda uri: connect(uri.replace("rw", "ro")))
    before = content(path)
    journal = AnswerJournal(path)
    for use in (
        journal.check,
        lambda: journal.claim(*ask(9), seconds=60),
        lambda: journal.replies(keys),
    ):
        with pytest.raises(JournalError, match=r"cannot be written \(attempt to write"):
            use()
    assert content(path)[""] == before[""]


@pytest.fixture
def open_folder():
    """A folder that everybody can reach, and what is done in it as nobody special."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)

        @contextmanager
        def unprivileged():
            if os.geteuid() != 0:
                yield
                return
            try:
                os.seteuid(65534)
                os.listdir(folder)
            except OSError as error:
                os.seteuid(0)
                pytest.skip(f"cannot act as another user here: {error}")
            try:
                yield
            finally:
                os.seteuid(0)

        yield folder, unprivileged
        os.chmod(folder, 0o700)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="has other permissions")
@pytest.mark.parametrize("what", ["folder", "file", "new file"])
def test_a_folder_or_file_without_permission_is_told(open_folder, what):
    folder, unprivileged = open_folder
    path = os.path.join(folder, "answers.sqlite")
    if what != "new file":
        fill(AnswerJournal(path), 3)
        os.chmod(path, 0o666 if what == "folder" else 0o444)
    os.chmod(folder, 0o777 if what == "file" else 0o555)
    before = content(path)
    with (
        unprivileged(),
        pytest.raises(
            JournalError, match=r"cannot be (written|opened) \(.*Give the path"
        ),
    ):
        AnswerJournal(path).check()
    assert content(path).get("") == before.get("")


def test_a_file_that_was_removed_or_replaced_takes_no_more_answers(path):
    journal = AnswerJournal(path)
    keys = fill(journal, 2)
    journal.claim(*ask(7), seconds=60)
    os.rename(path, path + ".old")
    for place_it in (lambda: None, Path(path).touch):
        place_it()
        for use in (
            lambda: journal.record(ask(7)[0], answered()),
            lambda: journal.claim(*ask(8), seconds=60),
        ):
            with pytest.raises(JournalError, match="was removed or replaced while it"):
                use()
    os.replace(path + ".old", path)
    journal.record(ask(7)[0], answered())
    assert len(journal.replies([*keys, ask(7)[0]])) == 3


# A disk without room


def limit_pages(journal, more):
    """Let the file grow by so many pages and no further."""
    with journal._here().reading() as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages + more}")


def test_a_full_disk_is_told_to_every_thread_and_loses_nothing(path):
    journal = AnswerJournal(path)
    limit_pages(journal, 6)
    kept, errors = [], []

    def work(thread):
        for i in range(100):
            key, request = ask((thread, i))
            try:
                journal.claim(key, request, seconds=60)
                journal.record(key, answered("x" * 500))
            except JournalError as error:
                errors.append(str(error))
                return
            kept.append(key)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    assert len(errors) == 16
    assert all(
        "no room left on its disk" in e and "Free some space" in e for e in errors
    )
    assert kept
    assert journal.replies(kept).keys() == set(kept)
    limit_pages(journal, 100)  # some space is freed
    fill(journal, 20)
    journal.close()
    assert len(AnswerJournal(path).replies(kept)) == len(kept)


def test_a_disk_that_is_full_from_the_beginning_leaves_nothing_half_made(
    path, monkeypatch
):
    connect = files._connect

    def cramped(uri):
        connection = connect(uri)
        connection.execute("PRAGMA max_page_count = 3")
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(files, "_connect", cramped)
        with pytest.raises(JournalError, match="no room left on its disk"):
            AnswerJournal(path).check()
    assert set(content(path)) == {""}
    fill(AnswerJournal(path), 1)


FILLING = r"""
import resource, sys, threading
from journals import answered, ask
from skllm_cluster.journal import AnswerJournal, JournalError
journal = AnswerJournal(sys.argv[1])
journal.check()
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
def work(thread):
    try:
        for i in range(1000):
            key, request = ask((thread, i))
            journal.claim(key, request, seconds=60)
            journal.record(key, answered("x" * 500))
            print(f"{key}\n", end="")
    except JournalError as error:
        print(f"error {error}\n", end="")
threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no limits of this kind")
def test_a_file_that_the_system_lets_grow_no_further_loses_nothing(path):
    lines = run(FILLING, path).splitlines()
    errors = [line for line in lines if line.startswith("error")]
    kept = [line for line in lines if not line.startswith("error")]
    assert len(errors) == 8
    assert all("cannot be used (disk I/O error)" in error for error in errors)
    assert kept
    assert len(AnswerJournal(path).replies(kept)) == len(kept)
    with database(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# Others who use the file


def test_a_file_that_another_process_keeps_locked_is_told(path, monkeypatch):
    monkeypatch.setattr(files, "_PATIENCE", 0.01)
    journal = AnswerJournal(path)
    keys = fill(journal, 1)
    with database(path) as db:
        db.execute("BEGIN IMMEDIATE")
        with pytest.raises(
            JournalError, match="locked by another process for too long"
        ):
            journal.claim(*ask(5), seconds=60)
        assert len(journal.replies(keys)) == 1  # to read is possible at any time
        journal.close()  # which gives up no claim, but does not fail
        db.execute("ROLLBACK")
    assert journal.claim(*ask(5), seconds=60)


class Locked:
    """A database that is locked for so many attempts."""

    def __init__(self, times, said="database is locked"):
        self.times, self.said = times, said

    def execute(self, sql):
        assert sql == "PRAGMA journal_mode = WAL"
        self.times -= 1
        if self.times >= 0:
            raise sqlite3.OperationalError(self.said)


def test_the_step_for_which_sqlite_does_not_wait_is_tried_again(monkeypatch):
    monkeypatch.setattr(files.time, "sleep", lambda seconds: None)
    database = Locked(5)
    files._use_wal(database)
    assert database.times == -1
    with pytest.raises(sqlite3.OperationalError, match="disk I/O error"):
        files._use_wal(Locked(1, "disk I/O error"))
    monkeypatch.setattr(files, "_PATIENCE", -1)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        files._use_wal(Locked(2))


def test_a_sqlite_that_is_too_old_is_told(path, monkeypatch):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 0))
    for journal in (AnswerJournal(path), AnswerJournal()):
        with pytest.raises(
            JournalError, match=r"needs SQLite 3\.37 or newer, but this"
        ):
            journal.check()
    assert not os.path.exists(path)
