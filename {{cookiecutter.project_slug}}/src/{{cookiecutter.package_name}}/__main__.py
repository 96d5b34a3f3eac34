"""`python -m {{cookiecutter.package_name}}`: the same as the console script."""

import sys

from .harness.cli.commands import main

if __name__ == "__main__":
    sys.exit(main())
