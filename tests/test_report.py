"""What `report` writes: its tables hold what the analysis knows, and its page opens offline.

One sweep with a stopped, a failed and a NaN trial, a nested search space and hostile words; one in
a bucket that is looked at while it runs and after it was interrupted; and large ones made of the
first.
"""

import json
import math
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext

from benchmarks.report import multiply
from tests.browser import Watched, browser, opened
from tests.faults.bucket import BUCKET, Bucket, bucket
from tests.faults.project import Project, using

pytestmark = pytest.mark.timeout(900)

SECRET = "planted7secret3key"
MARKUP = '<img src=x onerror=\\"window.hit=1\\"></script><script>window.hit=1</script>'
HOSTILE = f"'\\\">{MARKUP}<a href=javascript:hit=1>{MARKUP}</a>"
SPACE = f'''
from ray import tune

MUTABLE = ()

def search_space():
    return {{
        "hidden_units": 16,
        "learning_rate": tune.grid_search([0.001, 0.002, 0.01, 0.05, 0.09]),
        "l2": tune.loguniform(1e-6, 1e-1),
        "batch_size": 64,
        "nested": {{"word": tune.choice(["{HOSTILE}"]), "list": [tune.uniform(0, 1), 0.5]}},
        "{HOSTILE}": tune.choice([[1, 2], "{HOSTILE}"]),
    }}
'''
FAULTS = f"""

_sound_fit_step = Model.fit_step


def _worse_fit_step(self):
    if hasattr(self.estimator, "coefs_") and self.estimator.learning_rate_init == 0.05:
        raise RuntimeError("s3://key:{SECRET}@host {HOSTILE}")
    return _sound_fit_step(self)


Model.fit_step = _worse_fit_step
_sound_predict = Model.predict


def _worse_predict(self, features):
    found = _sound_predict(self, features)
    if self.estimator.learning_rate_init == 0.002:  # sure of what is wrong
        labels = np.searchsorted(self.data.classes, self.data.y_valid)
        found = np.roll(np.eye(found.shape[1]), 1, axis=0)[labels]
    if len(self.data.x_train) >= 200 and self.estimator.learning_rate_init == 0.09:
        return found * float("nan")
    return found


Model.predict = _worse_predict
"""
LIMITS = ("--max-iterations", 3, "--stop", '{"validation_log_loss": 20}')
# The largest has more results, and more complete trials, than a page draws.
SIZES = {"of-1": 1, "of-20": 20, "of-400": 400}

# Run by the project's Python: several commands, for the price of one start.
REPORTS = """
import sys
from ray_tune_experiment.harness.cli import main
from ray_tune_experiment.project import PROJECT
sys.exit(sum(main(PROJECT, line.split()) for line in sys.argv[1:]))
"""
TABLES = """
import sys
import pandas as pd
import ray
from pathlib import Path
from ray_tune_experiment.harness.results import open_experiment
from ray_tune_experiment.project import PROJECT

x, folder = open_experiment(PROJECT, "x"), Path("results/x")
assert x.outcome == "trials failed"
table = x.trials_table()
assert table["status"].tolist() == [
    "completed", "stopped early", "completed", "failed", "not finite"], table
assert table["training_iteration"].tolist() == [3, 1, 3, 1, 1]
assert {"learning_rate", "l2"} < set(x.parameters(x.trials[0])), x.parameters(x.trials[0])
assert {"nested/word", "nested/list/0"} <= set(x.parameters(x.trials[0]))
assert x.results_df.index.tolist() == table["trial_id"].tolist()
assert len(x.trial_dataframes) == len(x.trials) == 5

finite = table.dropna(subset="validation_accuracy")
assert x.best_value == finite["validation_accuracy"].max() == x.dataframe(
    "validation_accuracy", "max")["validation_accuracy"].max()
assert x.best_trial.trial_id == finite.loc[finite["validation_accuracy"].idxmax(), "trial_id"]
assert x.best_config["learning_rate"] in (0.001, 0.01)
assert Path(x.best_checkpoint.path).is_dir()
assert Path(x.best_checkpoint.path).parent.name == "trial_" + x.best_trial.trial_id

best = x.study("sqlite:///study.db").best_trial
assert best.user_attrs["trial_id"] == x.best_trial.trial_id
assert best.value == x.best_value
import optuna
kept = optuna.load_study(study_name="x", storage="sqlite:///study.db")
assert [len(t.intermediate_values) for t in kept.trials] == [3, 1, 3, 1, 0], kept.trials
assert [t.state.name for t in kept.trials] == [
    "COMPLETE", "COMPLETE", "COMPLETE", "FAIL", "FAIL"]


def plain(value):
    value = value.tolist() if hasattr(value, "tolist") else value
    return str(value) if isinstance(value, list) else value

for name, wanted in (("trials", table), ("results", x.results_table())):
    wanted = wanted.map(plain)
    for found in (pd.read_csv(folder / f"{name}.csv", dtype={"trial_id": str}),
                  pd.read_parquet(folder / f"{name}.parquet")):
        found = found.map(plain)
        assert found.columns.tolist() == wanted.columns.tolist()
        pd.testing.assert_frame_equal(
            found.astype(object).where(found.notna(), None),
            wanted.astype(object).where(wanted.notna(), None), check_dtype=False)

worst = open_experiment(PROJECT, "x", metric="validation_log_loss", mode="max")
assert worst.best_value == x.results_table()["validation_log_loss"].max()
assert not ray.is_initialized()
"""


@pytest.fixture(scope="module")
def place(
    installed: tuple[Path, Path],
    cluster: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Project]:
    """A folder with the experiment x, copies of it that lack something, and larger ones."""
    with using(*installed, tmp_path_factory.mktemp("report"), cluster=cluster) as project:
        package = project.copy_source()
        (package / "search_space.py").write_text(SPACE)
        with (package / "model.py").open("a") as file:
            file.write(FAULTS)
        project.run("run", "--name", "x", "--num-samples", 1, *LIMITS, code=1)
        results = project.folder / "results"
        for name, missing in (("no-history", "result.json"), ("csv", "result.json")):
            shutil.copytree(results / "x", results / name)
            for path in (results / name).glob(f"trial_*/{missing}"):
                path.unlink()
        for path in (results / "no-history").glob("trial_*/progress.csv"):
            path.unlink()
        shutil.copytree(results / "x", results / "cut")
        (state,) = (results / "cut").glob("experiment_state-*.json")
        state.write_bytes(state.read_bytes()[:-100])
        for name, size in SIZES.items():
            multiply(results / "x", results / name, size, 100)
        narrow(shutil.copytree(results / "of-20", results / "narrow"))
        spoil(shutil.copytree(results / "x", results / "no-best"))
        reports = ["x", "no-history", "csv", "narrow", "no-best", *SIZES, "x of-20 of-1"]
        run = project.start_program("-c", REPORTS, *(f"report {names}" for names in reports))
        assert run.wait() == 0, run.said
        (project.folder / "said").write_text(run.said)
        yield project


def narrow(folder: Path) -> None:
    """Let the experiment have tuned one hyperparameter, of a few values."""
    file = folder / "experiment.json"
    record = json.loads(file.read_text())
    space = record["search_space"]
    record["search_space"] = {"batch_size": space["batch_size"], "hidden_units": "fixed 16"}
    file.write_text(json.dumps(record))


def spoil(folder: Path) -> None:
    """Let every value of the metric be NaN."""
    for file in folder.glob("trial_*/result.json"):
        text = re.sub(r'("validation_accuracy": )[-\d.e]+', r"\1NaN", file.read_text())
        file.write_text(text)
    (file,) = folder.glob("experiment_state-*.json")
    state = json.loads(file.read_text())
    for pair in state["trial_data"]:
        run = json.loads(pair[1])
        run["last_result"]["validation_accuracy"] = math.nan
        del run["metric_analysis"]["validation_accuracy"]
        pair[1] = json.dumps(run)
    file.write_text(json.dumps(state))


@pytest.fixture(scope="module")
def chromium() -> Iterator[BrowserContext]:
    with browser() as context:
        yield context


def page(project: Project, name: str) -> Path:
    return project.folder / "results" / name / "report.html"


def test_the_tables_are_what_the_analysis_knows(place: Project) -> None:
    run = place.start_program("-c", TABLES)
    assert run.wait() == 0, run.said


def test_what_it_says(place: Project) -> None:
    said = (place.folder / "said").read_text()
    for name in ("x", "no-history", "csv", *SIZES):
        assert f"Report: {page(place, name)}" in said
    assert f"Report: {place.folder}/results/report-x-vs-of-20-vs-of-1.html" in said
    assert said.count("there is no history") == 1
    assert "Traceback" not in said
    results = place.folder / "results"
    assert not (results / "no-history/results.csv").exists()
    for table in ("trials.csv", "results.csv"):
        lines = {name: len((results / name / table).read_bytes().splitlines())
                 for name in ("x", "csv")}  # fmt: skip
        assert len(set(lines.values())) == 1, lines


def test_refusals(place: Project) -> None:
    """One line each, and nothing written."""
    results = place.folder / "results"
    shutil.copytree(results / "x", results / "silent", ignore=shutil.ignore_patterns("*.csv"))
    (state,) = (results / "silent").glob("experiment_state-*.json")
    content = json.loads(state.read_text())
    for pair in content["trial_data"]:
        pair[1] = json.dumps({**json.loads(pair[1]), "last_result": {}, "metric_analysis": {}})
    state.write_text(json.dumps(content))
    (results / "unsaved").mkdir()
    shutil.copy(results / "x/experiment.json", results / "unsaved")
    words = ("no-hisotry", "silent", "unsaved", "cut", "x x", "x ../x", "x --num 3", "")
    run = place.start_program("-c", REPORTS, *(f"report {line}" for line in words))
    assert run.wait() == 2 * len(words)
    findings = run.said.splitlines()
    expected = (
        "no such experiment; did you mean no-history?",
        "no trial has reported anything yet",
        "nothing has been saved of it yet",
        "its state is damaged",
        "takes different experiments",
        "--name='../x'",
        "unknown flag --num",
        "report needs the NAME",
    )
    assert len(findings) == len(expected), run.said
    for finding, part in zip(findings, expected, strict=True):
        assert finding.startswith("error: ")
        assert part in finding
    assert not list((results / "silent").glob("*.csv"))


def sound(watched: Watched, path: Path) -> None:
    """Nothing asked for, nothing complained of, every plot drawn, no sideways scrolling."""
    page = watched.page
    assert watched.requests == [path.as_uri()]
    assert watched.complaints == []
    assert page.evaluate("window.hit") is None
    sizes = page.evaluate(
        "[...document.querySelectorAll('.figure .main-svg:first-child')]"
        ".map(e => [e.clientWidth, e.clientHeight])"
    )
    assert all(width > 150 and height > 150 for width, height in sizes), sizes
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.locator("[href], [src], iframe, form, object, embed").count() == 0


@pytest.mark.parametrize("name", ["x", "narrow", *SIZES])
def test_the_page(place: Project, chromium: BrowserContext, name: str) -> None:
    path = page(place, name)
    assert SECRET not in path.read_text()
    for width in (390, 1200):
        with opened(chromium, path, width) as watched:
            sound(watched, path)
            headings = watched.page.locator("h2").all_inner_texts()
            assert "Metric by iteration" in headings
            assert "Importances" in headings
            assert ("Parallel coordinates" in headings) == (name != "of-1")
            plots = watched.page.locator(".figure").count()
            assert plots == {"of-1": 1, "narrow": 5}.get(name, 8), headings
            said = watched.page.locator("main").inner_text()
            assert len(re.findall(r"(?:begun|Written) [\d-]{10} [\d:]{5} UTC", said)) == 2
            assert ("They need two or more completed trials" in said) == (name == "of-1")
            if width == 1200:
                assert watched.page.pdf(format="A4").startswith(b"%PDF")
                watched.page.emulate_media(media="print")
                rows = watched.page.locator(".rows tbody tr:visible").count()
                assert rows == min(50, SIZES.get(name, 5 if name == "x" else 20))
                sound(watched, path)


def test_hostile_words_stay_words(place: Project, chromium: BrowserContext) -> None:
    path = page(place, "x")
    with opened(chromium, path, 1200) as watched:
        watched.page.locator("summary").first.click()
        text = watched.page.locator("main").inner_text()
        assert text.count('<img src=x onerror="window.hit=1">') > 5
        assert "RuntimeError: s3://***@host" in text
        drawn = watched.page.locator(".figure").all_inner_texts()
        for status in ("completed", "stopped early", "failed", "best"):
            assert status in drawn[0]
        assert any("<img" in words for words in drawn), drawn
        assert watched.page.locator(".figure a").count() == 0
        sound(watched, path)


def test_a_click_sorts(place: Project, chromium: BrowserContext) -> None:
    with opened(chromium, page(place, "x"), 1200) as watched:
        table = watched.page.locator("table.sortable")
        column = table.locator("th").all_inner_texts().index("validation_accuracy")
        rates = table.locator("th").all_inner_texts().index("learning_rate")

        def values(index: int) -> list[str]:
            return [row.nth(index).inner_text() for row in
                    (r.locator("td") for r in table.locator("tbody tr").all())]  # fmt: skip

        before = values(column)
        assert before[-1] == "—"  # the NaN trial
        assert before[:-1] == sorted(before[:-1], key=float, reverse=True)
        heading = table.locator("th button").nth(column)
        heading.click()
        assert values(column) == [*reversed(before[:-1]), "—"]
        heading.click()
        assert values(column) == before
        table.locator("th button").nth(rates).click()
        assert values(rates) == ["0.001", "0.002", "0.01", "0.05", "0.09"]


def test_the_answer_comes_first(place: Project, chromium: BrowserContext) -> None:
    with opened(chromium, page(place, "x"), 390) as watched:
        text = watched.page.locator("main").inner_text()
        best = watched.page.locator(".value").inner_text()
    assert text.index("1 of 5 trials failed") < text.index(best)
    assert "run --name x --resume errored" in text
    assert "export x" in text
    limits = "--max-iterations 3 --stop '{\"validation_log_loss\": 20.0}'"
    assert f"run --num-samples 1 {limits} --name x-again" in text
    with opened(chromium, page(place, "no-history"), 390) as watched:
        assert "No history" in watched.page.locator("main").inner_text()
    with opened(chromium, page(place, "no-best"), 390) as watched:
        sound(watched, page(place, "no-best"))
        text = watched.page.locator("main").inner_text()
    assert "No trial has reported a finite validation_accuracy" in text
    assert "export" not in text


def test_a_comparison(place: Project, chromium: BrowserContext) -> None:
    path = place.folder / "results/report-x-vs-of-20-vs-of-1.html"
    for width in (1200, 390):
        with opened(chromium, path, width) as watched:
            sound(watched, path)
            assert watched.page.locator(".figure").count() == 2
            rows = watched.page.locator("section:last-of-type tbody tr").all_inner_texts()
        assert [row.split()[1:] for row in rows if "NUM_SAMPLES" in row], rows


def test_a_bucket_while_it_runs_and_after(
    installed: tuple[Path, Path],
    cluster: str,
    chromium: BrowserContext,
    tmp_path: Path,
) -> None:
    """The page says at its top how far the experiment is; it never names the bucket's key."""
    with (
        using(*installed, tmp_path, cluster=cluster) as project,
        bucket("AKIAPLANTED", SECRET) as s3,
    ):
        where, hold = ("--storage-path", f"s3://{BUCKET}/team"), tmp_path / "hold"
        hold.touch()
        run = project.start(
            *("run", "--name", "y", "--num-samples", 4, "--max-iterations", 4, *where),
            env=s3.env,
            FAULT_HOLD=str(hold),
            TUNE_GLOBAL_CHECKPOINT_S="1",
        )
        run.until(lambda: any(b"training_loss" in state for state in states(s3)))
        said = project.run("report", "y", *where, env=s3.env)
        assert f"Report: s3://{BUCKET}/team/y/report.html" in said
        first = s3.download(tmp_path / "running") / "team/y/report.html"
        assert run.process.poll() is None, run.said
        run.kill(signal.SIGTERM)
        hold.unlink()
        assert run.wait() == 143, run.said
        project.run("report", "y", *where, env=s3.env)
        folder = s3.download(tmp_path / "interrupted") / "team/y"
    text = ""
    for path, words in (
        (first, "This experiment is running"),
        (folder / "report.html", "This experiment is not complete: interrupted by SIGTERM."),
    ):
        with opened(chromium, path, 390) as watched:
            sound(watched, path)
            text = watched.page.locator("main").inner_text()
            assert text.index(words) < text.index("Best of 4 trials")
        assert SECRET not in path.read_text()
    assert f"run --name y --resume --storage-path s3://{BUCKET}/team" in text
    assert (folder / "trials.parquet").read_bytes().startswith(b"PAR1")
    assert (folder / "results.csv").read_text().startswith("training_loss,")


def states(s3: Bucket) -> list[bytes]:
    """Ray's saved states that are in the bucket."""
    return [*s3.objects("/experiment_state-").values()]
