"""`docs`: writes the settings into .env.example and the README's table."""

import re
from pathlib import Path

from ..project import Project
from ..setting_types import as_text
from ..trackers import chosen

START, END = "<!-- settings -->", "<!-- /settings -->"


def env_example(project: Project) -> str:
    """Every variable with its meaning and its default, commented out."""
    lines = ["# Copy to .env and set what differs. Flags and the environment win over .env."]
    settings = project.settings
    for field, info in settings.fields().items():
        default = as_text(settings.default(field))
        lines += ["", f"# {info.description}", f"#{settings.variable(field)}={default}"]
    tracker = chosen()
    for name, meaning in tracker.VARIABLES.items() if tracker else ():
        lines += ["", f"# {meaning}", f"#{name}="]
    return "\n".join(lines) + "\n"


def table(project: Project) -> str:
    """The settings as a Markdown table."""
    settings = project.settings
    lines = [START, f"| {settings.variable('')}… | default | meaning |", "|---|---|---|"]
    for field, info in settings.fields().items():
        also = "".join(f" (also {name.upper()})" for name in settings.names(field)[1:])
        default = as_text(settings.default(field))
        value = f"`{default}`" if default else ""
        lines.append(f"| `{field.upper()}`{also} | {value} | {info.description} |")
    return "\n".join([*lines, END])


def write(project: Project, folder: Path) -> list[Path]:
    """Write both files in a project's folder. Returns those that have changed."""
    readme, example = folder / "README.md", folder / ".env.example"
    wanted = {example: env_example(project)}
    if readme.is_file():
        made = table(project)
        wanted[readme] = re.sub(
            f"{START}.*?{END}", lambda _: made, readme.read_text("utf-8"), flags=re.DOTALL
        )
    old = {path: path.read_text("utf-8") if path.is_file() else None for path in wanted}
    changed = [path for path in wanted if wanted[path] != old[path]]
    for path in changed:
        path.write_text(wanted[path], "utf-8")
    return changed
