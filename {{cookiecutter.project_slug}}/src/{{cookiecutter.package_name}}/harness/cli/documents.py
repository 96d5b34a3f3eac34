"""Writes what people read of the settings: .env.example and the README's table."""

import re
from pathlib import Path

from ...settings import PREFIX, Settings
from ..configuration import default, names, part, variable

START, END = "<!-- settings -->", "<!-- /settings -->"


def env_example() -> str:
    """Every variable with its meaning and its default, commented out."""
    lines = ["# Copy to .env and set what differs. Flags and the environment win over .env."]
    for field, info in Settings.model_fields.items():
        lines += ["", f"# {info.description}", f"#{variable(field)}={default(info)}"]
    for name, meaning in getattr(part("tracker"), "VARIABLES", {}).items():
        lines += ["", f"# {meaning}", f"#{name}="]
    return "\n".join(lines) + "\n"


def table() -> str:
    """The settings as a Markdown table."""
    lines = [START, f"| {PREFIX}… | default | meaning |", "|---|---|---|"]
    for field, info in Settings.model_fields.items():
        also = "".join(f" (also {name.upper()})" for name in names(field)[1:])
        value = f"`{default(info)}`" if default(info) else ""
        lines.append(f"| `{field.upper()}`{also} | {value} | {info.description} |")
    return "\n".join([*lines, END])


def with_table(readme: str) -> str:
    """The README's text with the table that is between the two marks made anew."""
    return re.sub(f"{START}.*?{END}", lambda _: table(), readme, flags=re.DOTALL)


def write(project: Path) -> list[Path]:
    """Bring both files of the project up to date. Returns the ones that changed."""
    readme, example = project / "README.md", project / ".env.example"
    wanted = {example: env_example()}
    if readme.is_file():
        wanted[readme] = with_table(readme.read_text("utf-8"))
    changed = [
        path
        for path, text in wanted.items()
        if not path.is_file() or path.read_text("utf-8") != text
    ]
    for path in changed:
        path.write_text(wanted[path], "utf-8")
    return changed
