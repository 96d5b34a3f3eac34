"""The report's plots, drawn by Plotly: Optuna's, and METRIC by iteration."""

import html
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import optuna
import plotly.graph_objects as go
from optuna import visualization
from optuna.trial import FrozenTrial, TrialState
from ray.tune.experiment import Trial

from ..errors import without_password
from .experiment import Experiment
from .study import DIRECTIONS, importances

MOST_POINTS = 20_000  # results by iteration; a browser draws them in about a second
MOST_LINES = 200  # in the parallel coordinates
MOST_PARAMETERS = 12
LONGEST = 40  # characters of a name or a value
ACCENT, GREY, AMBER, RED = "#1d5fd1", "#a3adba", "#d98a00", "#c92a2a"
COLOURS = [ACCENT, AMBER, "#2b8a3e", RED, "#7048e8", "#0c8599", "#495057"]  # of experiments
STYLES = {  # status: the colour of its lines, and the marker at their end
    "completed": (GREY, None),
    "running": (GREY, None),
    "unfinished": (GREY, None),
    "stopped early": (AMBER, "triangle-down"),
    "not finite": (RED, "diamond"),
    "failed": (RED, "x"),
}
LAYOUT: dict[str, Any] = {
    "template": "plotly_white",
    "font": {"family": "system-ui, sans-serif", "size": 12, "color": "#2b3440"},
    "margin": {"l": 56, "r": 16, "t": 24, "b": 44},
    "height": 360,
    "title": None,
    "hoverlabel": {"align": "left"},
    "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
}
HISTORY = "Each completed trial, and the best so far."
Curve = list[tuple[int, float]]  # iterations and values, the finite ones


class Plot(NamedTuple):
    """A figure with its heading and a note.

    size: "half" is half a page wide, "wide" scrolls on a phone
    """

    title: str
    note: str
    figure: go.Figure
    size: str = "full"


def label(words: str) -> str:
    """A text for a plot, escaped: Plotly interprets some HTML."""
    words = without_password(words)
    return html.escape(words if len(words) <= LONGEST else words[: LONGEST - 1] + "…", quote=False)


def plots(experiment: Experiment) -> list[Plot]:
    """All plots that the experiment has enough results for."""
    metric = label(experiment.settings.metric)
    curves = {trial.trial_id: _curve(experiment, trial) for trial in experiment.trials}
    found = [by_iteration(experiment, curves)] if any(curves.values()) else []
    study = experiment.study(text=label, history=False)
    complete = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    if len(complete) < 2:
        return found
    figure = visualization.plot_optimization_history(study, target_name=metric)
    figure.update_traces(selector={"mode": "markers"}, marker_color=GREY, name="trial")
    figure.update_traces(selector={"mode": "lines"}, line_color=ACCENT, name="best so far")
    found.append(Plot("Optimisation history", HISTORY, figure, "half"))
    shares = importances(study)
    varied = _varied(complete)
    names = sorted(varied, key=lambda name: -shares.get(name, 0))[:MOST_PARAMETERS]
    hidden = len(varied) > len(names)
    left_out = f" The {len(names)} most important of {len(varied)}." if hidden else ""
    if shares:
        figure = visualization.plot_param_importances(study, params=names, target_name=metric)
        figure.update_traces(marker_color=ACCENT)
        figure.update_layout(xaxis_title="share", yaxis_title=None)
        note = "How much of the metric's variance each hyperparameter explains (PED-ANOVA)."
        found.append(Plot("Importances", note + left_out, figure, "half"))
    if names:
        best, note = _best(experiment, complete), "One line for each trial."
        if len(complete) > MOST_LINES:
            note = f"One line for each trial: the best {MOST_LINES} of {len(complete)}."
        figure = visualization.plot_parallel_coordinate(best, params=names, target_name=metric)
        found.append(Plot("Parallel coordinates", note + left_out, figure, "wide"))
    for name in names:
        figure = visualization.plot_slice(study, params=[name], target_name=metric)
        figure.update_traces(
            marker={"showscale": False, "color": ACCENT, "opacity": 0.5, "line_width": 0}
        )
        drawn = [t.params[name] for t in complete if name in t.params]
        if figure.layout.xaxis.type == "log" and max(drawn) > 100 * min(drawn):
            figure.update_xaxes(dtick=1)  # a label each power of ten, no digits between
        note = "Each hyperparameter against the metric: one mark for each completed trial."
        found.append(Plot("Slices", note + left_out, figure))
    return [plot._replace(figure=_styled(plot.figure)) for plot in found]


def _styled(figure: go.Figure) -> go.Figure:
    figure.update_layout(LAYOUT)
    figure.update_xaxes(exponentformat="e")
    figure.update_yaxes(exponentformat="e")
    return figure


def _varied(complete: Sequence[FrozenTrial]) -> list[str]:
    """The hyperparameters that had more than one value."""
    values: dict[str, set[Any]] = {}
    for trial in complete:
        for name, value in trial.params.items():
            values.setdefault(name, set()).add(value)
    return [name for name, different in values.items() if len(different) > 1]


def _best(experiment: Experiment, complete: Sequence[FrozenTrial]) -> optuna.Study:
    """A study of the best MOST_LINES trials."""
    sign = experiment.ranking.sign
    best = optuna.create_study(direction=DIRECTIONS[experiment.settings.mode])
    best.add_trials(sorted(complete, key=lambda trial: -sign * (trial.value or 0))[:MOST_LINES])
    return best


def by_iteration(experiment: Experiment, curves: dict[str, Curve]) -> Plot:
    """METRIC of all trials by iteration: one trace for each status, with gaps between trials.

    curves: the curve of each trial; at least one of them has a point
    """
    total = sum(len(curve) for curve in curves.values())
    step = math.ceil(total / MOST_POINTS)
    figure = go.Figure()
    best = experiment.best_trial
    mode = "lines" if max(len(curve) for curve in curves.values()) > 1 else "markers"
    for status, (colour, mark) in STYLES.items():
        chosen = [t for t in experiment.trials if experiment.status(t) == status and t is not best]
        shown = [(trial.trial_id, curves[trial.trial_id]) for trial in chosen]
        if lines := [(trial_id, curve) for trial_id, curve in shown if curve]:
            figure.add_trace(_trace(lines, step, status, mode, colour, legend=mark is None))
            if mark is not None:
                figure.add_trace(_ends(lines, status, colour, mark))
    if best is not None and curves[best.trial_id]:
        line = [(best.trial_id, curves[best.trial_id])]
        trace = _trace(line, 1, "best", mode, ACCENT, legend=True)
        figure.add_trace(trace.update(line_width=2.5, opacity=1))
    figure.update_xaxes(title="iteration")
    values = [value for curve in curves.values() for _, value in curve]
    spread = min(values) > 0 and max(values) > 1000 * min(values)
    figure.update_yaxes(title=label(experiment.settings.metric), type="log" if spread else "linear")
    thinned = f" Every {step}th result of each trial is drawn." if step > 1 else ""
    note = "One line for each trial. A marker shows where a trial failed or was stopped early."
    return Plot("Metric by iteration", note + thinned, _styled(figure))


def _curve(experiment: Experiment, trial: Trial) -> Curve:
    history: dict[int, Any] = experiment.history(trial)  # a table may hold texts
    return [(x, y) for x, y in history.items() if isinstance(y, int | float) and math.isfinite(y)]


def _trace(
    lines: list[tuple[str, Curve]], step: int, name: str, mode: str, colour: str, *, legend: bool
) -> go.Scatter:
    x: list[int | None] = []
    y: list[float | None] = []
    text: list[str | None] = []
    for trial_id, curve in lines:
        drawn = curve[::step] + ([curve[-1]] if (len(curve) - 1) % step else [])
        x += [*(iteration for iteration, _ in drawn), None]
        y += [*(value for _, value in drawn), None]
        text += [*([label(trial_id)] * len(drawn)), None]
    return go.Scatter(
        x=x,
        y=y,
        text=text,
        hovertemplate="%{text}<br>iteration %{x}: %{y:.5g}<extra></extra>",
        mode=mode,
        name=name,
        legendgroup=name,
        showlegend=legend,
        opacity=0.7,
        line={"color": colour, "width": 1},
        marker={"color": colour},
    )


def _ends(lines: list[tuple[str, Curve]], name: str, colour: str, mark: str) -> go.Scatter:
    return go.Scatter(
        x=[curve[-1][0] for _, curve in lines],
        y=[curve[-1][1] for _, curve in lines],
        text=[label(trial_id) for trial_id, _ in lines],
        hovertemplate="%{text} " + name + "<extra></extra>",
        mode="markers",
        name=name,
        legendgroup=name,
        marker={"color": colour, "symbol": mark, "size": 8},
    )


def histories(experiments: Sequence[Experiment]) -> Plot:
    """The best so far of several experiments, trial by trial."""
    metric = label(experiments[0].settings.metric)
    studies = [experiment.study(text=label, history=False) for experiment in experiments]
    figure = visualization.plot_optimization_history(studies, target_name=metric)
    for mode, what in (("markers", "trial of"), ("lines", "best so far of")):
        traces = [t for t in figure.data if t.mode == mode and t.showlegend is not False]
        for index, (trace, experiment) in enumerate(zip(traces, experiments, strict=True)):
            colour = COLOURS[index % len(COLOURS)]
            trace.update(line_color=colour, marker_color=colour)
            trace.update(name=f"{what} {label(experiment.name)}")
            trace.update(opacity=0.5 if mode == "markers" else 1)
    return Plot("Optimisation history", HISTORY, _styled(figure))


def best_by_iteration(experiments: Sequence[Experiment]) -> Plot:
    """METRIC of each experiment's best trial by iteration."""
    figure = go.Figure()
    for index, experiment in enumerate(experiments):
        best = experiment.best_trial
        if best is not None and (curve := _curve(experiment, best)):
            figure.add_trace(
                go.Scatter(
                    x=[iteration for iteration, _ in curve],
                    y=[value for _, value in curve],
                    mode="lines+markers",
                    line_color=COLOURS[index % len(COLOURS)],
                    name=label(experiment.name),
                )
            )
    figure.update_xaxes(title="iteration")
    figure.update_yaxes(title=label(experiments[0].settings.metric))
    note = "The best trial of each experiment."
    return Plot("Metric by iteration", note, _styled(figure))
