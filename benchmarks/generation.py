"""How long generating the default project takes, against a one-file template and the same engine.

    python -m benchmarks.generation [--rounds 11]

Every figure is the median of whole commands (`cookiecutter …`, `copier copy …`, hooks included),
which take turns, with compiled bytecode: from a git repository, as most users have it (but on this
disk, so without the network), and from a plain folder. The figure between the two templates is for
a template of as many files, with a plain line in each, one question and no hook: what the engine
alone needs for them. Target for this template against one file: 1.3.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import ROOT, TREE, copy_template

TARGET = 1.3


def one_file_template(folder: Path) -> None:
    """Make the least template that both engines can render."""
    project = folder / TREE
    project.mkdir(parents=True)
    (project / "README.md").write_text("# {{ cookiecutter.project_slug }}\n")
    (folder / "cookiecutter.json").write_text(json.dumps({"project_slug": "one"}))
    (folder / "copier.yml").write_text(
        f'_subdirectory: "{{% raw %}}{TREE}{{% endraw %}}"\n'
        '_templates_suffix: ""\n'
        'cookiecutter: {type: json, default: \'{"project_slug": "one"}\'}\n'
    )


def plain_files_template(folder: Path) -> None:
    """Make a template of as many files in as many folders, with nothing to render in them."""
    one_file_template(folder)
    for path in (ROOT / TREE).rglob("*"):
        name = re.sub(r"\{\{.*?(\w+) *\}\}", r"\1", str(path.relative_to(ROOT / TREE)))
        if path.is_file() and "__pycache__" not in path.parts:
            (folder / TREE / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / TREE / name).write_text("plain\n")


def commit(folder: Path, env: dict[str, str]) -> None:
    for command in ("init -q -b main", "add -A", "commit -q -m All"):
        subprocess.run(["git", *command.split()], cwd=folder, env=env, check=True)


def seconds(command: list[str], output: Path, env: dict[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=env)
    taken = time.perf_counter() - start
    shutil.rmtree(output)
    return taken


MAKERS = {
    "one file": one_file_template,
    "plain files": plain_files_template,
    "this template": copy_template,
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11)
    rounds = parser.parse_args(argv).rounds

    engines = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        (scratch / "home").mkdir()
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(scratch / "home"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            **{f"GIT_{role}_NAME": "Benchmark" for role in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{role}_EMAIL": "benchmark@example.com" for role in ("AUTHOR", "COMMITTER")},
        }
        sources: dict[tuple[str, str], str] = {}
        for label, make in MAKERS.items():
            for kind in ("folder", "git"):
                folder = scratch / f"{label.replace(' ', '-')}.{kind}"
                make(folder)
                sources[kind, label] = str(folder)
                if kind == "git":
                    commit(folder, env)
                    sources[kind, label] = f"file://{folder}"

        output = scratch / "output"
        taken: dict[tuple[str, str, str], list[float]] = {}
        for round_number in range(rounds + 1):
            for (kind, label), source in sources.items():
                commands = {
                    "cookiecutter": ["--no-input", "--output-dir", str(output), source],
                    "copier": ["copy", "--defaults", "--quiet", source, str(output)],
                }
                for engine, arguments in commands.items():
                    figure = seconds([str(engines / engine), *arguments], output, env)
                    if round_number:  # the first round only warms up
                        taken.setdefault((engine, kind, label), []).append(figure)

    print(f"{f'seconds, median of {rounds}':26}" + "".join(f"{label:>22}" for label in MAKERS))
    ratios = []
    for engine in ("cookiecutter", "copier"):
        for kind in ("git", "folder"):
            medians = [statistics.median(taken[engine, kind, label]) for label in MAKERS]
            ratios.append(medians[-1] / medians[0])
            cells = (f"{median:14.2f} ({median / medians[0]:.2f})" for median in medians)
            print(f"{f'{engine}, from {kind}':26}" + "".join(f"{cell:>22}" for cell in cells))
    met = max(ratios) <= TARGET
    print(f"target {TARGET}: {'met' if met else 'missed'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
