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
from ray_tune_experiment.harness.configuration import Refusal
from ray_tune_experiment.harness.store import lock
from ray_tune_experiment.harness.store.lock import FILE, ExperimentLock, LockLost, locked, running
from ray_tune_experiment.harness.store.storage import Storage

ROUNDS, STARTERS = 60, 3
DEADLINE = 60.0  # seconds that no machine needs


@pytest.fixture
def storage(empty_folder: Path) -> Storage:
    return Storage(str(empty_folder))


@pytest.fixture
def dead(storage: Storage) -> Callable[..., None]:
    """Leaves the lock of a process that was killed, as it was or with other facts."""
    killed = subprocess.Popen(["sleep", "999"])
    holder = ExperimentLock(storage, "x").holder.model_dump()
    began = lock._began(psutil.Process(killed.pid))
    killed.kill()
    killed.wait()

    def leave(name: str = "x", **facts: Any) -> None:
        content = json.dumps({**holder, "pid": killed.pid, "began": began, **facts})
        storage.write(content.encode(), name, FILE)

    return leave


def entries(storage: Storage, name: str = "x") -> list[str]:
    return sorted(storage.files(name))


@contextmanager
def another(storage: Storage, name: str = "x") -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the lock, until it is told to end."""
    program = f"""if True:
        import sys
        from ray_tune_experiment.harness.store import lock
        from ray_tune_experiment.harness.store import storage
        lock.SECONDS_BETWEEN_BEATS = 0.1
        with lock.locked(storage.Storage({storage.path!r}), {name!r}):
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
    monkeypatch.setattr(lock, "_kernel", lambda: "another machine")


def starter(path: str, barrier: Any, results: Any) -> None:
    """Takes each lock in turn; in each turn all starters have found it dead before one goes on."""
    storage, lives, looked = Storage(path), lock._lives, 0

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
            with locked(storage, f"x{number}"):
                barrier.wait(DEADLINE)  # the others have been told by now
        except Refusal as refusal:
            said = str(refusal)
            barrier.wait(DEADLINE)
        results.put((number, said))


def test_of_several_that_find_a_dead_lock_at_once_one_runs(
    storage: Storage, dead: Callable[..., None]
) -> None:
    for number in range(ROUNDS):
        dead(f"x{number}")
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
        assert entries(storage, f"x{number}") == []


def test_one_that_was_killed_while_it_took_over(
    storage: Storage, dead: Callable[..., None]
) -> None:
    """What it had created is a dead lock too, and does not stay."""
    dead()
    (content,) = (storage.read("x", entry) for entry in entries(storage))
    facts = json.loads(content or b"")
    storage.write(json.dumps({**facts, "id": "0" * 32}).encode(), "x", f"{FILE}.{facts['id']}")
    storage.write(content or b"", "x", f"{FILE}.{'1' * 32}")
    assert not running(storage, "x")
    with locked(storage, "x"):
        assert entries(storage) == [FILE]
        assert running(storage, "x")
    assert entries(storage) == []


def test_a_lock_that_leads_to_itself(storage: Storage, dead: Callable[..., None]) -> None:
    dead(id="0" * 32)
    storage.write(storage.read("x", FILE) or b"", "x", f"{FILE}.{'0' * 32}")
    with pytest.raises(Refusal, match="leads to itself"), locked(storage, "x"):
        pass


@pytest.mark.parametrize("step", [-3600, 3600])
@pytest.mark.parametrize("suspended", [False, True])
def test_a_process_that_lives_holds_its_lock(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, step: int, suspended: bool
) -> None:
    """Also when it is silent, and whatever is done to the clock."""
    with another(storage) as holder:
        if suspended:
            holder.send_signal(signal.SIGSTOP)
        boot, clock, file = psutil.boot_time(), time.time, storage.at("x", FILE)
        monkeypatch.setattr(psutil, "boot_time", lambda: boot + step)
        monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: boot + step)
        monkeypatch.setattr(time, "time", lambda: clock() + step)
        os.utime(file, (0, 0))
        assert running(storage, "x")
        refused = rf"'x' is being run now, by process {holder.pid} on "
        with pytest.raises(Refusal, match=refused), locked(storage, "x"):
            pass
    with locked(storage, "x"):
        pass


def test_another_process_with_the_same_number_holds_nothing(
    storage: Storage, dead: Callable[..., None]
) -> None:
    dead(pid=os.getpid())
    assert not running(storage, "x")
    with locked(storage, "x") as mine:
        mine.keep()


def test_a_zombie_holds_nothing(storage: Storage, dead: Callable[..., None]) -> None:
    zombie = subprocess.Popen(["sleep", "999"])
    began = lock._began(psutil.Process(zombie.pid))
    dead(pid=zombie.pid, began=began)
    assert running(storage, "x")
    zombie.kill()
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    assert psutil.Process(zombie.pid).status() == psutil.STATUS_ZOMBIE
    assert not running(storage, "x")
    zombie.wait()


def test_a_run_on_another_machine_that_beats_is_left_alone(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While its main thread does something else: an export, for some minutes."""
    on_another_machine(monkeypatch)
    monkeypatch.setattr(lock, "SECONDS_UNTIL_DEAD", DEADLINE)
    monkeypatch.setattr(lock, "SECONDS_TO_LOOK_AGAIN", 0.05)
    with another(storage) as holder:
        for clock in (0, 2 * time.time()):  # the storage's, set back and forward
            os.utime(storage.at("x", FILE), (clock, clock))
            refused = rf"'x' is being run now, by process {holder.pid} on "
            with pytest.raises(Refusal, match=refused), locked(storage, "x"):
                pass


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[1]", b"\xff"])
def test_a_silent_lock_of_another_machine_is_dead(
    storage: Storage,
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
        storage.write(content, "x", FILE)
    with locked(storage, "x") as mine:
        mine.keep()
        assert entries(storage) == [FILE]
    assert "watching for 0 s whether it still is" in capsys.readouterr().out


def test_the_beat_survives_a_storage_that_fails(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "SECONDS_BETWEEN_BEATS", 0.01)
    failed = 0

    def fail(*_: Any) -> bytes:
        nonlocal failed
        failed += 1
        raise (OSError if failed % 2 else ValueError)("planted")

    with locked(storage, "x"):
        with monkeypatch.context() as broken:
            broken.setattr(storage, "read", fail)
            until(lambda: failed > 4)
        os.utime(storage.at("x", FILE), (0, 0))
        until(lambda: Path(storage.at("x", FILE)).stat().st_mtime > 0)


def until(happened: Callable[[], Any]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_lock_that_was_taken_is_lost(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is noticed when the lock has not been looked at for a while, and leaves the other's."""
    with locked(storage, "x") as mine:
        other = mine.holder.model_copy(update={"id": "0" * 32}).model_dump_json().encode()
        storage.write(other, "x", FILE)
        mine.renew()  # it has just been seen
        seen = time.time()
        for slept in (-3600, lock.SECONDS_BETWEEN_BEATS + 1):  # or the clock was set back
            monkeypatch.setattr(time, "time", lambda slept=slept: seen + slept)
            with pytest.raises(LockLost, match="'x' was taken by another run"):
                mine.renew()
            mine._lost = False
        with pytest.raises(LockLost):
            mine.keep()
        storage.write(mine._content, "x", FILE)
        with pytest.raises(LockLost):  # for good
            mine.renew()
        storage.write(other, "x", FILE)
    assert storage.read("x", FILE) == other


def test_the_beat_takes_no_signal_that_waits(storage: Storage) -> None:
    """Signals are blocked while Ray starts, so that they wait for the main thread."""
    with locked(storage, "x") as mine:
        status = Path(f"/proc/self/task/{mine._thread.native_id}/status").read_text()
        (blocked,) = [line.split()[1] for line in status.splitlines() if line[:6] == "SigBlk"]
        assert int(blocked, 16) & 1 << (signal.SIGTERM - 1)
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_without_hard_links(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    with locked(storage, "x"):
        with pytest.raises(Refusal, match="is being run now"), locked(storage, "x"):
            pass
        assert entries(storage) == [FILE]
    assert entries(storage) == []


def test_a_storage_that_takes_no_lock(storage: Storage, empty_folder: Path) -> None:
    (empty_folder / "x").touch()
    refused = r"'x': its run.lock can't be written \("
    with pytest.raises(Refusal, match=refused), locked(storage, "x"):
        pass
