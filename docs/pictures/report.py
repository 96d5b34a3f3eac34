"""Makes report-….png: a report and a comparison in a browser.

    python -m docs.pictures.report

A project is generated, installed, and tunes twice: `night` has a trial that fails and trials that
are stopped early, `day` a search of its own.
"""

import tempfile
from pathlib import Path

from benchmarks.sweep import install
from tests.browser import browser, opened
from tests.faults.project import plant, using

FOLDER = Path(__file__).parent
SWEEP = ("--num-samples", 40, "--max-iterations", 30, "--scheduler", "asha")
FAULTS = {"FAULT": "raise", "FAULT_ABOVE": "0.06"}
TITLE = "h2:text-is('{}')".format
# name: page, the element at which the picture begins, and the one at which it ends
PICTURES = {
    "answer": ("night/report.html", "header", ".facts"),
    "plots": ("night/report.html", TITLE("Metric by iteration"), ".grid"),
    "trials": ("night/report.html", TITLE("Trials"), ".rows"),
    "comparison": ("report-night-vs-day.html", "header", "section:last-of-type"),
}
WIDTH, MARGIN = 1000, 24
# Show the same paths whatever machine this is.
AT_HOME = """
path => document.querySelectorAll("pre, .note").forEach(
    element => element.innerHTML = element.innerHTML.replaceAll(path, "/home/you"))
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        generated = install(Path(folder))
        plant(generated)
        python = generated / ".venv/bin/python"
        with using(generated, python, generated) as project, browser() as context:

            def command(*words: object, **env: str) -> None:
                run = project.start_program(python.parent / "ray-tune-experiment", *words, **env)
                assert run.wait() in (0, 1), run.said

            command("run", "--name", "night", *SWEEP, **FAULTS)
            command("run", "--name", "day", *SWEEP[:4], "--seed", 7)
            command("report", "night")
            command("report", "night", "day")
            for name, (path, first, last) in PICTURES.items():
                with opened(context, generated / "results" / path, WIDTH) as watched:
                    watched.page.evaluate(AT_HOME, folder)
                    top, end = (watched.page.locator(part).first.bounding_box()
                                for part in (first, last))  # fmt: skip
                    assert top
                    assert end
                    y = top["y"] - MARGIN
                    height = end["y"] + end["height"] + MARGIN - y
                    watched.page.screenshot(
                        path=FOLDER / f"report-{name}.png",
                        full_page=True,
                        clip={"x": 0, "y": y, "width": WIDTH, "height": height},
                    )


if __name__ == "__main__":
    main()
