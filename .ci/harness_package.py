r"""Makes the source of the package ray-tune-harness: python .ci/harness_package.py FOLDER

It is the `harness/` of a generated project, with the files of all answers, as the package
`ray_tune_harness`. Once that is installed, these commands move a project to it:

    rm -r src/*/harness
    perl -pi -e 's/from \w*\.harness\b/from ray_tune_harness/' $(find src tests -name '*.py')
    make format
"""

import re
import shutil
import sys
import tomllib
from pathlib import Path

from jinja2 import Template

ROOT = Path(__file__).parents[1]
TREE = ROOT / "{{cookiecutter.project_slug}}"
HARNESS = TREE / "src/{{cookiecutter.package_name}}/harness"
OF_MODELS = ("scikit-learn", "skops")  # the harness doesn't import them
PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "ray-tune-harness"
version = "{version}"
description = "The harness of projects made by cookiecutter-ray-tune"
requires-python = ">=3.11"
license = "MIT"
license-files = ["LICENSE"]
dependencies = {dependencies}

[project.optional-dependencies]
{extras}
"""


def requirements(**answers: str) -> tuple[set[str], dict[str, list[str]]]:
    """Return what a project with these answers depends on, and its extras."""
    texts = {"project_slug": "x", "__toml_description": '""', "__toml_author_name": '""', **answers}
    text = Template((TREE / "pyproject.toml").read_text("utf-8")).render(cookiecutter=texts)
    project = tomllib.loads(text)["project"]
    return set(project["dependencies"]), project["optional-dependencies"]


def main(folder: Path) -> None:
    package = folder / "ray_tune_harness"
    shutil.copytree(HARNESS, package, ignore=shutil.ignore_patterns("__pycache__"))
    for path in [*package.rglob("{{*")]:
        path.rename(
            path.with_name(re.sub(r"\{\{cookiecutter\.__(\w+)_file\}\}", r"\1.py", path.name))
        )
    (package / "py.typed").touch()
    shutil.copy(ROOT / "LICENSE", folder)

    default, extras = requirements()
    modin, _ = requirements(dataframes="Modin")
    extras["modin"] = sorted(modin - default)
    for extra, tracker in {"mlflow": "MLflow", "wandb": "Weights & Biases"}.items():
        extras[extra] = sorted(requirements(tracker=tracker)[0] - default)
    # With Modin, pandas has another bound: here only those of the extra and of ray[tune] count.
    always = [each for each in sorted(default & modin) if not each.startswith(OF_MODELS)]
    with (ROOT / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    text = PYPROJECT.format(
        version=version,
        dependencies=always,
        extras="\n".join(f"{name} = {needs}" for name, needs in extras.items()),
    )
    (folder / "pyproject.toml").write_text(text, "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
