"""Search spaces of any kind: describe and compare, saved and shown, points, corners.

A leaf of a space is drawn as a recipe, `("uniform", 0, 1)`, so that the same space can be made
twice, as by two processes, with objects of its own each time.
"""

import copy
import functools
import json
import math
import operator
import os
import re
import subprocess
import sys
import threading
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness.configuration import Configuration
from harness.errors import Refusal
from harness.run.preflight import Preflight
from harness.run.search_checks import check_search
from harness.store import dataset
from harness.store import saved_trials as saved
from harness.store.differences import differences
from harness.store.record import Record
from harness.store.storage import Folder
from harness.tune import make_search
from harness.tune.description import describe, describe_space
from harness.tune.points import read_point
from harness.tune.ray_internals import patch_ray
from harness.tune.search import RandomSearch
from harness.tune.space import (
    bounds,
    chosen,
    corners,
    filled,
    plain,
    trials_per_sample,
    variables,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from ray import tune
from ray.tune.experiment import Experiment, Trial
from ray.tune.impl.placeholder import (
    create_resolvers_map,
    inject_placeholders,
    resolve_placeholders,
)
from ray.tune.search.sample import Categorical, Float, Function, Integer
from ray.tune.search.variant_generator import generate_variants
from ray.tune.utils.serialization import TuneFunctionEncoder
from stub import Settings

from tests.harness.saved import changed

SAMPLED = ["import random\ndef f(): return random.random()", "f = lambda: 3", "f = lambda: 4"]
settings.register_profile("harness", deadline=None, derandomize=True, max_examples=150)
settings.load_profile("harness")

Recipe = tuple[Any, ...]
least, step = st.integers(1, 20), st.integers(1, 5)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.0, 1.0, -0.5, 1e-05, math.inf]),
    st.text(max_size=3),
)
categories = st.lists(scalars | st.lists(scalars, max_size=2), min_size=1, max_size=4)


def ranges(kind: str, *, times: Any = int, q: bool = False) -> st.SearchStrategy[Recipe]:
    """A range from `least` upwards, with bounds that are multiples of a quantum if it has one."""
    return st.builds(
        lambda low, size, by: (kind, times(low * by), times((low + size) * by), *([times(by)] * q)),
        least,
        step,
        step if q else st.just(1),
    )


leaves = st.one_of(
    ranges("uniform", times=float),
    ranges("loguniform", times=float),
    ranges("quniform", times=lambda number: number / 10, q=True),
    ranges("qloguniform", times=lambda number: number / 10, q=True),
    ranges("randint"),
    ranges("lograndint"),
    ranges("qrandint", q=True),
    ranges("qlograndint", q=True),
    st.tuples(st.just("randn"), st.integers(-2, 2), st.sampled_from([0.5, 1.0])),
    st.tuples(st.just("qrandn"), st.integers(-2, 2), st.just(1.0), st.sampled_from([0.1, 0.5])),
    st.tuples(st.just("choice"), categories),
    st.tuples(st.just("grid_search"), categories),
    st.tuples(st.just("sample_from"), st.sampled_from(SAMPLED)),
    st.tuples(st.just("fixed"), scalars),
)
names = st.text(min_size=1, max_size=4) | st.sampled_from(["a.b", "läß", "_type", "seed", "0"])
trees = st.dictionaries(
    names.filter(lambda name: "/" not in name and name not in {"eval", "grid_search"}),
    st.recursive(
        leaves,
        lambda inner: (
            st.dictionaries(st.sampled_from("uvw"), inner, min_size=1, max_size=3)
            | st.lists(inner, min_size=1, max_size=2)
        ),
        max_leaves=4,
    ),
    max_size=4,
)


def made(tree: Any) -> Any:
    """The search space of a tree of recipes."""
    if isinstance(tree, dict):
        return {name: made(inner) for name, inner in tree.items()}
    if isinstance(tree, list):
        return [made(inner) for inner in tree]
    kind, *arguments = tree
    if kind == "fixed":
        return arguments[0]
    if kind == "sample_from":
        return tune.sample_from(function(arguments[0]))
    return getattr(tune, kind)(*arguments)


def function(source: str, **there: Any) -> Any:
    """The function `f` of a new module that holds the source."""
    module = types.ModuleType("their_space")
    vars(module).update(there)
    exec(source, vars(module))
    return module.f


def sampled(space: dict[str, Any]) -> dict[str, Any]:
    """A configuration, as `tune.run` draws it."""
    resolvers = create_resolvers_map()
    config = inject_placeholders(copy.deepcopy(space), resolvers)
    config = next(generate_variants({"config": config}))[1]["config"]
    resolve_placeholders(config, resolvers)
    return dict(config)


def as_saved(config: Any) -> Any:
    """What `list`, `show` and `trials` find of a configuration: JSON."""
    return json.loads(json.dumps(config, cls=TuneFunctionEncoder))


def record(space: dict[str, Any], folder: Path) -> Record:
    said = dataset.describe(None)
    made = Record.new(Folder.open(str(folder)) / "x", "stub", describe_space(space), [], said)
    made.content["settings"] = {}
    return made


@given(trees)
def test_a_space_is_described_the_same_each_time(tree: Any) -> None:
    said = describe_space(made(tree))
    assert said == describe_space(made(tree)) == json.loads(json.dumps(said))
    assert " at 0x" not in "".join(said.values())
    assert saved.tuned(said) == list(variables(made(tree)))


@given(leaves, leaves)
def test_what_draws_otherwise_is_described_otherwise(one: Recipe, other: Recipe) -> None:
    assert (describe_space({"x": made(one)}) == describe_space({"x": made(other)})) == (
        repr(one) == repr(other)
    )


DIFFERENT: list[tuple[Any, Any]] = [
    (tune.quniform(0, 1, 0.1), tune.quniform(0, 1, 0.2)),
    (tune.uniform(1, 10), tune.loguniform(1, 10)),
    (tune.randn(0, 1), tune.randn(1, 1)),
    (tune.randn(0, 1), tune.randn(0, 2)),
    (tune.qrandint(0, 8, 2), tune.qrandint(0, 8, 4)),
    (tune.choice([1]), tune.choice([True])),
    (tune.choice([1]), tune.choice([1.0])),
    (tune.choice([1]), tune.choice(["1"])),
    (tune.choice([(1, 2)]), tune.choice([[1, 2]])),
    (tune.choice([1, 2]), tune.choice([1, 2, 2])),
    (tune.choice([1, 2]), tune.grid_search([1, 2])),
    (tune.grid_search([1, 2]), tune.grid_search([2, 1])),
    (tune.choice([math.sin]), tune.choice([math.cos])),
    (tune.choice([np.arange(5000)]), tune.choice([np.arange(5000) * 2])),
    (tune.choice([{"m": tune.uniform(0, 1)}]), tune.choice([{"m": tune.uniform(0, 2)}])),
    (tune.sample_from(lambda: 3), tune.sample_from(lambda: 4)),
    (tune.sample_from(lambda a=1: a), tune.sample_from(lambda a=2: a)),
    (function("f = lambda: LOW", LOW=1), function("f = lambda: LOW", LOW=2)),
    (
        function("g = lambda: 1\nf = lambda: [g() for _ in 'ab']"),
        function("g = lambda: 2\nf = lambda: [g() for _ in 'ab']"),
    ),
    (functools.partial(print, 1), functools.partial(print, 2)),
    (1, "1"),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT, ids=range(len(DIFFERENT)))
def test_what_changes_the_distribution_is_seen(one: Any, other: Any) -> None:
    assert describe_space({"x": one}) != describe_space({"x": other})


def test_a_change_is_told_in_one_line_by_name(empty_folder: Path) -> None:
    was = {"opt": {"momentum": tune.uniform(0, 1), "b": tune.choice([1])}, "n": tune.randint(1, 9)}
    now = {"opt": {"momentum": tune.uniform(0, 2), "b": tune.choice([1])}, "m": 3}
    found = differences(record(was, empty_folder), Settings(), describe_space(now))
    assert found == [
        "search space: m was not there, is fixed 3",
        "search space: n was Integer(1, 9) Uniform, is gone",
        "search space: opt/momentum was Float(0, 1) Uniform, is Float(0, 2) Uniform",
    ]


DESCRIBED = '''
import math, sys, types
from ray import tune
from harness.tune.description import describe_space

class Kept:
    def __init__(self): self.words, self.size = {"one", "two", "three"}, math.pi

def seen():
    """Words are not code."""

def outer(far):
    def inner(spec):  # Words
        return far if spec.config.a in {"one", "two", "three"} else {"four", "five"}
    return inner

print(describe_space({
    "a": tune.choice([frozenset({"one", "two", "three"}), Kept(), Kept, math.sin, len, seen]),
    "b": {"c": tune.sample_from(outer({"one", "two", "three"}))},
    "d": Kept(),
}))
'''


def test_a_description_is_the_same_in_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    said = set()
    for seed, code in (("1", DESCRIBED), ("2", DESCRIBED.replace("Words", "Other words"))):
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        command = [sys.executable, "-c", code]
        said.add(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert len(said) == 1


@given(trees)
def test_what_is_saved_is_what_is_shown(tree: Any) -> None:
    config, space = sampled(made(tree)), made(tree)
    shown = saved.chosen(as_saved(config), saved.tuned(describe_space(space)))
    expected = {
        name: functools.reduce(operator.getitem, path, config)
        for name, (path, _) in variables(space).items()
    }
    assert repr(sorted(shown.items())) == repr(sorted(expected.items()))
    assert chosen(config, variables(space)) == shown


def test_what_is_no_json_is_shown_by_its_name() -> None:
    space = {
        "f": tune.choice([math.sin]),
        "n": tune.choice([np.int64(5)]),
        "d": tune.choice([{"kind": "sgd", "rates": [1, 2], "deep": {"m": tune.uniform(1, 2)}}]),
        "object": tune.choice([threading.local]),
        "lambda": tune.choice([lambda: 3]),
    }
    shown = saved.chosen(as_saved(sampled(space)), saved.tuned(describe_space(space)))
    assert shown.pop("lambda").startswith("function ")
    assert 1 <= shown.pop("d/deep/m") <= 2
    assert shown == {
        "f": "math.sin",
        "n": 5,
        "d/kind": "sgd",
        "d/rates": [1, 2],
        "object": "_thread._local",
    }


def test_a_function_without_a_name_is_shown_the_same_in_every_process(empty_folder: Path) -> None:
    (empty_folder / "theirs.py").write_text(
        "import math, sys\na, b, c = range(3)\n"
        "f = lambda sys_x, math_y: (a, b, c, math.pi, sys.path, sys_x, {'a', 'b'}, 'theirs')"
    )
    code = (
        "import sys, os\nsys.path.insert(0, os.getcwd())\nfrom theirs import f\n"
        "from harness.tune.space import plain\nprint(plain(f))"
    )
    said = set()
    for seed in ("1", "2", "3"):  # the second time the module comes from its cache
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": ""}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        said.add(done.stdout)
    (only,) = said
    assert re.fullmatch(r"function [0-9a-f]{6}\n", only)


def test_to_show_a_pickle_executes_nothing() -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (os._exit, (1,))

    assert saved.readable(as_saved(Evil())).startswith("posix._exit")
    assert saved.readable({"_type": saved.PICKLED, "value": "80"}) == "an object"


def about(config: Any) -> Any:
    """A configuration with its numbers rounded to 15 digits; 1, 1.0 and true are not the same."""
    return json.loads(json.dumps(config), parse_float=lambda text: f"{float(text):.15g} float")


@given(trees)
def test_a_trial_of_an_experiment_is_a_point_of_another(tree: Any) -> None:
    config, space = sampled(made(tree)), made(tree)
    point = saved.chosen(as_saved(config), variables(space))
    again = filled(space, read_point(json.loads(json.dumps(point)), space, whole=True))
    # What is quantised may be drawn as 0.30000000000000004, a little above its bound.
    assert about(again) == about(config)


def test_a_point_of_values_that_are_no_json() -> None:
    space = {
        "layers": tune.choice([(64,), (64, 32)]),
        "activation": tune.choice([math.sin, math.cos]),
        "n": tune.choice([np.int64(4), np.int64(5)]),
        "opt": tune.choice([{"kind": "a"}, {"kind": "b", "m": tune.uniform(0, 1)}]),
        "list": [tune.uniform(0, 1), 7],
        "q": tune.quniform(0, 0.3, 0.1),
        "steps": tune.qrandint(2, 10, 4),
    }
    values = {
        "layers": (64, 32),
        "activation": math.cos,
        "n": np.int64(5),
        "opt": {"kind": "b", "m": 0.5},
        "list/0": 0.25,
        "q": 0.3,
        "steps": 8,
    }
    config = filled(space, {**values, "q": 3 * 0.1})  # what Ray draws is a little above 0.3
    assert read_point(saved.chosen(as_saved(config), variables(space)), space, whole=True) == values
    assert read_point({"opt": {"kind": "b", "m": 0.5}, "list": [0.25, 7]}, space, whole=False) == {
        "opt": values["opt"],
        "list/0": 0.25,
    }


@pytest.mark.parametrize(
    ("point", "reason"),
    [
        ({"a": {"x": 3}}, "a/x=3 is not in Integer(0, 3) Uniform"),
        ({"a": {"x": 1.5}}, "a/x=1.5 is not in"),
        ({"a": {"x": True}}, "a/x=True is not in"),
        ({"a": {"z": 1}}, "no hyperparameter 'a/z'"),
        ({"a": 1}, "no hyperparameter 'a'"),
        ({"a": 1, "a/x": 1}, "a name has both a value and nested values"),
        ({"a": {"y": 8}}, "a/y=8, but the search space has it as 7"),
        ({"a": {"y": 7}}, "a/x is missing"),
        ({"a": {"x": 1}, "c": 1}, "c=1 is not in Categorical[True, '1']"),
        ({"a": {"x": 1}, "c": {"kind": 1}}, "c={'kind': 1} is not in"),
    ],
)
def test_a_point_that_does_not_fit_is_named(point: dict[str, Any], reason: str) -> None:
    space = {"a": {"x": tune.randint(0, 3), "y": 7}, "c": tune.choice([True, "1"])}
    with pytest.raises(ValueError, match=f"^{__import__('re').escape(reason)}"):
        read_point(point, space, whole=True)


class Sweep:
    """The trials that `tune.run` makes of a space, without Ray."""

    def __init__(self, space: dict[str, Any], points: list[Any], samples: int) -> None:
        self.search = RandomSearch(Settings(num_samples=samples, seed=7), points, space)
        self.resolvers = create_resolvers_map()
        tune.register_trainable("trainable", tune.Trainable)
        experiment = Experiment(
            "trainable",
            "trainable",
            config=inject_placeholders(copy.deepcopy(space), self.resolvers),
            num_samples=samples,
            storage_path=str(Path.cwd()),
        )
        self.search.add_configurations([experiment])
        patch_ray()

    def trials(self, search: RandomSearch | None = None) -> list[Trial]:
        found = list(iter((search or self.search).next_trial, None))
        for trial in found:
            trial.resolve_config_placeholders(self.resolvers)
        return found


def test_points_come_first(empty_folder: Path) -> None:
    space = {
        "layers": tune.choice([[64], [64, 32]]),
        "opt": {"m": tune.uniform(0, 1)},
        "kind": tune.choice([{"k": "a", "m": tune.uniform(0, 1)}]),
        "grid": tune.grid_search([1, 2]),
        "call": tune.choice([math.sin, math.cos]),
        "twice": tune.sample_from(lambda config: config["opt"]["m"] * 2),
    }
    kind = {"k": "a", "m": 0.5}
    points = [
        {"layers": [64, 32], "opt/m": 0.25, "kind": kind, "grid": 2, "call": math.cos, "twice": 7},
        {"opt/m": 0.75},
    ]
    sweep = Sweep(space, points, 3)
    first, *others = configs = [trial.config for trial in sweep.trials()]
    assert first == {
        "layers": [64, 32],
        "opt": {"m": 0.25},
        "kind": kind,
        "grid": 2,
        "call": math.cos,
        "twice": 7,
    }
    assert [(config["grid"], config["twice"]) for config in others[:2]] == [(1, 1.5), (2, 1.5)]
    assert sweep.search.total_samples == len(configs) == 1 + 2 + trials_per_sample(space)
    assert all(0 <= config["kind"]["m"] <= 1 for config in others)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_more_samples_are_those_of_one_longer_run(empty_folder: Path, count: int) -> None:
    space = {"a": tune.uniform(0, 1), "grid": tune.grid_search([1, 2])}
    points = [{"a": number / 10} for number in range(count)]
    longer = Sweep(space, points, 5)
    shorter = Sweep(space, points, 3)
    trials = shorter.trials()
    extended = RandomSearch(
        Settings(num_samples=5, resume="extend", name="x", storage_path=str(empty_folder))
    )
    extended.set_state(shorter.search.get_state())
    assert extended.total_samples == longer.search.total_samples == 10
    trials += shorter.trials(extended)
    assert [trial.config for trial in trials] == [trial.config for trial in longer.trials()]


def test_a_restored_trial_keeps_what_was_sampled(empty_folder: Path) -> None:
    drawn = iter(range(100))
    space = {
        "n": tune.sample_from(lambda: next(drawn)),
        "call": tune.choice([math.sin]),
        "opt": tune.choice([{"n": tune.sample_from(lambda: next(drawn)), "m": tune.uniform(0, 1)}]),
    }
    sweep = Sweep(space, [], 1)
    (trial,) = sweep.trials()
    trial.create_placement_group_factory()
    trial.config["opt"]["m"] = 2  # as SCHEDULER=pbt may do
    restored = Trial.from_json_state(trial.get_json_state()[0], stub=True)
    restored.resolve_config_placeholders(sweep.resolvers)
    expected = {"n": 0, "call": math.sin, "opt": {"n": 1, "m": 2}}
    assert restored.config == trial.config == expected


def test_a_searcher_that_learns_takes_functions_and_objects() -> None:
    space = {
        "call": tune.choice([math.sin, math.cos]),
        "opt": {"m": tune.uniform(0, 1)},
        "n": tune.sample_from(lambda: 3),
    }
    point = {"call": "math.cos", "opt/m": 0.5, "n": 3}
    searching = make_search(Settings(search_alg="optuna"), space, [point])
    resolvers = create_resolvers_map()
    config = inject_placeholders(copy.deepcopy(space), resolvers)
    searching.set_search_properties("score", "max", config)
    proposed = searching.searcher.suggest("1")
    resolve_placeholders(proposed, resolvers)
    assert proposed == {"call": math.cos, "opt": {"m": 0.5}}
    assert check_search(Settings(search_alg="optuna"), space, []) == []


@given(trees)
def test_corners_are_configurations_of_the_space(tree: Any) -> None:
    space = made(tree)
    found = corners(space)
    for name, (path, domain) in variables(space).items():
        values = [functools.reduce(operator.getitem, path, corner) for corner in found]
        if isinstance(domain, Categorical):
            assert {repr(value) for value in values} == {repr(one) for one in domain.categories}
        elif isinstance(domain, Float | Integer):
            assert all(domain.is_valid(value) for value in values), name
            ends = (min(values), max(values))
            assert not all(map(math.isfinite, bounds(domain))) or ends == bounds(domain)
        else:
            assert isinstance(domain, Function)
    for corner in found:
        assert not variables(corner)
        read_point(saved.chosen(as_saved(corner), variables(space)), space, whole=True)


@given(st.one_of(ranges("randint"), ranges("lograndint"), ranges("qrandint", q=True),
                 ranges("qlograndint", q=True)), least)  # fmt: skip
def test_the_bounds_of_integers_are_what_ray_draws(recipe: Recipe, shift: int) -> None:
    kind, low, high, *quantum = recipe
    domain = getattr(tune, kind)(low, high + (shift if quantum else 0), *quantum)
    values = domain.sample(size=3000, random_state=np.random.default_rng(1))
    assert (min(values), max(values)) == bounds(domain)


def test_corners_of_conditions() -> None:
    space = {
        "opt": {
            "a": tune.choice([1, 10]),
            "b": tune.sample_from(lambda config: config["opt"]["a"] * 2),
            "c": tune.sample_from(lambda spec: spec.config.opt.a * 3),
        },
        "kind": tune.choice([{"k": "x", "m": tune.uniform(0, 1)}, {"k": "y"}]),
        "normal": tune.qrandn(1, 2, 0.5),
    }
    found = corners(space)
    least, most = {"a": 1, "b": 2, "c": 3}, {"a": 10, "b": 20, "c": 30}
    assert [one["opt"] for one in found] == [least, least, most]
    assert [one["kind"] for one in found] == [
        {"k": "x", "m": 0.0},
        {"k": "x", "m": 1.0},
        {"k": "y"},
    ]
    assert [one["normal"] for one in found] == [-5.0, -5.0, 7.0]


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("f = lambda config: config['b'] * 2", "'x' can't be sampled: KeyError: 'b'"),
        ("f = lambda: 1 / 0", "'x' can't be sampled: ZeroDivisionError: division by zero"),
        ("f = lambda config: config['x'] + 1", "'x' can't be sampled: TypeError: "),
    ],
)
def test_a_function_that_fails_is_said_in_one_line(source: str, cause: str) -> None:
    with pytest.raises(ValueError, match=cause) as caught:
        corners({"a": tune.uniform(0, 1), "x": tune.sample_from(function(source))})
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("space", "reason"),
    [
        (
            {"x": {"y": tune.choice([threading.Lock()])}},
            "'x/y' holds a _thread.lock, which has no stable description: cannot pickle",
        ),
        ({"a/b": tune.uniform(0, 1), "a": {"b": 1}}, "there are two values called 'a/b'"),
        ({"x": tune.choice([])}, "'x' has no values to choose from"),
        ({"x": tune.randint(3, 3)}, "'x' has no values to choose from"),
    ],
)
def test_a_space_that_is_none_is_refused(space: dict[str, Any], reason: str) -> None:
    ready = Preflight(Configuration(changed(search_space=lambda: space), Settings()))
    with pytest.raises(Refusal) as caught:
        ready.check_place()
    assert str(caught.value).startswith(f"search_space.py: {reason}")


def test_check_says_that_a_function_fails() -> None:
    space = {"a": tune.uniform(0, 1), "x": tune.sample_from(lambda spec: spec.config.b * 2)}
    ready = Preflight(Configuration(changed(search_space=lambda: space), Settings()))
    ready.check_place()
    ready.check_content()
    (finding,) = ready.findings
    assert finding.startswith("search_space.py: 'x' can't be sampled: AttributeError: ")


def test_names_of_other_modules_functions_are_enough() -> None:
    one = function("f = lambda: there()", there=json.dumps)
    assert describe(one) == describe(function("f = lambda: there()", there=json.dumps))
    assert describe(one) != describe(function("f = lambda: there()", there=json.loads))
    assert plain({"f": json.dumps}) == {"f": "json.dumps"}
