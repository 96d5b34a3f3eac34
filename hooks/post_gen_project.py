"""Runs in a new project: removes empty folders, makes a git repository, prints the next steps.

The steps are in copier.yml too; tests/test_hooks.py compares them. Nothing but `os` and `sys` is
imported: json, pathlib or subprocess would each take as long as all the rest.
"""

import os
import sys

COMMIT = 'git add . && git commit -m "Start the project"'


def remove_empty_folders() -> None:
    for folder in (".github/workflows", ".github"):
        try:
            os.rmdir(folder)
        except OSError:  # in use, or not there
            pass


def in_repository(folder: str) -> bool:
    if os.path.exists(os.path.join(folder, ".git")):
        return True
    parent = os.path.dirname(folder)
    return parent != folder and in_repository(parent)


def is_ignored() -> bool:
    """Whether the repository around the project leaves it out, as it does with a folder demo/."""
    return os.system(f"git check-ignore -q . 2>{os.devnull}") == 0


def make_repository() -> bool:
    return os.system(f"git -c init.defaultBranch=main init -q 2>{os.devnull}") == 0


def shell_quoted(path: str) -> str:
    safe = all(c.isalnum() or c in "_@%+=:,./-" for c in path)
    return path if safe else "'" + path.replace("'", "'\"'\"'") + "'"


def main() -> None:
    here = os.getcwd()
    for variable in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):  # set inside a git hook
        os.environ.pop(variable, None)
    has_git = (in_repository(here) and not is_ignored()) or make_repository()
    if not has_git:
        print("There is no git repository yet: `git init` did not work here.")
    parent, name = os.path.split(here)
    path = shell_quoted(name if parent == os.environ.get("PWD") else here)
    print(f"""
Next, in the new project:

  cd {path}
  make run     # installs it and tunes a real model, about a minute
  make test    # unit tests, then a small real experiment
  {"" if has_git else "git init -b main && "}{COMMIT}

README.md says which files are yours to edit.""")


remove_empty_folders()
# Only Cruft sets _commit. Its updates fail if there is a repository, and repeat what is printed.
if "{{ '_commit' in cookiecutter }}" == "False":
    sys.stdout.reconfigure(errors="backslashreplace")
    main()
