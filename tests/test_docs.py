"""What the documents say is so: each command is run, links lead somewhere, tables fit the code.

How a page is run: its ```bash and ```console blocks are one shell session, in order, and must exit
with 0, or with what the page shows after `echo $?`. In a ```console block, commands start `$ `;
what is shown below them must be printed, numbers and ids aside, `…` standing for anything. A
```python block is a script, run where the session is. A ```diff block is an edit, and a ```python
block after `<!-- file: … -->` a new file: see recipes.py. Comments of Markdown, which a reader does
not see, say what a command can't:

- `<!-- in: the checkout -->`, `<!-- in: an empty folder -->` or `<!-- in: the project -->` before a
  block that starts elsewhere;
- `<!-- it prints -->` before a ```text block that shows what the last command printed;
- `<!-- it serves -->` before a block whose last command is a server, which ends with the page; its
  port on 127.0.0.1 is another one here;
- `<!-- meanwhile: a new version -->` for what someone else does;
- `<!-- this is now: the project -->` for the project that later blocks and pages are about.
"""

import ast
import json
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import pexpect
import pytest

from tests.conftest import BIN, OUTSIDE, ROOT, TREE, run, with_cookiecutter
from tests.sums import write as write_sums

# They share a project and two servers, and stay in one worker (pytest-xdist's loadfile).
pytestmark = pytest.mark.timeout(900)

README, DOCS = ROOT / "README.md", sorted((ROOT / "docs").glob("*.md"))
PAGES = [README, *DOCS]
LONG = {"many-repositories.md", "trackers.md", "updates.md"}
PACKAGE = ROOT / TREE / "src/{{cookiecutter.package_name}}"
SECONDS = 200  # for one command
# How the engines' prompts look, or the end.
QUESTIONS: list[str | type[pexpect.EOF] | type[pexpect.TIMEOUT]] = [
    r"🎤|[)\]](?:\x1b\[0m)?: ",
    pexpect.EOF,
    pexpect.TIMEOUT,
]
MOTO = "moto[server]>=5.1"

# What ARGS is for a command. `make test` would start these very tests, and those of a project
# are run by tests/test_generated_project.py: here it is enough that pytest is started.
BOUNDS = {"make test": "--version", "make unit": "--version"}
# test_generated_project.py runs these, on a machine that has less.
ELSEWHERE = {"make demo"}
SMALL = {
    "EXPERIMENT_NUM_SAMPLES": "2",
    "EXPERIMENT_MAX_ITERATIONS": "2",
    "EXPERIMENT_MAX_CONCURRENT_TRIALS": "1",  # a worker takes as long to start as a run
    # Of the processes that serve MLflow, each takes as long to start as a run.
    "MLFLOW_WORKERS": "1",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


# ------------------------------------------------------------ reading a page


@dataclass
class Step:
    """A command, a script, or what a comment asks for."""

    kind: str  # command, script, prints, serves, in, meanwhile, this is now
    text: str
    line: int
    shown: list[str] = field(default_factory=list)


def read(page: str) -> list[Step]:
    """Return what is to do on a page. Fails for a block of an unknown kind."""
    steps: list[Step] = []
    lines = iter(enumerate(page.splitlines(), start=1))
    for number, line in lines:
        if comment := re.fullmatch(
            r"\s*<!-- (?:(in|file|meanwhile|this is now): (.+)|it (prints|serves)) -->", line
        ):
            steps.append(Step(comment[1] or comment[3], comment[2] or "", number))
        if fence := re.fullmatch(r"\s*```(.*)", line):
            block: list[tuple[int, str]] = []
            for inner in lines:
                if inner[1].strip() == "```":
                    break
                block.append(inner)
            steps += read_block(fence[1], block, number, steps)
    return steps


def read_block(
    language: str, block: list[tuple[int, str]], number: int, before: list[Step]
) -> list[Step]:
    if language == "diff":  # what a reader edits: see test_customize.py
        return []
    if before and before[-1].kind == "file":  # what a reader adds: see recipes.py
        before.pop()
        return []
    if language == "python":
        return [Step("script", "\n".join(line for _, line in block), number)]
    if language == "bash":
        commands = [(n, line) for n, line in block if line.strip() and not line.startswith("#")]
        steps = [Step("command", line, n) for n, line in commands]
        if before and before[-1].kind == "serves":
            steps[-1].kind = before.pop().kind
        return steps
    if language == "console":
        steps = []
        for n, line in block:
            if line.startswith("$ "):
                steps.append(Step("command", line[2:], n))
            else:
                assert steps, f"line {n}: a console block begins with `$ `"
                steps[-1].shown.append(line)
        return steps
    assert language == "text", f"line {number}: a block must be bash, console, python, diff or text"
    if before and before[-1].kind == "prints":
        before[-1].shown = [line for _, line in block]
    return []


def plain(command: str) -> str:
    """A command without the remark behind it."""
    return re.sub(r"\s+#\s.*", "", command)


NUMBER = r"\d[\d.]*(?:e[-+]?\d+)?"


def pattern(shown: str) -> str:
    """Match what a page shows: numbers, ids and blanks aside."""
    parts = re.split(rf"([0-9a-f]{{5}}_\d{{5}}|{NUMBER}|\s+|…)", shown.strip())
    classes = {"…": ".*"}
    for index in range(1, len(parts), 2):
        part = parts[index]
        known = r"\s+" if part.isspace() else r"\w+" if "_" in part else NUMBER
        parts[index] = classes.get(part, known)
    parts[::2] = [re.escape(part) for part in parts[::2]]
    return "".join(parts)


# ------------------------------------------------------------ running it


@dataclass
class Session:
    """A shell: folder, variables and last exit code stay from command to command."""

    folder: Path
    env: dict[str, str]
    state: Path
    code: int = 0
    printed: str = ""
    args: str = ""  # what ARGS is for make

    @property
    def now_in(self) -> Path:
        """The folder that the last command left the shell in."""
        (place,) = shlex.split(self.state.read_text().splitlines()[-1])[1:]
        return Path(place)

    def run(self, command: str) -> None:
        """Run a command in a terminal, with Enter as the answer to every question."""
        if not self.state.exists():
            self.state.write_text(f"cd {shlex.quote(str(self.folder))}\n")
        state = shlex.quote(str(self.state))
        script = f"""source {state}; export ARGS={shlex.quote(self.args)}
            (exit {self.code})
            {command}
            code=$?
            {{ export -p; printf 'cd %q\\n' "$PWD"; }} >{state}
            exit $code"""
        child = pexpect.spawn(
            "/bin/bash",
            ["-c", script],
            env=self.env,
            encoding="utf-8",
            codec_errors="replace",
            dimensions=(50, 240),
            timeout=SECONDS,
        )
        printed = ""
        try:
            while (event := child.expect(list(QUESTIONS))) == 0:
                printed += f"{child.before}{child.after}"
                child.send("\r")
            printed += f"{child.before}"
            if event == 2:
                printed += f"\nstill running after {SECONDS} s"
        finally:
            child.close(force=True)
        self.code = child.exitstatus if child.exitstatus is not None else -1
        self.printed = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", printed).replace("\r", "")

    @contextmanager
    def serve(self, command: str, port: int) -> Iterator[None]:
        """Run a server in the background; wait until it listens."""
        script = f"source {shlex.quote(str(self.state))}; exec {command}"
        log = self.state.with_suffix(f".{port}")
        with server(["/bin/bash", "-c", script], self.env, log, port):
            yield


Env = dict[str, str]


def short_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for Ray, whose sockets need a short path."""
    return tempfile.TemporaryDirectory(prefix="docs-ray-", dir="/tmp", ignore_cleanup_errors=True)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Env]:
    """Return the environment of a user who has uv, git, make and Python, and an empty home."""
    tools = tmp_path_factory.mktemp("tools")
    for name in ("uv", "uvx"):
        (tools / name).symlink_to(BIN / name)
    path = [part for part in OUTSIDE["PATH"].split(os.pathsep) if Path(part) != BIN]
    cache = OUTSIDE.get("UV_CACHE_DIR", str(Path(OUTSIDE["HOME"]) / ".cache/uv"))
    with short_folder() as ray:  # so that no one else's Ray is found
        yield {
            **{name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"},
            **SMALL,
            "PATH": os.pathsep.join([str(tools), *path]),
            "UV_CACHE_DIR": cache,
            "RAY_TMPDIR": ray,
            "GIT_PAGER": "cat",
            "TERM": "xterm",
            "NO_COLOR": "1",
            "UV_NO_PROGRESS": "1",
            "PROMPT_TOOLKIT_NO_CPR": "1",
        }


@pytest.fixture(scope="module")
def published(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the template as a repository with a version; the pages make more of them."""
    folder = tmp_path_factory.mktemp("published") / "cookiecutter-ray-tune"
    shutil.copytree(repository, folder)
    run("git", "tag", "v0.1.0", cwd=folder)
    return folder


def publish(template: Path) -> None:
    """Change a file of the template, add one and tag both, as its maintainers do."""
    harness = template / TREE / "src/{{cookiecutter.package_name}}/harness"
    changed, count = harness / "__init__.py", len(run("git", "tag", cwd=template).stdout.split())
    changed.write_text(changed.read_text("utf-8") + "# a later version\n", "utf-8")
    (harness / f"later_{count}.py").write_text('"""What a later version adds."""\n', "utf-8")
    write_sums(template)
    run("git", "add", "-A", cwd=template)
    run("git", "commit", "-q", "-m", "Change", cwd=template)
    run("git", "tag", f"v0.{count + 1}.0", cwd=template)


@pytest.fixture(scope="module")
def made() -> dict[str, Path]:
    """Return what a page made for the other pages."""
    return {}


@dataclass
class Project:
    """An installed project with a file of rows, a bucket and a cluster."""

    folder: Path
    env: Env
    cluster: str
    done: set[str] = field(default_factory=set)


@pytest.fixture(scope="module")
def project(
    template: Path, made: dict[str, Path], shell: Env, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    folder = made.get("the project")
    if folder is None:  # the README's test was left out
        folder = with_cookiecutter(template, tmp_path_factory.mktemp("project"), {}).project
        run("make", "install", cwd=folder, env=shell)
    rows = "\n".join(f"{n},{'red' if n % 3 else 'blue'},{'ab'[n > 40]}" for n in range(80))
    (folder / "rows.csv").write_text(f"size,colour,label\n{rows}\n")
    log = tmp_path_factory.mktemp("servers")
    with storage_server(shell, log / "s3") as bucket:
        env = {
            **shell,
            **bucket,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
        }
        with cluster(folder, env, log / "ray") as address:
            yield Project(folder, {**env, "RAY_ADDRESS": address}, address)


@contextmanager
def server(command: list[str], env: Env, log: Path, port: int) -> Iterator[None]:
    """Start a server, wait until it listens, and end it with all that it started."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=env, stdout=output, stderr=output, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 120
        while not listens(port):
            assert process.poll() is None, log.read_text("utf-8", "replace")
            assert time.monotonic() < deadline, log.read_text("utf-8", "replace")
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=30)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def storage_server(shell: Env, log: Path) -> Iterator[Env]:
    """Serve S3 with one bucket; yield the variables that lead there."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = ["uvx", "--from", MOTO, "moto_server", "-H", "127.0.0.1", "-p", str(port)]
    with server([str(BIN / "uvx"), *command[1:]], shell, log, port):
        urllib.request.urlopen(urllib.request.Request(f"{url}/bucket", method="PUT"), timeout=30)
        yield {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "none",
            "AWS_SECRET_ACCESS_KEY": "none",
            "AWS_DEFAULT_REGION": "us-east-1",
        }


@contextmanager
def cluster(project: Path, env: Env, log: Path) -> Iterator[str]:
    """Start a Ray of one node, with a folder of its own so that no other run joins it."""
    port = free_port()
    flags = ["--head", "--block", "--node-ip-address=127.0.0.1", f"--port={port}", "--num-cpus=2"]
    flags += ["--include-dashboard=false", "--disable-usage-stats"]
    with short_folder() as ray:
        command = [str(project / ".venv/bin/ray"), "start", *flags]
        with server(command, {**env, "RAY_TMPDIR": ray}, log, port):
            yield f"127.0.0.1:{port}"


@dataclass
class Places:
    """Where a page's commands run; what a page doesn't need is not made."""

    tmp: Path
    request: pytest.FixtureRequest

    @property
    def published(self) -> Path:
        folder: Path = self.request.getfixturevalue("published")
        return folder

    @property
    def project(self) -> Project:
        project: Project = self.request.getfixturevalue("project")
        return project

    def start(self, place: str) -> Session:
        number = len(list(self.tmp.iterdir()))
        folder = self.tmp / str(number)
        env: Env = self.request.getfixturevalue("shell")
        if place == "the checkout":
            folder = self.request.getfixturevalue("checkout")
        elif place == "the project":
            folder, env = self.project.folder, self.project.env
            shutil.rmtree(
                folder / "results", ignore_errors=True
            )  # a page starts with no experiments
        else:
            assert place == "an empty folder", place
            folder.mkdir()
        return Session(folder, env, self.tmp / f"state{number}")

    def fill_in(self, command: str) -> str:
        """Put in what the reader has to put in."""
        if "<this repository>" in command:
            command = command.replace("<this repository>", str(self.published))
        if "uvx cookiecutter-ray-tune" in command:  # from an index, once it is published
            wheel = self.request.getfixturevalue("wheel")
            command = command.replace("uvx", f"uvx --from {shlex.quote(str(wheel))}")
        if "head-node:6379" in command:
            command = command.replace("head-node:6379", self.project.cluster)
        return command


@pytest.fixture
def places(tmp_path: Path, request: pytest.FixtureRequest) -> Places:
    return Places(tmp_path, request)


def follow(page: str, places: Places, place: str = "") -> None:
    """Do what a page says."""
    with ExitStack() as servers:
        _follow(page, places, place, servers)


def _follow(page: str, places: Places, place: str, servers: ExitStack) -> None:
    for port in re.findall(r"--port (\d+)", page):
        page = re.sub(rf"(--port |127\.0\.0\.1:){port}\b", rf"\g<1>{free_port()}", page)
    session = places.start(place) if place else None
    steps = read(page)
    for step, following in zip_longest(steps, steps[1:]):
        where = f"line {step.line}: {step.text}"
        if step.kind == "in":
            place = step.text
            session = places.start(place)
            continue
        if step.kind == "meanwhile":
            assert step.text == "a new version", where
            publish(places.published)
            continue
        assert session, f"{where}\nneeds a comment that says where it runs"
        if step.kind == "this is now":
            places.request.getfixturevalue("made")[step.text] = session.now_in
            continue
        if step.kind == "serves":
            port = re.search(r"--host 127\.0\.0\.1 --port (\d+)", step.text)
            assert port, f"{where}\nnames no port on this machine"
            servers.enter_context(session.serve(step.text, int(port[1])))
            continue
        if step.kind == "script":
            script = session.state.with_suffix(".py")
            script.write_text(step.text)
            step.text = f".venv/bin/python {shlex.quote(str(script))}"
        if step.kind != "prints":
            command = plain(step.text)
            once = re.match(r"make \w+$|ray-tune-experiment run (?!.*--name)", command)
            once = once if place == "the project" else None
            if command in ELSEWHERE or (once and command in places.project.done):
                continue  # of `done`: another page has it too
            session.args = BOUNDS.get(command, "")
            start = time.monotonic()
            session.run(places.fill_in(command))
            print(f"{time.monotonic() - start:6.1f} s  {command}")
            asks = following and following.text == "echo $?"
            expected = int(following.shown[0]) if following and asks else 0
            assert session.code == expected, f"{where}\nexit code {session.code}\n{session.printed}"
            if once:
                places.project.done.add(command)
        for shown in step.shown:
            assert re.search(pattern(shown), session.printed), (
                f"{where}\ndoes not print {shown!r} but\n{session.printed}"
            )


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=[pytest.mark.more] * (page.name in LONG)) for page in PAGES],
    ids=lambda page: page.name,
)
def test_commands(page: Path, places: Places) -> None:
    follow(page.read_text("utf-8"), places)


def test_commands_of_a_generated_readme(places: Places) -> None:
    """The reader has put .venv/bin on the path."""
    page = (places.project.folder / "README.md").read_text("utf-8")
    activate = "```bash\nsource .venv/bin/activate\n```\n"
    follow(activate + page, places, place="the project")


def test_variables_of_ray_exist(project: Project) -> None:
    """Each one that a page names occurs in the Ray that a project installs."""
    named = {
        name
        for page in PAGES
        for name in re.findall(r"\b(?:RAY|TUNE)_\w*[A-Za-z]\b", page.read_text("utf-8"))
    }
    assert {"RAY_ADDRESS", "TUNE_MAX_PENDING_TRIALS_PG", "RAY_memory_usage_threshold"} <= named
    (ray,) = project.folder.glob(".venv/lib/python*/site-packages/ray")
    found = run("grep", "-rohaE", "|".join(sorted(named, key=len, reverse=True)), ray)
    assert named - {*found.stdout.split()} == set()


# ------------------------------------------------------------ what needs no shell


def test_readme_is_short() -> None:
    assert len(README.read_text("utf-8").splitlines()) < 150


def test_a_block_of_another_kind_is_refused() -> None:
    with pytest.raises(AssertionError, match="line 1: a block must be"):
        read("```sh\nmake\n```\n")


def test_what_is_shown_must_be_printed() -> None:
    shown = "  1/8 trial 20a34_00001  loss 0.0844 after 10 iterations  learning_rate=2.381e-05 …"
    printed = "9/9 trial ffab1_00002  loss 3 after 1 iterations  learning_rate=0.1 l2=1"
    assert re.search(pattern(shown), printed)
    assert not re.search(pattern(shown), printed.replace("after", "before"))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as forges make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), link
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_in_the_index() -> None:
    text = (ROOT / "docs/index.md").read_text("utf-8")
    assert [page.name for page in DOCS if f"]({page.name})" not in text] == ["index.md"]


def table(page: Path, first: str) -> dict[str, list[str]]:
    """Return the rows of the table whose first column is `first`, by the code there."""
    text = page.read_text("utf-8").partition(f"| {first} |")[2].split("\n\n")[0]
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in text.splitlines()[2:]]
    return {re.findall(r"`([^`]+)`", row[0])[0]: row[1:] for row in rows}


@pytest.mark.parametrize("page", [README, ROOT / "docs/questions.md"], ids=lambda page: page.name)
def test_tables_of_questions(page: Path) -> None:
    asked = json.loads((ROOT / "cookiecutter.json").read_text("utf-8"))
    asked = {name: default for name, default in asked.items() if name[0] != "_"}
    rows = table(page, "question")
    assert list(rows) == list(asked)
    for name, default in asked.items():
        shown, accepted, *_ = rows[name]
        if isinstance(default, list):
            assert shown == f"`{default[0]}`"
            others = default[1:] if page == README else default
            assert re.findall(r"`([^`]+)`", accepted) == others
        elif "{{" in default:
            source = re.search(r"cookiecutter\.(\w+)", default)
            assert source
            assert shown == f"from `{source[1]}`"
        else:
            assert shown == (f"`{default}`" if default else "")


def settings() -> dict[str, list[str]]:
    """Return the older names of every setting, by its own name."""
    names: dict[str, list[str]] = {}
    for file in ("settings.py", "harness/settings.py"):
        (its,) = [n for n in ast.parse(read_source(file)).body if isinstance(n, ast.ClassDef)]
        for node in its.body:
            text = ast.unparse(node)
            if isinstance(node, ast.AnnAssign) and "ClassVar" not in text:
                texts = re.search(r"AliasChoices\((.*?)\)", text)
                aliases = re.findall(r"'(\w+)'", texts[1])[1:] if texts else []
                names[ast.unparse(node.target).upper()] = [alias.upper() for alias in aliases]
    return names


def read_source(name: str) -> str:
    """The source of a generated project's module, for all answers at once."""
    text = (PACKAGE / name).read_text("utf-8")
    return re.sub(r"\{%.*?%\}", "", re.sub(r"\{\{.*?\}\}", "answer", text))


# Words in capitals that are no setting of a project.
WORDS = {
    *("API", "ARGS", "CHANGELOG", "CONFIG", "CPU", "CSV", "CUDA", "DEFAULTS", "FAILED"),
    *("FAILURE", "GPU", "HEAD", "HTML", "JSON", "KILLED", "LICENSE", "METRICS", "MIT", "MNIST"),
    *("MUTABLE", "NO_COLOR", "PBT", "PED", "PROJECT", "README", "SHA", "TRUSTED", "UBJSON", "URI"),
    *("COMMAND", "COPY", "OTHER"),
    *("CODEOWNERS", "COOKIECUTTER_CONFIG", "COPIER_SETTINGS_PATH", "GROWTH_", "UPDATE_TOKEN"),
    *("EXPERIMENT_", "EXPERIMENT_MAX_ROWS", "EXPERIMENT_NUM_SAMPELS"),
    *("DDP", "GLOO_SOCKET_IFNAME", "NCCL", "NCCL_SOCKET_IFNAME"),
}
OTHERS = ("AWS_", "MLFLOW_", "MODIN_", "OMP_", "RAY_", "SIG", "TUNE_", "WANDB_")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_that_are_named_exist(page: Path) -> None:
    known = {name for own, older in settings().items() for name in (own, *older)}
    text = re.sub(r"```diff.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    named = set(re.findall(r"(?<![\w/.-])[A-Z][A-Z0-9_]{2,}(?![\w.-]*[a-z])", text))
    named = {name for name in named if not name.startswith(OTHERS)}
    unknown = {name for name in named if name.removeprefix("EXPERIMENT_") not in known}
    assert unknown - WORDS == set()


def test_table_of_older_names() -> None:
    rows = table(ROOT / "docs/settings.md", "older")
    expected = {alias: f"`{name}`" for name, older in settings().items() for alias in older}
    assert {older: now for older, (now,) in rows.items()} == expected


def test_variables_of_ray_that_a_project_sets_are_explained() -> None:
    ours = set(re.findall(r'"((?:RAY|TUNE)_\w+)"', read_source("harness/ray_environment.py")))
    assert ours - set(table(ROOT / "docs/settings.md", "variable")) == set()


def test_exit_codes_are_explained() -> None:
    codes = re.search(r"DONE, .* = (.*)", read_source("harness/errors.py"))
    signals = re.search(r"\nNAMES = (.*)", read_source("harness/ray_environment.py"))
    assert codes
    assert signals
    ours = {128 + signal.Signals[name] for name in [*ast.literal_eval(signals[1]), "SIGPIPE"]}
    ours |= {*ast.literal_eval(codes[1])}
    text = (ROOT / "docs/commands.md").read_text("utf-8").partition("| code |")[2]
    explained = {int(code) for code in re.findall(r"`(\d+)`", text.split("\n\n")[0])}
    assert explained == ours - {128 + signal.SIGUSR1}  # ends with 0


def test_every_argument_of_tune_run_is_explained() -> None:
    calls = [n for n in ast.walk(ast.parse(read_source("tune_run.py"))) if isinstance(n, ast.Call)]
    (call,) = [n for n in calls if ast.unparse(n.func) == "tune.run"]
    page = (ROOT / "docs/why-tune-run.md").read_text("utf-8")
    column = "\n".join(re.findall(r"^\| (.*?) \|", page, re.MULTILINE))
    named = {name.partition("=")[0] for name in re.findall(r"`([^`]+)`", column)}
    assert {str(keyword.arg) for keyword in call.keywords} - named == set()


def methods(module: str, name: str) -> set[str]:
    """The methods of a class in a generated project."""
    classes = [n for n in ast.walk(ast.parse(read_source(module))) if isinstance(n, ast.ClassDef)]
    (body,) = [node.body for node in classes if node.name == name]
    return {node.name for node in body if isinstance(node, ast.FunctionDef)}


def test_every_method_of_the_trainable_is_explained() -> None:
    page = ROOT / "docs/trainable.md"
    ours = methods("trainable.py", "ExperimentTrainable") - {"log_results"}
    assert ours == set(table(page, "method"))
    # test_frameworks.py compares the other model files with this one
    model = methods("{{cookiecutter.__sklearn_classifier_file}}", "Model")
    functions = {"load_export", "why_no_gpu"}
    assert model | functions == set(table(page, "method of `Model`"))


def test_tree_in_the_readme() -> None:
    text = README.read_text("utf-8").partition("```text\nsrc/<package>/")[2].partition("```")[0]
    drawn = set(re.findall(r"^  (\w+(?:\.py|/))", text, re.MULTILINE))
    modules = {p.name + "/" * p.is_dir() for p in PACKAGE.iterdir() if p.name[0] not in "_{"}
    assert modules - {"py.typed"} | {"model.py"} == drawn  # of which there are several


# What users of older versions of Ray Tune, or of its tutorials, look for.
TERMS = """
    tune.run; ray.init; ray.shutdown; TrialRunner; TuneController; checkpoint; graceful; resume;
    RESUME; NAME; STOP; progress.csv; callbacks.py; local_dir; LOCAL_DIR; STORAGE_PATH;
    LOG_TO_FILE; LoggerCallback; resources_per_trial; RESOURCES_PER_TRIAL;
    MAX_CONCURRENT_TRIALS; Modin; distributed training; Ray Train; bucket; METRIC; MODE;
    keep_checkpoints_num; KEEP_CHECKPOINTS_NUM; NUM_TO_KEEP; checkpoint_score_attr;
    CHECKPOINT_SCORE_ATTR; CHECKPOINT_SCORE_ATTRIBUTE; checkpoint_freq; CHECKPOINT_FREQ;
    CHECKPOINT_FREQUENCY; checkpoint_at_end; CHECKPOINT_AT_END; VERBOSE; setup; step;
    save_checkpoint; load_checkpoint; reset_config; cleanup; _export_model; EXPORT_FORMATS;
    log_results; log_result; LOGGERS=none; TUNE_DISABLE_AUTO_CALLBACK_LOGGERS; Stopper;
    __call__; stop_all; MaximumIterationStopper; MAX_ITERATIONS; ExperimentAnalysis; results_df;
    dataframe(); trial_dataframes; trials; RAY_ADDRESS; SIGINT; SIGUSR1
"""


def test_terms_are_in_the_docs() -> None:
    text = "\n".join(page.read_text("utf-8") for page in PAGES)
    terms = [term.strip() for term in TERMS.replace("\n   ", "").split(";")]
    assert [t for t in terms if not re.search(rf"(?<!\w){re.escape(t)}", text)] == []


def said() -> list[str]:
    """Every text of a generated project's code, `…` for what is filled in."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(read_source(str(path.relative_to(PACKAGE))))):
            if isinstance(node, ast.JoinedStr):
                parts = [v.value if isinstance(v, ast.Constant) else "…" for v in node.values]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


# What stands for something else in a message that a page shows.
EXAMPLES = r"…|'[^']*'|ExperimentTrainable(?:\.\w+)?|learning_rate=|\bx\b\S*|[A-Z_]{4,}=\S+|\b\d+\b"
# What Python says.
OF_OTHERS = {"No such file or directory", "No space left on device"}


def test_messages_that_are_explained_exist() -> None:
    page, texts = (ROOT / "docs/troubleshooting.md").read_text("utf-8"), said()
    rows = page.partition("| message |")[2].split("\n\n")[0]
    for message in re.findall(r"^\| `([^`]+)`", rows, re.MULTILINE):
        pieces = re.split(EXAMPLES, message)
        pieces = [piece.strip(" :;,") for piece in pieces]
        longest = max(pieces, key=len)
        missing = longest not in OF_OTHERS and not any(longest in text for text in texts)
        assert not missing, f"{message!r}: {longest!r}"


def api() -> dict[str, set[str]]:
    """The names that the page lists, by module of the harness."""
    page = (ROOT / "docs/api.md").read_text("utf-8")
    tables = re.findall(r"^\| `harness\.(\w+)` \|.*?(?=\n\n)", page, re.MULTILINE | re.DOTALL)
    return {name: {*table(ROOT / "docs/api.md", f"`harness.{name}`")} for name in tables}


def test_the_api_is_what_the_modules_export() -> None:
    exported = {}
    for name in api():
        file = f"harness/{name}" + (
            "/__init__.py" if (PACKAGE / "harness" / name).is_dir() else ".py"
        )
        (names,) = [
            ast.literal_eval(node.value)
            for node in ast.parse(read_source(file)).body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        ]
        exported[name] = set(names)
    assert exported == api()


def test_a_project_s_files_import_nothing_else_of_the_harness() -> None:
    known = {f"harness.{module}": names for module, names in api().items()}
    known |= {"harness.data.modin": {"collected", "read_table"}}
    known |= {"harness.trackers.mlflow": {"MlflowCallback"}}
    known |= {"harness.trackers.wandb": {"WandbCallback"}}
    for path in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(read_source(path.name))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("harness"):
                assert {alias.name for alias in node.names} <= known[str(node.module)], path.name
