"""The HTML pages of `report`, from the templates in pages/. They need no network."""

import math
import secrets
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from ..configuration import Configuration, storage_flags
from ..errors import without_password
from ..setting_types import as_text
from ..store.record import OF_THE_COMMAND, now
from .experiment import CONFIG, Experiment
from .plots import Plot, best_by_iteration, histories, plots

VERSIONS = (  # the page shows the others on request
    *("ray", "optuna", "scikit-learn", "torch", "xgboost", "xgboost-cpu", "lightgbm"),
    *("numpy", "pandas", "modin"),
)
NOTHING = "—"  # shown for a missing value
SCOPES = {
    "all": "the best result of each trial counts",
    "last": "the last result of each trial counts",
    "avg": "the mean of each trial's results counts",
    "last-5-avg": "the mean of each trial's last 5 results counts",
    "last-10-avg": "the mean of each trial's last 10 results counts",
}


def report_page(experiment: Experiment) -> str:
    """The report of one experiment."""
    return _render("report.html", plots(experiment), x=_about(experiment))


def comparison_page(experiments: Sequence[Experiment]) -> str:
    """The comparison of experiments that share METRIC and MODE, each with a best trial."""
    ranked = sorted(experiments, key=lambda one: -one.ranking.sign * (one.best_value or 0))
    found = [histories(ranked)]
    if any(experiment.has_history for experiment in ranked):
        found.insert(0, best_by_iteration(ranked))
    return _render(
        "compare.html",
        found,
        ranked=[_about(experiment) for experiment in ranked],
        differences=list(_differences(ranked)),
    )


def _render(template: str, found: list[Plot], **content: Any) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "pages"),
        autoescape=True,
        finalize=_without_password,
        # Not Jinja's own marks: this file is part of a template, and its engine would read them.
        block_start_string="[%",
        block_end_string="%]",
        variable_start_string="[[",
        variable_end_string="]]",
        comment_start_string="[#",
        comment_end_string="#]",
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=_number, moment=_moment, duration=_duration, json=_json)
    sections: dict[str, list[Plot]] = {}
    for plot in found:
        sections.setdefault(plot.title, []).append(plot)
    return environment.get_template(template).render(
        **content,
        sections=sections,
        plotly=Markup(get_plotlyjs()),  # contains no text of an experiment
        scopes=SCOPES,
        nonce=secrets.token_urlsafe(16),
        written=now(),
    )


def _about(experiment: Experiment) -> dict[str, Any]:
    """What the pages show of an experiment."""
    settings, record, best = experiment.settings, experiment.record, experiment.best_trial
    table = experiment.trials_table(best_first=True)
    if table["error"].isna().all():
        table = table.drop(columns="error")
    configuration = Configuration(experiment.project, settings)
    exports = experiment.project.parts().trainable.exports()
    repeat = [*shlex.split(record.command(type(settings))), "--name", f"{experiment.name}-again"]
    return {
        "experiment": experiment,
        "settings": settings,
        "record": record.content,
        "best": best,
        "best_parameters": experiment.parameters(best) if best else {},
        "place": f"{record.folder.path}/{best.relative_logdir}" if best else "",
        "counts": Counter(table["status"]),
        "seconds": table["time_total_s"].sum(),
        "columns": [column.removeprefix(CONFIG) for column in table.columns],
        "rows": table.to_numpy(dtype=object).tolist(),
        "last_run": record.last_run,
        "given": {
            settings.variable(field): (as_text(entry["value"]), entry["origin"])
            for field, entry in record.content["settings"].items()
        },
        "versions": _versions(experiment),
        "commands": {
            "repeat": experiment.project.command(*repeat, *storage_flags(settings)),
            "export": configuration.again("export") if exports else None,
            "resume": configuration.again("run", "--resume"),
            "errored": configuration.again("run", "--resume", "errored"),
        },
    }


def _versions(experiment: Experiment) -> dict[str, str]:
    run = experiment.record.last_run
    known = {name: run["packages"][name] for name in VERSIONS if name in run["packages"]}
    return {"Python": run["python"], **known}


def _differences(experiments: Sequence[Experiment]) -> Iterator[tuple[str, str, list[str]]]:
    """What differs between the experiments: its kind, its name, and its value in each."""
    kinds: dict[str, list[dict[str, str]]] = {}
    for experiment in experiments:
        content, git = experiment.record.content, experiment.record.last_run["git"]
        settings = {
            experiment.settings.variable(field): as_text(entry["value"])
            for field, entry in content["settings"].items()
            if field not in OF_THE_COMMAND
        }
        kinds.setdefault("search space", []).append(content["search_space"])
        kinds.setdefault("setting", []).append(settings)
        data = {key: str(value) for key, value in content["data"].items()}
        kinds.setdefault("data", []).append(data)
        code = {"commit": str(git.get("commit")), "uncommitted changes": str(git.get("dirty"))}
        kinds.setdefault("code", []).append(code)
        kinds.setdefault("version", []).append(_versions(experiment))
    for kind, each in kinds.items():
        for name in dict.fromkeys(name for values in each for name in values):
            found = [values.get(name, NOTHING) for values in each]
            if len(set(found)) > 1:
                yield kind, name, found


def _without_password(value: Any) -> Any:
    """Hide the credentials of a URI, in every text that a page shows."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return without_password(value)
    return value


def _json(plot: Plot) -> Markup:
    """A figure as JSON. No text in it can close the script element."""
    return Markup(str(plot.figure.to_json()).replace("<", "\\u003c"))


def _number(value: Any) -> Any:
    """A number with four digits; anything else as it is."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    return f"{value:.4g}" if isinstance(value, float) else value


def _moment(text: str | None) -> str:
    """A time of experiment.json, to the minute."""
    return f"{text[:16].replace('T', ' ')} UTC" if text else NOTHING


def _duration(seconds: float) -> str:
    """Seconds, minutes or hours."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
