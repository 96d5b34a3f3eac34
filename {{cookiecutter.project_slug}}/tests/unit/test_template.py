"""An update of the template left nothing to resolve, and harness/ is as the template made it."""

from {{cookiecutter.package_name}}.harness import work_tree
from {{cookiecutter.package_name}}.project import PROJECT


def test_nothing_is_left_to_resolve() -> None:
    assert work_tree.unresolved(PROJECT.folder) == []


def test_harness_was_not_edited() -> None:
    assert work_tree.edits() == []
