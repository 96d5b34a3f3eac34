"""Runs a generated project as a user does, and finds and ends every process that it starts."""

import contextlib
import io
import ipaddress
import json
import os
import pickle
import pickletools
import shlex
import shutil
import signal
import subprocess
import sys
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.sums import sums

PACKAGE = "ray_tune_experiment"
OTHERS = (
    *("RAY_", "AWS_", "FAULT", "EXPERIMENT_", "TUNE_", "PYTHON", "PYTEST", "VIRTUAL_ENV"),
    *("MLFLOW_", "WANDB_", "COLUMNS", "LINES"),
)
MARK = "FAULTS_RUN"  # a variable that every process of a run inherits
AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
SECONDS = 240.0  # what a run may take on a busy machine; a quiet one needs 20

# Added to model.py, so that a test can slow a trial down, let it fail, and see each epoch that was
# trained. A preflight, which has a sample of the rows only, meets none of it. A trial waits after
# its first epoch while there is a file FAULT_HOLD that holds the beginning of its learning rate.
MODEL = """

import os
import time

_fit_step = Model.fit_step


def _held(rate):
    try:
        return rate.startswith(Path(os.environ.get("FAULT_HOLD", "/")).read_text())
    except OSError:
        return False


def _faulty_fit_step(self):
    if len(self.data.x_train) < 200:
        return _fit_step(self)
    time.sleep(float(os.environ.get("FAULT_SLEEP", "0")))
    if hasattr(self.estimator, "coefs_"):
        while _held(repr(self.estimator.learning_rate_init)):
            time.sleep(0.02)
    fault = os.environ.get("FAULT", "")
    if self.estimator.learning_rate_init < float(os.environ.get("FAULT_ABOVE", "0")):
        fault = ""
    if fault == "raise" and hasattr(self.estimator, "coefs_"):
        raise RuntimeError("the planted fault")
    loss = _fit_step(self)
    if trace := os.environ.get("FAULT_TRACE"):
        epoch = round(self.estimator.t_ / len(self.data.x_train))
        with open(trace, "a") as file:
            file.write(f"{self.estimator.learning_rate_init!r} {epoch} {os.getpid()}\\n")
    if fault == "nan":
        self.estimator.coefs_[0][:] = np.nan
    return loss


Model.fit_step = _faulty_fit_step

_export = Model.export


def _faulty_export(self, folder):
    import signal
    import sys

    if len(self.data.x_train) < 200:
        return _export(self, folder)
    time.sleep(float(os.environ.get("FAULT_EXPORT_SLEEP", "0")))
    fault = os.environ.get("FAULT_EXPORT", "")
    if fault == "raise":
        raise RuntimeError("the planted fault")
    if fault == "lost" and "default_worker" in sys.argv[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return _export(self, folder)


Model.export = _faulty_export
"""

# Added to harness/store/whole_files.py: the process that next gives a file its name is killed at
# that moment, where the file FAULT_KILL says which ("before */progress.csv"); FAULT_KILL.done says
# so. Where it says "full", no such file can be written, as if the disk were full.
STORAGE = """

_close = _WholeFile.close


def _close_or_die(self):
    import fnmatch
    import signal

    try:
        when, _, pattern = Path(os.environ.get("FAULT_KILL", "/")).read_text().partition(" ")
    except OSError:
        return _close(self)
    if self.closed or not fnmatch.fnmatch(self._path, pattern):
        return _close(self)
    if when == "after":
        _close(self)
    Path(os.environ["FAULT_KILL"] + ".done").touch()
    if when == "full":
        unreported[self._path] = OSError(28, "No space left on device")
        self.discard()
        raise unreported[self._path]
    os.kill(os.getpid(), signal.SIGKILL)


_WholeFile.close = _close_or_die
"""

# Runs commands that need no Ray to run; the import of Ray is most of what each would take.
EACH = f"""
import contextlib, io, json, sys
from {PACKAGE}.harness.cli import main
from {PACKAGE}.project import PROJECT
ended = []
for words in json.loads(sys.argv.pop()):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main(PROJECT, words)
    ended.append([code, said.getvalue()])
assert not sys.modules["ray"].is_initialized()
sys.stdout.write("\\n" + json.dumps(ended))
"""


def python_path(project: Path) -> str:
    """Where the template's own Python finds the package of a project, and nothing it does without.

    That Python has the packages of all frameworks.
    """
    paths = [project / "src"]
    if '"torch' not in (project / "pyproject.toml").read_text("utf-8"):
        paths.append(Path(__file__).with_name("without_torch"))
    return os.pathsep.join(map(str, paths))


def install(project: Path, env: dict[str, str], *more: str) -> Path:
    """Make an environment for a project, and more packages, with uv. Returns its Python."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert uv, "uv is missing"
    environment = project / ".venv"
    python = environment / "bin/python"
    for command in (
        ["venv", "--python", sys.executable, str(environment)],
        ["pip", "install", "--python", str(python), str(project), *more],
    ):
        done = subprocess.run([uv, *command], capture_output=True, text=True, timeout=600, env=env)
        assert done.returncode == 0, done.stderr
    return python


def plant(project: Path, *, quick: bool = True) -> None:
    """Let the variables FAULT… work in the model and in the storage. quick: without skops"""
    if quick:
        skops = project / "src/skops"
        skops.mkdir()
        (skops / "__init__.py").touch()
        shutil.copy(Path(__file__).with_name("quick_skops.py"), skops / "io.py")
    for file, fault in (("model.py", MODEL), ("harness/store/whole_files.py", STORAGE)):
        path = project / "src" / PACKAGE / file
        path.write_text(path.read_text() + fault)
    seal(project)


def seal(project: Path) -> None:
    """Let `check` take harness/ as it is now for what the template made."""
    harness = project / "src" / PACKAGE / "harness"
    (harness / "sha256sums.txt").write_text(sums(harness))


@dataclass
class Run:
    """One command of the project, with all the processes that came of it."""

    process: subprocess.Popen[bytes]
    mark: str
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def wait(self, seconds: float = SECONDS) -> int:
        """Wait for the command. Returns its exit code, negative for a signal."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.end()
            raise AssertionError(f"not done in {seconds} s, but said:\n{self.said}") from None

    def until(self, happened: Callable[[], Any], seconds: float = SECONDS) -> Any:
        """Wait until `happened` returns something, which the command must not end before."""
        deadline = time.monotonic() + seconds
        while not (answer := happened()):
            assert self.process.poll() is None, f"ended before, and said:\n{self.said}"
            if time.monotonic() > deadline:
                self.end()
                raise AssertionError(f"waited {seconds} s in vain:\n{self.said}")
            time.sleep(0.05)
        return answer

    def kill(self, number: int, *, group: bool = False) -> None:
        """Send a signal to the driver, or to its group, as a terminal does."""
        if group:
            os.killpg(self.pid, number)
        else:
            os.kill(self.pid, number)

    def kill_process(self, pid: int) -> None:
        """Kill one process of the run."""
        assert pid in self.processes(), f"{pid} is none of {self.processes()}"
        os.kill(pid, signal.SIGKILL)

    def tree(self, pid: int) -> list[int]:
        """A process of the run, and those that it started, as on a node."""
        parents = {}
        for other in self.processes():
            with contextlib.suppress(OSError):  # ended meanwhile
                parents[other] = int(_stat(other)[1])
        found = [pid]
        for parent in found:
            found += [child for child, its in parents.items() if its == parent]
        return found

    def processes(self) -> dict[int, str]:
        """The processes that are left of the run, with their command lines."""
        return marked(self.mark)

    def listening(self) -> set[str]:
        """The addresses at which processes of the run wait for connections."""
        inodes = set()
        for pid in self.processes():
            for link in Path(f"/proc/{pid}/fd").glob("*"):
                with contextlib.suppress(OSError):
                    inodes.add(link.readlink().name)
        addresses = set()
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            for line in Path(table).read_text().splitlines()[1:]:
                _, local, _, state, *_, inode = line.split()[:10]
                if state == "0A" and f"socket:[{inode}]" in inodes:
                    addresses.add(_address(local.partition(":")[0]))
        return addresses

    def gone(self, seconds: float = 150.0, *, agents: bool = True) -> dict[int, str]:
        """Wait until nothing is left. Returns what is.

        agents: also two agents of Ray, which look for a driver that was killed for a minute
        """
        deadline = time.monotonic() + seconds
        while True:
            left = self.processes()
            if not agents:
                left = {k: v for k, v in left.items() if not v.startswith(AGENTS)}
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.2)

    def end(self) -> None:
        """Kill what is left, by its process id."""
        kill_marked(self.mark)
        self.process.wait(20)


def _address(text: str) -> str:
    """An address as /proc writes it: words of four bytes, each in the machine's order."""
    words = [bytes.fromhex(text[i : i + 8])[::-1] for i in range(0, len(text), 8)]
    address = ipaddress.ip_address(b"".join(words))
    return str(getattr(address, "ipv4_mapped", None) or address)


def _stat(pid: int) -> list[str]:
    """What /proc/PID/stat says after the name: state, parent, …"""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def marked(mark: str) -> dict[int, str]:
    """The living processes that carry a mark in their environment."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            state = _stat(int(folder.name))[0]
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # ended meanwhile
            continue
        if state != "Z":
            found[int(folder.name)] = command
    return found


def kill_marked(mark: str) -> None:
    """Kill what carries a mark, by its process id, until nothing is left."""
    deadline = time.monotonic() + 60
    while left := marked(mark):
        assert time.monotonic() < deadline, left
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


@dataclass
class Project:
    """A generated project, and a folder in which it is run."""

    source: Path
    python: Path
    folder: Path  # the working folder: results are kept here
    scratch: Path  # short, for Ray's sockets
    env: dict[str, str] = field(default_factory=dict)
    cluster: str = ""  # the address of a Ray that runs; without one each run starts its own
    runs: list[Run] = field(default_factory=list)

    def start(self, *words: object, env: Mapping[str, str] | None = None, **more_env: str) -> Run:
        """Start a command of the project in a process group of its own."""
        return self.start_program("-m", PACKAGE, *words, **{**(env or {}), **more_env})

    def environment(self, mark: str, **env: str) -> dict[str, str]:
        """What a process of a run finds in its environment."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(OTHERS)}
        ours = {"PYTHONPATH": python_path(self.source), MARK: mark, **self.env, **env}
        ray = {"RAY_TMPDIR": str(self.scratch)}
        if self.cluster:
            job = {"runtime_env": {"env_vars": ours}}  # its workers inherit nothing of the driver
            ray = {
                "RAY_ADDRESS": self.cluster,
                "RAY_AUTH_MODE": "disabled",
                "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # it is looked for at 127.0.0.1
                "RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps(job),
            }
        return {**kept, **ray, **ours}

    def start_program(self, *words: object, **env: str) -> Run:
        """Start this project's Python."""
        mark = uuid.uuid4().hex
        log = self.scratch / f"{mark}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(word) for word in (self.python, *words)],
                cwd=self.folder,
                env=self.environment(mark, **env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        run = Run(process, mark, log)
        self.runs.append(run)
        return run

    def run(
        self,
        *words: object,
        code: int = 0,
        env: Mapping[str, str] | None = None,
        **more_env: str,
    ) -> str:
        """Run a command to its end. Returns what it said."""
        run = self.start(*words, env=env, **more_env)
        assert run.wait() == code, run.said
        return run.said

    def run_each(self, *lines: Sequence[object], **env: str) -> list[tuple[int, str]]:
        """Run commands in one process. Returns the exit code of each, and what it said."""
        words = json.dumps([[str(word) for word in line] for line in lines])
        run = self.start_program("-c", EACH, words, **env)
        assert run.wait() == 0, run.said
        return [(code, said) for code, said in json.loads(run.said.splitlines()[-1])]

    def copy_source(self) -> Path:
        """Give this test a source tree of its own, to edit. Returns the package's folder."""
        own = self.scratch / "source"
        kept_out = shutil.ignore_patterns(".venv", ".git")
        shutil.copytree(self.source, own, ignore=kept_out)
        self.source = own
        return own / "src" / PACKAGE

    def experiment(self, name: str) -> "Experiment":
        return Experiment(self.folder / "results" / name)

    def close(self) -> None:
        for run in self.runs:
            run.end()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def trace(self) -> dict[float, list[int]]:
        """Every epoch that any worker has trained, by learning rate, in order."""
        trained: dict[float, list[int]] = {}
        path = Path(self.env["FAULT_TRACE"])
        for line in path.read_text().splitlines() if path.exists() else []:
            rate, epoch, _ = line.split()
            trained.setdefault(float(rate), []).append(int(epoch))
        return trained

    def workers(self) -> dict[float, list[int]]:
        """The processes that trained a learning rate, the last one last."""
        found: dict[float, list[int]] = {}
        path = Path(self.env["FAULT_TRACE"])
        for line in path.read_text().splitlines() if path.exists() else []:
            rate, _, pid = line.split()
            workers = found.setdefault(float(rate), [])
            if int(pid) not in workers[-1:]:
                workers.append(int(pid))
        return found

    def alive(self, run: Run) -> list[int]:
        """The workers that last trained a learning rate, and live."""
        living = run.processes()
        return [workers[-1] for workers in self.workers().values() if workers[-1] in living]

    @property
    def fault_kill(self) -> Path:
        """Written ("before */progress.csv"), it kills who next writes such a file."""
        return Path(self.env["FAULT_KILL"])

    def commands(self, said: str) -> list[list[str]]:
        """The commands that a run names to resume with, as words after the program's name."""
        found = [line.rpartition(f"{PACKAGE} ") for line in said.splitlines()]
        return [shlex.split(after) for _, program, after in found if program]


@dataclass
class Trial:
    """One trial, as Ray's saved state has it."""

    id: str
    status: str
    iteration: int
    result: dict[str, Any]

    @property
    def index(self) -> int:
        return int(self.id.rpartition("_")[2])


@dataclass
class Experiment:
    """What is on disk of an experiment."""

    folder: Path

    @property
    def record(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "experiment.json").read_text())
        return content

    def trials(self) -> list[Trial]:
        """The trials of the newest saved state, in order; none when there is no state yet."""
        newest = max(self.folder.glob("experiment_state-*.json"), default=None)
        state = json.loads(newest.read_text()) if newest else {"trial_data": []}
        trials = []
        for trial_text, run_text in state["trial_data"]:
            trial, last = json.loads(trial_text), json.loads(run_text).get("last_result") or {}
            iteration = last.get("training_iteration", 0)
            trials.append(Trial(trial["trial_id"], trial["status"], iteration, last))
        return sorted(trials, key=lambda trial: trial.index)

    def trial_folder(self, index: int) -> Path:
        (folder,) = self.folder.glob(f"trial_*_{index:05d}")
        return folder

    def results(self, index: int) -> list[dict[str, Any]]:
        """Every result that a trial reported, in the order in which it did."""
        return rows(self.trial_folder(index) / "result.json")

    def checkpoints(self, index: int) -> dict[int, Path]:
        """The whole checkpoints of a trial by iteration."""
        found = {}
        for seal in self.trial_folder(index).glob("checkpoint_*/seal.json"):
            with contextlib.suppress(OSError, ValueError):  # deleted meanwhile, or damaged
                found[json.loads(seal.read_text())["result"]["training_iteration"]] = seal.parent
        return found

    def check_files(self) -> None:
        """Every file of every trial is whole: no table, state, checkpoint or model is cut off."""
        for path in filter(Path.is_file, self.folder.rglob("*")):
            name = path.relative_to(self.folder)
            assert ".part" not in {part.suffix for part in (name, *name.parents)}, name
            content = path.read_bytes()
            if not name.name.startswith(("stdout", "stderr", ".validate", "events.out.")):
                assert content, f"{name} is empty"
            if content[:1] == b"\x80":
                assert [*pickletools.genops(content)], name
            elif name.suffix == ".json" and name.name != "result.json":
                json.loads(content)
            elif name.suffix == ".skops":
                assert zipfile.ZipFile(path).testzip() is None, name
            elif name.name in {"result.json", "progress.csv"}:
                assert content.endswith(b"\n"), f"{name} ends within a line"
        for seal in self.folder.glob("trial_*/checkpoint_*/seal.json"):
            for file, (size, _) in json.loads(seal.read_text())["files"].items():
                path = seal.with_name(file)
                assert path.is_file(), path
                assert path.stat().st_size == size, path

    def metrics(self) -> dict[int, dict[int, tuple[float, ...]]]:
        """What was measured, by trial and iteration. A repeated iteration counts once."""
        return {
            trial.index: {
                row["training_iteration"]: measured(row) for row in self.results(trial.index)
            }
            for trial in self.trials()
        }

    def spent(self) -> float:
        """The seconds of TIME_BUDGET_S that are used up, by the newest saved state."""
        newest = max(self.folder.glob("experiment_state-*.json"))
        stopper = json.loads(newest.read_text())["runner_data"]["_stopper"]
        memory = _Memory(io.BytesIO(bytes.fromhex(stopper["value"]))).load()
        return float(memory["TimeBudgetStopper"]["spent"])

    def best(self) -> tuple[int, float]:
        """The best trial's number and accuracy, as the record has them."""
        best = self.record["runs"][-1]["best"]
        return int(best["trial"].rpartition("_")[2]), best["validation_accuracy"]


class _Anything:
    """Stands in a pickle for objects of packages that are not here."""

    def __init__(self, *_: Any) -> None: ...

    def __call__(self, *_: Any) -> "_Anything":
        return self

    def __setitem__(self, *_: Any) -> None: ...

    def __setstate__(self, _: Any) -> None: ...


class _Memory(pickle.Unpickler):
    """Returns the memory that a stopper was to be made of."""

    def find_class(self, module: str, name: str) -> Any:
        return (lambda memory: memory) if name == "SavedStopper" else _Anything


def rows(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a result.json; none when there is no file yet."""
    found = []
    with contextlib.suppress(OSError):
        for line in path.read_text().splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
    return found


def measured(row: dict[str, Any]) -> tuple[float, ...]:
    names = sorted(name for name in row if name.startswith(("training_", "validation_")))
    return tuple(row[name] for name in names if name != "training_iteration")


@contextlib.contextmanager
def using(
    source: Path, python: Path, folder: Path, *, cluster: str = "", **env: str
) -> Iterator[Project]:
    """A project to run in `folder`. Whatever happens, nothing of it keeps running."""
    scratch = Path("/tmp") / f"rf{uuid.uuid4().hex[:8]}"
    scratch.mkdir()
    env = {"FAULT_TRACE": str(scratch / "trace"), "FAULT_KILL": str(scratch / "kill"), **env}
    project = Project(source, python, folder, scratch, env, cluster)
    try:
        yield project
    finally:
        project.close()
