"""Try a Ray: `make next-ray`. Run by any Python 3, in an environment made for this alone.

    python3 tests/next_ray.py [RAY] [flags of pytest]

RAY is a version, a wheel or its address; "lowest" means the bounds of a project with the default
answers; without it, the newest that there is, pre-releases too. All else is as in uv.lock, where
this Ray allows it. UV_PYTHON says with which Python. Tests that need PyTorch are left out where
there is none.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOWEST = ("--upgrade", "--resolution", "lowest-direct")
WITHOUT = "without PyTorch"
TELL = f"""
import importlib.util, platform, ray
torch = "" if importlib.util.find_spec("torch") else ", {WITHOUT}"
print(f"Ray {{ray.__version__}} on Python {{platform.python_version()}}{{torch}}")
"""
NO_TESTS = 5  # pytest's exit code, where its flags leave out all


def requirement(ray: str) -> str:
    """RAY as a requirement. Only one that names a pre-release allows them."""
    if not ray:
        return "ray[tune]>0.dev0"
    if "://" in ray or ray.endswith(".whl"):
        return f"ray[tune] @ {ray if '://' in ray else Path(ray).resolve().as_uri()}"
    return f"ray[tune]=={ray}"


def call(*command: object, needed: bool = True) -> None:
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
    if needed and done.returncode:
        sys.exit(f"Nothing was tested: {' '.join(words[:3])} failed, see above.")


def tested(python: Path, folder: Path, *words: str) -> "tuple[int, str]":
    """Run pytest in a folder. Returns its exit code, and what it says at its end."""
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
    last = ""
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            last = line.strip() or last
    return process.returncode, last


def main(ray: str, *words: str) -> int:
    folder = Path(tempfile.mkdtemp(prefix="next-ray-"))
    os.environ["UV_PROJECT_ENVIRONMENT"] = str(folder / ".venv")
    python = folder / ".venv/bin/python"
    answers = ("--no-input", "--default-config", "--output-dir", folder)
    call("uv", "sync", "--quiet", "--frozen")
    if ray != "lowest":
        call("make", "--silent", folder / ".venv/.torch", needed=False)
    call(python, "-m", "cookiecutter", ROOT, *answers)
    project = next(folder.glob("*/pyproject.toml")).parent
    what = LOWEST if ray == "lowest" else ("--upgrade-package", "ray", requirement(ray))
    group = ("--group", f"{project}/pyproject.toml:dev")
    extras = f"{project}[hyperopt,nevergrad]"
    call("uv", "pip", "install", "--python", python, "--editable", extras, *group, *what)

    told = subprocess.run([python, "-c", TELL], stdout=subprocess.PIPE, text=True, check=True)
    versions = told.stdout.strip()
    left_out = []
    if versions.endswith(WITHOUT):
        files = (ROOT / "tests/harness").glob("test_*.py")
        left_out = [f"--ignore={path}" for path in files if "import torch" in path.read_text()]
    tests = ("-n", "2", "--dist", "loadfile", "tests/harness", *left_out)
    harness, own = tested(python, ROOT, *tests, *words), tested(python, project, *words)
    codes = {harness[0], own[0]}
    passed = 0 in codes and codes <= {0, NO_TESTS}
    if passed:
        shutil.rmtree(folder)
    else:
        print(f"The environment and the project are in {folder}")
    print(f"{versions}: tests/harness {harness[1]}; a project's own {own[1]}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:] or [""]))
