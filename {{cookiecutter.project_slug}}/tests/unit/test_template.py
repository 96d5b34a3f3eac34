"""No conflicts of a template update are left, and harness/ is the template's."""

from {{cookiecutter.package_name}}.harness import work_tree
from {{cookiecutter.package_name}}.project import PROJECT


def test_nothing_is_left_to_resolve() -> None:
    assert work_tree.unresolved(PROJECT.folder) == []


def test_harness_was_not_edited() -> None:
    assert work_tree.edits() == []
