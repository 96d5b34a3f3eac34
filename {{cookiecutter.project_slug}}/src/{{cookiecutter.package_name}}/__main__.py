"""The commands: `python -m {{cookiecutter.package_name}}` is the same as the console script."""

import sys

from .harness.cli import main as harness_main
from .project import PROJECT


def main() -> int:
    """Run the command that was typed. Returns its exit code."""
    return harness_main(PROJECT)


if __name__ == "__main__":
    sys.exit(main())
