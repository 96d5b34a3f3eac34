"""The stub project, with a copy of its experiments at each moment when a kill may come.

`python -m recorded run …` is `python -m stub run …`. After each file or folder that the driver
writes or deletes in the storage, `moments/NUMBER NAME` is what a kill would leave there. The
journal writes no entry that it may leave out, as when the storage is too slow for it.
"""

import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.cli import main
from harness.run import journal
from harness.store.whole_files import WholeFiles, _WholeFile
from stub import PROJECT

STORAGE, MOMENTS = Path("results"), Path("moments")
one_at_a_time = threading.RLock()  # Ray's thread writes, too


def recorded(call: Callable[..., Any]) -> Callable[..., Any]:
    """Let a method copy the storage after each call; the files in it are replaced, not changed."""

    def call_and_copy(*args: Any) -> Any:
        with one_at_a_time:
            answer = call(*args)
            name = Path(getattr(args[0], "_path", args[-1])).name
            moment = MOMENTS / f"{len([*MOMENTS.iterdir()]):04d} {name}"
            unfinished = shutil.ignore_patterns("*.part")
            shutil.copytree(STORAGE, moment, copy_function=os.link, ignore=unfinished)
            return answer

    return call_and_copy


if __name__ == "__main__":
    for folder in (STORAGE, MOMENTS):
        folder.mkdir()
    journal.SHARE = 0.0
    _WholeFile.close = recorded(_WholeFile.close)
    WholeFiles.delete_dir = recorded(WholeFiles.delete_dir)
    sys.exit(main(PROJECT, sys.argv[1:]))
