"""Makes the site of the pages in this folder; conf.py has Sphinx's settings.

The pages are plain Markdown, so that they can be read where the repository is hosted, too. On the
site a comment `<!-- site: NAME -->` is replaced by what the function NAME below returns, which it
makes from the template; all other comments are for the tests, and left out.
"""

import atexit
import functools
import importlib
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from cookiecutter.main import cookiecutter
from sphinx.application import Sphinx
from sphinx.project import Project

ROOT = Path(__file__).parents[1]
PACKAGE = "ray_tune_experiment"
# Set when GitHub builds the site; elsewhere a file of the repository is named, not linked.
HOST, NAME = (os.environ.get(f"GITHUB_{word}") for word in ("SERVER_URL", "REPOSITORY"))
REPOSITORY = f"{HOST}/{NAME}" if NAME else ""


class Pages(Project):
    """The pages by name. The name `search` is taken by Sphinx's own page."""

    def path2doc(self, filename: str | os.PathLike[str]) -> str | None:
        name = super().path2doc(filename)
        return "searching" if name == "search" else name


def rename_search(app: Sphinx) -> None:
    app.project.__class__ = Pages


def fill_in(app: Sphinx, page: str, text: list[str]) -> None:
    """Replace the comments of a page, and its links to files of the repository."""

    def lead_out(link: re.Match[str]) -> str:
        words, file = link.groups()
        if file == "CHANGELOG.md" and page != "changelog":
            return f"[{words}](changelog.md)"
        return f"[{words}]({REPOSITORY}/blob/main/{file})" if REPOSITORY else words

    made = re.sub(r"<!-- site: (\w+) -->", lambda name: str(globals()[name[1]]()), text[0])
    made = re.sub(r"^\s*<!-- .*? -->\n", "", made, flags=re.MULTILINE)
    text[0] = re.sub(r"\[([^\]]+)\]\(\.\./([^)]+)\)", lead_out, made)


@functools.cache
def generated(module: str) -> Any:
    """A module of the project."""
    if PACKAGE not in sys.modules:
        folder = tempfile.TemporaryDirectory()
        atexit.register(folder.cleanup)
        made = cookiecutter(
            str(ROOT),
            no_input=True,
            default_config=True,
            output_dir=folder.name,
            accept_hooks=False,
        )
        sys.path.insert(0, f"{made}/src")
    return importlib.import_module(f"{PACKAGE}.{module}")


def pages() -> str:
    """The order of the pages: that of index.md, a part for each of its headings."""
    text = (ROOT / "docs/index.md").read_text("utf-8")
    parts = []
    for part in text.split("\n## ")[1:]:
        names = re.findall(r"\]\(([\w-]+)\.md\)", part)
        names = ["searching" if name == "search" else name for name in names]
        caption = part.partition("\n")[0]
        options = f":hidden:\n:caption: {caption}\n"
        parts.append("```{toctree}\n" + options + "\n" + "\n".join(names) + "\n```")
    return "\n\n".join(parts)


def accepted(schema: dict[str, Any]) -> str:
    """What a setting accepts, by its JSON schema."""
    if "anyOf" in schema:
        return " or ".join(filter(None, map(accepted, schema["anyOf"])))
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum") or [schema["const"]])
    if schema["type"] == "array":
        return f"list of {accepted(schema['items'])}" if "items" in schema else "two texts"
    if "pattern" in schema:
        return f"text like `{schema['pattern']}`"
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = ", ".join(f"{sign} {schema[name]}" for name, sign in signs.items() if name in schema)
    kind = {
        "boolean": "`true`, `false`",
        "integer": "whole number",
        "null": "",
        "object": "JSON object",
        "string": "text",
    }.get(schema["type"], schema["type"])
    return f"{kind} {limits}".strip()


def settings() -> str:
    """Every setting: variable, flag, what it means, accepts, and is by default."""
    kind = generated("settings").Settings
    as_text = generated("harness.setting_types").as_text
    flag = generated("harness.configuration").flag
    schemas = kind.model_json_schema(by_alias=False)["properties"]
    parts = []
    for field, info in kind.fields().items():
        default = as_text(kind.default(field))
        facts = f"{accepted(schemas[field])}{f'; default `{default}`' if default else ''}"
        names = ", ".join([f"`{kind.variable(field)}`", f"`{flag(field)}`"])
        parts.append(f"{names}\n: {info.description}<br>{facts}")
    return "\n\n".join(parts)


def shorten(
    app: Sphinx, what: str, name: str, of: object, options: object, given: str, returned: str
) -> tuple[str, str] | None:
    """Leave out the arguments of `RunSettings`: they are pydantic's, and not for use."""
    return ("", "") if name.endswith("RunSettings") else None


def api() -> str:
    """The docstrings of what docs/api.md names, module by module."""
    text = (ROOT / "docs/api.md").read_text("utf-8")
    parts = []
    for module in re.findall(r"^\| `(harness\.\w+)` \|", text, re.MULTILINE):
        generated(module)
        name = f"{PACKAGE}.{module}"
        directive = f".. automodule:: {name}\n   :members:\n"
        parts.append(f"### {module}\n\n```{{eval-rst}}\n{directive}```")
    return "\n\n".join(parts)


def changelog() -> str:
    """CHANGELOG.md, without its title."""
    return "```{include} ../CHANGELOG.md\n:relative-docs: docs/\n:start-line: 2\n```"
