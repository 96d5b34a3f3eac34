"""One run at a time: who takes a dead lock, and who is alive."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from harness.errors import Refusal
from harness.store import lock, processes
from harness.store.lock import FILE, ExperimentLock, LockLost, is_running, locked
from harness.store.storage import Folder

ROUNDS, STARTERS = 60, 3
DEADLINE = 60.0  # seconds that no machine needs


@pytest.fixture
def folder(empty_folder: Path) -> Folder:
    return Folder.open(str(empty_folder)) / "x"


@pytest.fixture
def dead(folder: Folder) -> Callable[..., None]:
    """Leaves the lock of a process that was killed, as it was or with other facts."""
    killed = subprocess.Popen(["sleep", "999"])
    holder = ExperimentLock(folder).holder.model_dump()
    began = processes._began(psutil.Process(killed.pid))
    killed.kill()
    killed.wait()

    def leave(where: Folder = folder, **facts: Any) -> None:
        content = json.dumps({**holder, "pid": killed.pid, "began": began, **facts})
        where.write(content.encode(), FILE)

    return leave


def entries(folder: Folder) -> list[str]:
    return sorted(folder.files())


@contextmanager
def another(folder: Folder) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the lock, until it is told to end."""
    program = f"""if True:
        import sys
        from harness.store import lock
        from harness.store.storage import Folder
        lock.SECONDS_BETWEEN_BEATS = 0.1
        with lock.locked(Folder.open({folder.path!r})):
            print("holds", flush=True)
            sys.stdin.read()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"holds\n"
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.communicate()


def on_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "this_kernel", lambda: "another machine")


def starter(path: str, barrier: Any, results: Any) -> None:
    """Takes each lock in turn; in each turn all starters have found it dead before one goes on."""
    storage, lives, looked = Folder.open(path), lock._lives, 0

    def wait_for_the_others(*arguments: Any, **how: Any) -> bool:
        nonlocal looked
        looked, found = looked + 1, bool(lives(*arguments, **how))
        if looked == 1:
            barrier.wait(DEADLINE)
        return found

    lock._lives = wait_for_the_others
    for number in range(ROUNDS):
        looked, said = 0, "holds"
        try:
            with locked(storage / f"x{number}"):
                barrier.wait(DEADLINE)  # the others have been told by now
        except Refusal as refusal:
            said = str(refusal)
            barrier.wait(DEADLINE)
        results.put((number, said))


def test_of_several_that_find_a_dead_lock_at_once_one_runs(
    empty_folder: Path, dead: Callable[..., None]
) -> None:
    storage = Folder.open(str(empty_folder))
    for number in range(ROUNDS):
        dead(storage / f"x{number}")
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(STARTERS), context.Queue()
    starters = [
        context.Process(target=starter, args=(storage.path, barrier, results), daemon=True)
        for _ in range(STARTERS)
    ]
    for process in starters:
        process.start()
    said: dict[int, list[str]] = {number: [] for number in range(ROUNDS)}
    for _ in range(ROUNDS * STARTERS):
        number, words = results.get(timeout=DEADLINE)
        said[number].append(words)
    for process in starters:
        process.join(DEADLINE)
        assert process.exitcode == 0
    for number, words in said.items():
        assert sorted(words)[-1] == "holds", (number, words)
        for refused in sorted(words)[:-1]:
            assert refused.startswith(f"'x{number}' is being run now, by process "), refused
        assert entries(storage / f"x{number}") == []


def test_one_that_was_killed_while_it_took_over(folder: Folder, dead: Callable[..., None]) -> None:
    """What it had created is a dead lock too, and does not stay."""
    dead()
    (content,) = (folder.read(entry) for entry in entries(folder))
    facts = json.loads(content or b"")
    folder.write(json.dumps({**facts, "id": "0" * 32}).encode(), f"{FILE}.{facts['id']}")
    folder.write(content or b"", f"{FILE}.{'1' * 32}")
    assert not is_running(folder)
    with locked(folder):
        assert entries(folder) == [FILE]
        assert is_running(folder)
    assert entries(folder) == []


def test_a_lock_that_leads_to_itself(folder: Folder, dead: Callable[..., None]) -> None:
    dead(id="0" * 32)
    folder.write(folder.read(FILE) or b"", f"{FILE}.{'0' * 32}")
    with pytest.raises(Refusal, match="leads to itself"), locked(folder):
        pass


@pytest.mark.parametrize("step", [-3600, 3600])
@pytest.mark.parametrize("suspended", [False, True])
def test_a_process_that_lives_holds_its_lock(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, step: int, suspended: bool
) -> None:
    """Also when it is silent, and whatever is done to the clock."""
    with another(folder) as holder:
        if suspended:
            holder.send_signal(signal.SIGSTOP)
        boot, clock, file = psutil.boot_time(), time.time, folder.at(FILE)
        monkeypatch.setattr(psutil, "boot_time", lambda: boot + step)
        monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: boot + step)
        monkeypatch.setattr(time, "time", lambda: clock() + step)
        os.utime(file, (0, 0))
        assert is_running(folder)
        refused = rf"'x' is being run now, by process {holder.pid} on "
        with pytest.raises(Refusal, match=refused), locked(folder):
            pass
    with locked(folder):
        pass


def test_another_process_with_the_same_number_holds_nothing(
    folder: Folder, dead: Callable[..., None]
) -> None:
    dead(pid=os.getpid())
    assert not is_running(folder)
    with locked(folder) as mine:
        mine.keep()


def test_a_zombie_holds_nothing(folder: Folder, dead: Callable[..., None]) -> None:
    zombie = subprocess.Popen(["sleep", "999"])
    began = processes._began(psutil.Process(zombie.pid))
    dead(pid=zombie.pid, began=began)
    assert is_running(folder)
    zombie.kill()
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    assert psutil.Process(zombie.pid).status() == psutil.STATUS_ZOMBIE
    assert not is_running(folder)
    zombie.wait()


def test_a_run_on_another_machine_that_beats_is_left_alone(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While its main thread does something else: an export, for some minutes."""
    on_another_machine(monkeypatch)
    monkeypatch.setattr(lock, "SECONDS_UNTIL_DEAD", DEADLINE)
    monkeypatch.setattr(lock, "SECONDS_TO_LOOK_AGAIN", 0.05)
    with another(folder) as holder:
        for clock in (0, 2 * time.time()):  # the storage's, set back and forward
            os.utime(folder.at(FILE), (clock, clock))
            refused = rf"'x' is being run now, by process {holder.pid} on "
            with pytest.raises(Refusal, match=refused), locked(folder):
                pass


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[1]", b"\xff"])
def test_a_silent_lock_of_another_machine_is_dead(
    folder: Folder,
    dead: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: bytes | None,
) -> None:
    """As is one that can't be read."""
    monkeypatch.setattr(lock, "SECONDS_UNTIL_DEAD", 0.2)
    monkeypatch.setattr(lock, "SECONDS_TO_LOOK_AGAIN", 0.05)
    dead(kernel="another machine")
    if content is not None:
        folder.write(content, FILE)
    with locked(folder) as mine:
        mine.keep()
        assert entries(folder) == [FILE]
    assert "watching for 0 s whether it still is" in capsys.readouterr().out


def test_the_beat_survives_a_storage_that_fails(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "SECONDS_BETWEEN_BEATS", 0.01)
    failed = 0

    def fail(*_: Any) -> bytes:
        nonlocal failed
        failed += 1
        raise (OSError if failed % 2 else ValueError)("planted")

    with locked(folder):
        with monkeypatch.context() as broken:
            broken.setattr(folder, "read", fail)
            until(lambda: failed > 4)
        os.utime(folder.at(FILE), (0, 0))
        until(lambda: Path(folder.at(FILE)).stat().st_mtime > 0)


def until(happened: Callable[[], Any]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_lock_that_was_taken_is_lost(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is noticed when the lock has not been looked at for a while, and leaves the other's."""
    with locked(folder) as mine:
        other = mine.holder.model_copy(update={"id": "0" * 32}).model_dump_json().encode()
        folder.write(other, FILE)
        mine.renew()  # it has just been seen
        seen = time.time()
        for slept in (-3600, lock.SECONDS_BETWEEN_BEATS + 1):  # or the clock was set back
            monkeypatch.setattr(time, "time", lambda slept=slept: seen + slept)
            with pytest.raises(LockLost, match="'x' was taken by another run"):
                mine.renew()
            mine._lost = False
        with pytest.raises(LockLost):
            mine.keep()
        folder.write(mine._content, FILE)
        with pytest.raises(LockLost):  # for good
            mine.renew()
        folder.write(other, FILE)
    assert folder.read(FILE) == other


def test_the_beat_takes_no_signal_that_waits(folder: Folder) -> None:
    """Signals are blocked while Ray starts, so that they wait for the main thread."""
    with locked(folder) as mine:
        status = Path(f"/proc/self/task/{mine._thread.native_id}/status").read_text()
        (blocked,) = [line.split()[1] for line in status.splitlines() if line[:6] == "SigBlk"]
        assert int(blocked, 16) & 1 << (signal.SIGTERM - 1)
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_without_hard_links(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    with locked(folder):
        with pytest.raises(Refusal, match="is being run now"), locked(folder):
            pass
        assert entries(folder) == [FILE]
    assert entries(folder) == []


def test_a_storage_that_takes_no_lock(folder: Folder, empty_folder: Path) -> None:
    (empty_folder / "x").touch()
    refused = r"'x': its run.lock can't be written \("
    with pytest.raises(Refusal, match=refused), locked(folder):
        pass
