"""The commands: `python -m {{cookiecutter.package_name}}` is the same as the console script."""

import sys
from pathlib import Path

from .harness.work_tree import conflicts_explained


def main() -> int:
    """Run the command that was typed. Returns its exit code."""
    with conflicts_explained(Path(__file__).parent):
        from .harness.cli import main as harness_main
        from .project import PROJECT

        return harness_main(PROJECT)


if __name__ == "__main__":
    sys.exit(main())
