"""Makes running.svg: what a terminal shows during a run with a failing trial.

    python -m docs.pictures.running

A project is generated, installed and run in a terminal; its screen is read and drawn.
"""

import io
import re
import signal
import tempfile
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.style import Style
from rich.text import Text

from benchmarks.sweep import install
from tests.faults.project import plant, using
from tests.faults.terminal import terminal

COLUMNS = 120
SWEEP = ("run", "--name", "night", "--num-samples", 12, "--max-iterations", 30)


def style_of(character: Any) -> Style:
    colour = {"default": "default", "brown": "yellow"}.get(character.fg, character.fg)
    colour = f"#{colour}" if re.fullmatch("[0-9a-f]{6}", colour) else colour
    return Style(color=colour, bold=character.bold)


def drawn(screen: Any) -> Text:
    """The screen down to its last line, with its colours."""
    lines = []
    for row in range(screen.lines):
        characters = [screen.buffer[row][column] for column in range(screen.columns)]
        parts = groupby(characters, style_of)
        line = Text.assemble(*(("".join(c.data for c in part), style) for style, part in parts))
        line.rstrip()
        lines.append(line)
    while not lines[-1]:
        lines.pop()
    return Text("\n").join(lines)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        generated = install(Path(folder))
        plant(generated)
        python = generated / ".venv/bin/python"
        faults = {"FAULT": "raise", "FAULT_ABOVE": "0.0185", "FAULT_SLEEP": "0.15"}
        with (
            using(generated, python, Path(folder)) as project,
            terminal(project, *SWEEP, columns=COLUMNS, **faults) as run,
        ):
            shown = r"━ +[5-8]/12 trials ended, [12] running, \d failed, best .* left$"
            run.until(lambda: any(re.search(shown, look) for look in run.looks[-1:]))
            command = Text(f"$ ray-tune-experiment {' '.join(map(str, SWEEP))}\n")
            picture = Text.assemble(command, drawn(run.screen), "\n")  # or its edge cuts the "_"
            run.child.kill(signal.SIGTERM)
            run.wait()
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(picture)
    svg = console.export_svg(title="ray-tune-experiment")
    # No font from the network: any monospaced one will do.
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    svg = re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE).strip() + "\n"
    Path(__file__).with_suffix(".svg").write_text(svg, "utf-8")


if __name__ == "__main__":
    main()
