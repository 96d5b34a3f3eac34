"""The settings of this project, and the documents that list them."""

from pathlib import Path

from {{cookiecutter.package_name}}.harness.cli import documents
from {{cookiecutter.package_name}}.harness.configuration import load
from {{cookiecutter.package_name}}.project import PROJECT
from {{cookiecutter.package_name}}.settings import Settings

ROOT = Path(__file__).parents[2]


def test_the_defaults_are_valid() -> None:
    settings = load(PROJECT).settings
    assert settings.metric in Settings.METRICS
    assert Settings(**settings.model_dump()) == settings


def test_the_documents_say_what_the_settings_say() -> None:
    message = "settings.py has changed: run the command `docs`, which updates both files"
    assert (ROOT / ".env.example").read_text("utf-8") == documents.env_example(PROJECT), message
    assert documents.table(PROJECT) in (ROOT / "README.md").read_text("utf-8"), message
