"""What kills a sweep, and what is left of it: real processes, real Ray, real signals.

After each fault the same must hold: completed trials stay as they are and are not run again, a
running one loses at most what came after its last checkpoint, and the resumed experiment ends with
the trials, the metrics and the best of one that nobody disturbed.
"""

import os
import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import run as run_command
from tests.faults.disk import small_disk
from tests.faults.kill import Moment, check_end, rate, resume_command
from tests.faults.project import PACKAGE, Experiment, Project, Run, using

pytestmark = pytest.mark.timeout(900)

SAMPLES, ITERATIONS = 4, 12
SWEEP = ("--num-samples", SAMPLES, "--max-iterations", ITERATIONS)
# Writes x's record anew, and is killed when the new one is complete but not yet in its place.
KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from ray_tune_experiment.harness.store.record import Record
from ray_tune_experiment.harness.store.storage import Folder
record = Record.load(Folder.open(sys.argv[1]) / "x")
record.content["name"] = "another"
Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
record.save()
"""
# With the default seed, one trial of the four has such a learning rate: the third.
ABOVE, CHOSEN = "0.01", 2


@pytest.fixture(scope="module")
def whole(
    installed: tuple[Path, Path],
    cluster: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Experiment]:
    """The sweep that nobody disturbs."""
    with using(*installed, tmp_path_factory.mktemp("whole"), cluster=cluster) as undisturbed:
        said = undisturbed.run("run", "--name", "x", *SWEEP, "--max-concurrent-trials", 1)
        assert "warn" not in said.lower(), said
        yield undisturbed.experiment("x")


def started(project: Project, *flags: object, name: str = "x", **env: str) -> Run:
    """Start the sweep and wait until two trials have trained a while."""
    run = project.start("run", "--name", name, *SWEEP, *flags, env=env)
    experiment = project.experiment(name)
    seals = "trial_*_0000{}/checkpoint_*/seal.json"
    run.until(lambda: all(list(experiment.folder.glob(seals.format(i))) for i in range(2)))
    return run


@pytest.fixture
def interrupted(project: Project) -> Experiment:
    """An experiment that was interrupted while two trials were running: its state is up to date.

    It knows two checkpoints of each: a third result comes after the second checkpoint is known.
    """
    run = started(project, FAULT_SLEEP="0.5")
    experiment = project.experiment("x")
    run.until(lambda: all(len(rows(experiment, index)) > 2 for index in range(2)))
    run.kill(signal.SIGINT)
    assert run.wait() == 130
    assert not run.gone(agents=False)
    return experiment


def test_signals_again_and_again(project: Project, whole: Experiment) -> None:
    """Ends at random moments, and what is resumed is as if there had been none.

    Of SIGTERM: test_storage.py.
    """
    seed = random.randrange(2**32)
    print(f"random.seed({seed})")
    moments = random.Random(seed)
    experiment = project.experiment("x")
    command: list[str] = ["run", "--name", "x", *map(str, SWEEP)]
    ends = [(signal.SIGINT, True), (signal.SIGKILL, False)]
    before = Moment()
    for number, group in ends:
        run = project.start(*command)
        trained = sum(map(len, project.trace().values()))
        run.until(lambda n=trained: sum(map(len, project.trace().values())) > n)  # type: ignore[misc]
        before.check(project, experiment)
        time.sleep(moments.uniform(0, 1.2))
        start = time.monotonic()
        run.kill(number, group=group)
        code = run.wait()
        print(f"{number.name}, group {group}: ended in {time.monotonic() - start:.1f} s")
        assert not run.gone(agents=False), "is left running"
        assert "Traceback" not in run.said, run.said
        if number == signal.SIGKILL:
            assert code == -signal.SIGKILL
            command = ["run", "--resume", "--name", "x"]
        else:
            assert code == 128 + number, run.said
            assert f"{number.name}: saving" in run.said
            command = resume_command(project, run.said)
            assert command == ["run", "--name", "x", "--resume"]
            outcome = experiment.record["runs"][-1]["outcome"]
            assert outcome == f"interrupted by {number.name}"
        before = Moment.now(project, experiment)
    run = project.start(*command)
    assert run.wait() == 0, run.said
    assert not {pid: left for run in project.runs for pid, left in run.gone().items()}
    assert "Traceback" not in run.said, run.said
    before.check(project, experiment)
    check_end(experiment, whole, ITERATIONS)
    outcomes = [run["outcome"] for run in experiment.record["runs"]]
    assert outcomes[-1] == "done"
    assert len(outcomes) == len(ends) + 1


@pytest.mark.shared_ray
def test_sigusr1_and_sighup_and_the_time_between(project: Project) -> None:
    """Ray's own signal, and a terminal that is closed. Only time spent in runs is counted."""
    budget = ("--time-budget-s", 1000, "--max-iterations", 1000, "--num-samples", 1)
    experiment, start = project.experiment("x"), time.monotonic()
    run = project.start("run", "--name", "x", *budget)
    run.until(lambda: len(rows(experiment, 0)) > 3)
    run.kill(signal.SIGUSR1)
    assert run.wait() == 0, run.said
    first, spent = time.monotonic() - start, experiment.spent()
    assert 0 < spent < first
    assert resume_command(project, run.said) == ["run", "--name", "x", "--resume"]
    assert experiment.record["runs"][-1]["outcome"] == "interrupted by SIGUSR1"

    start, before = time.monotonic(), len(rows(experiment, 0))
    run = project.start("run", "--name", "x", "--resume")
    run.until(lambda: len(rows(experiment, 0)) > before)
    run.kill(signal.SIGHUP)
    assert run.wait() == 129, run.said
    assert resume_command(project, run.said)
    assert experiment.record["runs"][-1]["outcome"] == "interrupted by SIGHUP"
    assert spent < experiment.spent() < spent + time.monotonic() - start

    trained = project.trace()
    said = project.run("extend", "x", "--time-budget-s", spent, code=2)
    assert "would end the experiment again at once" in said, "the time spent before was not counted"
    assert project.trace() == trained


def rows(experiment: Experiment, index: int) -> list[int]:
    """The iterations in a trial's table, if it has one."""
    tables = list(experiment.folder.glob(f"trial_*_{index:05d}/result.json"))
    return [row["training_iteration"] for row in experiment.results(index)] if tables else []


def test_a_second_signal_ends_at_once(project: Project) -> None:
    run = started(project, FAULT_SLEEP="3")
    run.kill(signal.SIGINT)
    run.until(lambda: "SIGINT: saving" in run.said)
    start = time.monotonic()
    run.kill(signal.SIGINT)
    assert run.wait() == 130
    assert time.monotonic() - start < 5
    assert not run.gone(agents=False)


def test_ends_before_the_first_trial(project: Project) -> None:
    """Ray needs seconds to start; what ends meanwhile can be started again, or resumed.

    SIGTERM waits until Ray is up, so that Ray's daemons are spared and the state is saved. Once, on
    a busy machine, it came through earlier: the run names the command that resumes in both cases.
    """
    experiment, daemons = project.experiment("x"), project.scratch / "ray/session_latest/logs"

    def killed(number: signal.Signals, *words: object) -> Run:
        daemons.parent.unlink(missing_ok=True)
        run = project.start("run", "--name", "x", *words)
        run.until(lambda: "Starting Ray" in run.said and any(daemons.glob("*")))
        run.kill(number)
        code = run.wait()
        assert code == (-number if number == signal.SIGKILL else 128 + number), run.said
        assert not run.gone(agents=False)
        return run

    one = ("--num-samples", "1", "--max-iterations", "1")
    assert "no results have changed" in killed(signal.SIGINT, *one).said
    assert not experiment.folder.exists()
    killed(signal.SIGKILL, *one)
    run = killed(signal.SIGTERM, "--resume")
    assert "starts from the beginning" in run.said
    assert "Best of 1 trial:" in project.run(*resume_command(project, run.said))
    assert not {pid: left for run in project.runs for pid, left in run.gone().items()}


@pytest.mark.shared_ray
def test_a_killed_worker_and_a_trial_of_nan(project: Project, whole: Experiment) -> None:
    """MAX_FAILURES=1: the trial goes on from its checkpoint. NaN ends one trial, and no more.

    Ray's copy of the trial's results is then as old as can be: nothing is in it.
    """
    run = project.start(
        *("run", "--name", "x", *SWEEP, "--max-failures", 1, "--num-to-keep", 100),
        FAULT="nan",
        FAULT_ABOVE=ABOVE,
        TUNE_GLOBAL_CHECKPOINT_S="1000",
    )
    experiment = project.experiment("x")
    run.until(lambda: len(project.trace().get(rate(whole, 0), [])) > 4)
    run.until(lambda: list(experiment.folder.glob("trial_*_00000/checkpoint_*/seal.json")))
    worker = project.workers()[rate(whole, 0)][-1]
    assert worker in run.processes()
    moment = Moment.now(project, experiment)
    (experiment.trial_folder(0) / "result.json").write_text("")
    run.kill_process(worker)
    assert run.wait() == 0, run.said
    assert not run.gone(agents=False)
    moment.check(project, experiment)
    assert len(project.workers()[rate(whole, 0)]) == 2
    trials = experiment.trials()
    assert [trial.iteration for trial in trials] == [ITERATIONS, ITERATIONS, 1, ITERATIONS]
    assert {trial.status for trial in trials} == {"TERMINATED"}
    for index in (0, 1, 3):
        assert experiment.metrics()[index] == whole.metrics()[index]


@pytest.mark.shared_ray
def test_a_trial_that_raises_is_retried_alone(project: Project, whole: Experiment) -> None:
    said = project.run(
        *("run", "--name", "x", *SWEEP), code=1, FAULT="raise", FAULT_ABOVE=ABOVE, FAULT_SLEEP="0"
    )
    experiment = project.experiment("x")
    failed = experiment.trials()[CHOSEN]
    folder = experiment.trial_folder(CHOSEN)
    assert failed.status == "ERROR"
    assert said.count("RuntimeError: the planted fault") >= 1
    assert 'raise RuntimeError("the planted fault")' in said  # the trial's own traceback
    assert str(folder) in said
    assert said.index("the planted fault") < said.index("Best of")
    assert (folder / "stderr").is_file()
    assert experiment.record["runs"][-1]["failed"] == [failed.id]
    others = {i: tree(experiment.trial_folder(i)) for i in range(SAMPLES) if i != CHOSEN}
    before = project.trace()

    assert "1 failed" in project.run("run", "--name", "x", "--resume")  # finished; says how
    command = resume_command(project, said)
    assert command == ["run", "--name", "x", "--resume", "errored"]
    project.run(*command)
    check_end(experiment, whole, ITERATIONS)
    after = project.trace()
    assert {key for key in after if after[key] != before[key]} == {rate(whole, CHOSEN)}
    assert others == {i: tree(experiment.trial_folder(i)) for i in others}


@pytest.mark.shared_ray
def test_nothing_but_nan(project: Project) -> None:
    said = project.run("run", "--name", "x", "--num-samples", 3, code=1, FAULT="nan")
    assert "no best configuration" in said
    assert "Best of" not in said
    record = project.experiment("x").record["runs"][-1]
    assert record["best"] is None
    assert record["outcome"] != "done"
    assert all(trial.iteration == 1 for trial in project.experiment("x").trials())


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.more
def test_a_node_is_lost(project: Project, whole: Experiment) -> None:
    """Two nodes with a cpu each, and a storage path that both see. First the driver is lost."""
    cluster = project.start_program(Path(__file__).parent / "faults/two_nodes.py")
    address = cluster.until(lambda: cluster.said.partition("cluster at ")[2].partition("\n")[0])
    second = cluster.said.partition("second node ")[2].split()[0]
    project.env.update(RAY_ADDRESS=address, FAULT_SLEEP="0.8")
    experiment = project.experiment("x")

    def workers() -> set[int]:
        return {pid for pids in project.workers().values() for pid in pids}

    run = project.start("run", "--name", "x", *SWEEP, "--max-failures", 3)
    run.until(lambda: len(workers()) > 1 and sum(map(len, project.trace().values())) > 5)
    run.kill(signal.SIGKILL)
    run.wait()
    first = workers()
    cluster.until(lambda: not first & set(cluster.processes()))
    before = Moment.now(project, experiment)
    run = project.start("run", "--resume", "--name", "x")

    def on_second_node() -> list[float]:
        """The learning rates of the trials that are trained there, but not at their end."""
        node, epochs = cluster.tree(int(second)), project.trace()
        last = {rate: pids[-1] for rate, pids in project.workers().items()}
        return [r for r, pid in last.items() if pid in node and max(epochs[r]) < ITERATIONS - 1]

    (lost,) = run.until(lambda: len(workers() - first) > 1 and on_second_node())
    before.check(project, experiment)
    before = Moment.now(project, experiment)
    workers_before = len(project.workers()[lost])
    for pid in cluster.tree(int(second)):
        cluster.kill_process(pid)
    assert run.wait() == 0, run.said
    check_end(experiment, whole, ITERATIONS)
    before.check(project, experiment)
    assert len(project.workers()[lost]) > workers_before
    assert experiment.record["runs"][-1]["host"]["cluster"]


@pytest.mark.shared_ray
def test_a_full_disk(project: Project, whole: Experiment) -> None:
    with small_disk(project.folder / "results", "30m") as disk:
        run = started(project, "--min-free-gb", 0, FAULT_SLEEP="0.5")
        experiment = project.experiment("x")
        disk.fill()
        assert run.wait() in (1, 2), run.said
        assert not run.gone(agents=False)
        assert "No space left" in run.said, run.said
        whole_ones = {i: experiment.checkpoints(i) for i in range(2)}
        assert all(whole_ones.values()), "checkpoints are lost"
        disk.empty()
        said = project.run(*resume_command(project, run.said))
        assert "Best of 4 trials" in said
        check_end(experiment, whole, ITERATIONS)


@pytest.mark.more
@pytest.mark.shared_ray
def test_a_disk_that_turns_read_only(project: Project, whole: Experiment) -> None:
    with small_disk(project.folder / "results", "30m") as disk:
        run = started(project, "--min-free-gb", 0, FAULT_SLEEP="0.5")
        experiment = project.experiment("x")
        disk.mount("ro")
        before = {i: experiment.checkpoints(i) for i in range(2)}
        assert all(before.values())
        assert run.wait() in (1, 2), run.said
        assert not run.gone(agents=False)
        assert "Read-only file system" in run.said, run.said
        command = resume_command(project, run.said)
        refused = project.run(*command, code=2)  # at once, with what is in the way
        assert "Read-only file system" in refused, refused
        assert len(refused.splitlines()) == 1, refused
        disk.mount("rw")
        project.run(*command)
        check_end(experiment, whole, ITERATIONS)


@pytest.fixture
def spaced(installed: tuple[Path, Path], tmp_path: Path) -> Iterator[Project]:
    """The project in a folder whose name no shell likes, with its environment."""
    source, python = installed
    folder = tmp_path / "the team's project"
    environment = folder / ".venv"
    run_command("uv", "venv", "--python", sys.executable, environment)
    site = "import sysconfig; print(sysconfig.get_path('purelib'))"
    (own, others) = (
        Path(run_command(program, "-c", site).stdout.strip())
        for program in (environment / "bin/python", python)
    )
    (own / "others.pth").write_text(f"{others}\n")
    shutil.copytree(source / "src", folder / "src")
    shutil.copy(source / "pyproject.toml", folder)
    with using(folder, environment / "bin/python", folder) as in_it:
        yield in_it


def test_a_folder_with_a_space_and_an_apostrophe(spaced: Project) -> None:
    said = spaced.run("run", "--name", "x", "--num-samples", 1, "--max-iterations", 1)
    assert "Best of 1 trial:" in said
    (again,) = [words for words in spaced.commands(said) if "show" in words]
    assert "done" in spaced.run(*again)


@pytest.mark.shared_ray
def test_truncated_files(project: Project, interrupted: Experiment, whole: Experiment) -> None:
    """A checkpoint that is damaged: said, and the last good one is used. A state: refused."""
    damaged = {}
    for kind in ("experiment_state-*", "basic-variant-state-*", "callback-states-*"):
        storage = project.folder / kind.rstrip("-*")
        (path,) = shutil.copytree(interrupted.folder, storage / "x").glob(kind)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        damaged[storage] = path.name
    resume = ("run", "--name", "x", "--resume")
    refused = project.run_each(*((*resume, "--storage-path", storage) for storage in damaged))
    for (code, said), name in zip(refused, damaged.values(), strict=True):
        assert code == 2
        assert f"the state of 'x' is damaged: {name} can't be read" in said
        assert len(said.splitlines()) == 1

    oldest = {}
    for index in range(2):
        (oldest[index], _), *newer = sorted(interrupted.checkpoints(index).items())
        for _, folder in newer:
            model = folder / "model.skops"
            model.write_bytes(model.read_bytes()[:1000])
    trained = {rate(whole, index): len(project.trace()[rate(whole, index)]) for index in range(2)}
    said = project.run("run", "--name", "x", "--resume")
    check_end(interrupted, whole, ITERATIONS)
    for index in range(2):
        epochs = project.trace()[rate(whole, index)][trained[rate(whole, index)] :]
        assert epochs[0] == oldest[index] + 1, epochs
        went_back = f"{interrupted.trial_folder(index).name.replace('_', ' ', 1)}: checkpoint_"
        assert re.search(rf"{went_back}\d+ is damaged or gone; it goes back to checkpoint_", said)


@pytest.mark.shared_ray
def test_a_kill_while_ray_copies(project: Project, whole: Experiment) -> None:
    """The first trials have just ended: they keep all their results. Other moments: test_stub.py"""
    run = started(project, FAULT_SLEEP="0.3")
    experiment = project.experiment("x")
    run.until(lambda: any(ITERATIONS in experiment.checkpoints(i) for i in range(2)))
    project.fault_kill.write_text("after */experiment_state-*")
    assert run.wait() == -signal.SIGKILL, run.said
    project.fault_kill.unlink()
    before = Moment.now(project, experiment)
    assert not run.gone(agents=False)
    said = project.run("run", "--name", "x", "--resume")
    assert "Traceback" not in said
    before.check(project, experiment, tables=False)
    check_end(experiment, whole, ITERATIONS)


@pytest.mark.shared_ray
def test_exports_that_were_lost(project: Project) -> None:
    """A completed trial has its model in the end, or a line says why not, and a resume tries."""
    two = ("--num-samples", 2, "--max-iterations", 2, "--max-failures", 1)

    def models(name: str) -> int:
        return len(list(project.experiment(name).folder.glob("trial_*/model.skops")))

    said = project.run("run", "--name", "x", *two, code=1, FAULT_EXPORT="raise")
    assert said.count("has no exported model: RuntimeError: the planted fault") == 2, said
    experiment, trained = project.experiment("x"), project.trace()
    assert models("x") == 0
    assert [(t.status, t.iteration) for t in experiment.trials()] == [("TERMINATED", 2)] * 2
    assert [len(experiment.results(index)) for index in range(2)] == [2, 2]
    assert experiment.record["runs"][-1]["outcome"] == "exports failed"
    said = project.run(*resume_command(project, said))
    assert "Exported 2 missing models" in said
    assert models("x") == 2
    assert project.trace() == trained, "nothing is trained again"
    assert experiment.record["runs"][-1]["outcome"] == "done"
    assert "is finished" in project.run("run", "--name", "x", "--resume")

    said = project.run("run", "--name", "lost", *two, FAULT_EXPORT="lost")
    assert "Exported 2 missing models" in said
    assert models("lost") == 2
    assert "Traceback" not in said

    stopped = ("--num-samples", 2, "--max-iterations", 10_000, "--metric-goal", 0)
    said = project.run("run", "--name", "stopped", *stopped, FAULT_SLEEP="0.2")
    reported = sum(trial.iteration > 0 for trial in project.experiment("stopped").trials())
    assert models("stopped") == reported > 0, said


@pytest.mark.shared_ray
def test_one_run_at_a_time(project: Project, whole: Experiment) -> None:
    """And what is left when it is killed while it exports a trial that has ended."""
    run = started(project, FAULT_EXPORT_SLEEP="100")
    experiment = project.experiment("x")
    run.until(lambda: any(ITERATIONS in experiment.checkpoints(i) for i in range(2)))
    again = ("run", "--name", "x")
    *refused, (_, listed) = project.run_each((*again, "--resume"), again, ("list",))
    assert [(code, len(said.splitlines())) for code, said in refused] == [(2, 1), (2, 1)]
    assert str(run.pid) in refused[0][1]
    assert "running" in listed
    run.kill(signal.SIGKILL)
    os.waitid(os.P_PID, run.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie from now on
    assert "killed" in project.run("list")
    run.wait()
    assert not run.gone(agents=False)
    moment = Moment.now(project, experiment)
    assert "killed" in project.run("list")
    assert len(experiment.record["runs"]) == 1  # what was refused left no trace

    before = (experiment.folder / "experiment.json").read_bytes()
    killed = project.start_program("-c", KILLED_WHILE_WRITING, project.folder / "results")
    assert killed.wait() == -signal.SIGKILL, killed.said
    assert (experiment.folder / "experiment.json").read_bytes() == before
    (left,) = experiment.folder.glob(".experiment.json.*.part")
    left.write_bytes(before[: len(before) // 2])
    assert "killed" in project.run("list")
    assert "killed" in project.run("show", "x")
    project.run("run", "--resume", "--name", "x")
    moment.check(project, experiment)
    check_end(experiment, whole, ITERATIONS)
    assert all(max(epochs) == ITERATIONS for epochs in project.trace().values())
    assert not run.gone(agents=False)


# A signal whose exception is lost on its way, as in a callback from C.
LOST = f"""
import contextlib, os, signal
from {PACKAGE}.harness.run.signals import Interrupted, SignalCallback

signals = SignalCallback()
with contextlib.suppress(Interrupted):
    os.kill(os.getpid(), signal.SIGINT)
try:
    signals.setup()
except Interrupted as interrupted:
    print("ends by", interrupted.number)
"""


def test_a_signal_that_was_lost_while_ray_started(project: Project) -> None:
    run = project.start_program("-c", LOST)
    assert run.wait() == 0, run.said
    assert "ends by 2" in run.said


@pytest.mark.shared_ray
def test_a_run_that_slept_while_another_took_its_experiment(project: Project) -> None:
    lock = project.copy_source() / "harness/store/lock.py"
    text = lock.read_text()
    for old, new in (
        ("SECONDS_BETWEEN_BEATS = 10.0", "SECONDS_BETWEEN_BEATS = 1.5"),
        ("SECONDS_UNTIL_DEAD = 60.0", "SECONDS_UNTIL_DEAD = 1.5"),
        ("holder.kernel == this_kernel()", "False"),  # as if each run were on a machine of its own
    ):
        assert old in text
        text = text.replace(old, new)
    lock.write_text(text)
    # Each has one of the two cpus.
    small = ("--num-samples", 2, "--max-iterations", 3, "--max-concurrent-trials", 1)
    run = project.start("run", "--name", "x", *small, FAULT_SLEEP="1")
    folder = project.experiment("x").folder
    run.until(lambda: list(folder.glob("trial_*/checkpoint_*")))
    run.kill(signal.SIGSTOP)
    assert "Best of 2 trials" in project.run("run", "--name", "x", "--resume", FAULT_SLEEP="0")
    ended = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    run.kill(signal.SIGCONT)
    assert run.wait() == 1, run.said
    assert not run.gone(agents=False)
    (said,) = [line for line in run.said.splitlines() if line.startswith("error: ")]
    assert "'x' was taken by another run" in said
    assert "Traceback" not in run.said
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == ended
