"""The commands of the stub project: `python -m stub run`."""

import sys

from harness.cli import main

from . import PROJECT

if __name__ == "__main__":
    sys.exit(main(PROJECT))
