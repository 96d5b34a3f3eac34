"""The search space: its hyperparameters by name, its description, its corners.

A nested hyperparameter is called `outer/inner`, as in Ray's own results.
"""

import copy
import hashlib
import json
import math
from collections.abc import Collection
from numbers import Number
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
from ray.tune.impl.placeholder import (
    _FunctionResolver,
    _RefResolver,
    create_resolvers_map,
    inject_placeholders,
)
from ray.tune.search.sample import (
    Categorical,
    Domain,
    Float,
    Function,
    Integer,
    Normal,
    Quantized,
)
from ray.tune.search.variant_generator import assign_value, parse_spec_vars
from ray.tune.utils.serialization import TuneFunctionEncoder

from ..store import saved_trials as saved

Space = dict[str, Any]
SIGMAS = 3  # of a normal distribution: it has no bounds


def variables(space: Space) -> dict[str, tuple[tuple[Any, ...], Domain]]:
    """What is tuned, by name: its path in the space, and its domain; a grid is a Categorical.

    Raises ValueError for two hyperparameters of one name, and for one without values.
    """
    fixed, sampled, grids = parse_spec_vars(space)
    found = {_name(path): (path, domain) for path, domain in [*sampled, *grids]}
    names = [_name(path) for path, _ in [*fixed, *sampled, *grids]]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"there are two values called {twice[0]!r}, one of them nested")
    for name, (_, domain) in found.items():
        ends = bounds(domain) if isinstance(domain, Integer) else (0, 0)
        if ends[0] > ends[1] or (isinstance(domain, Categorical) and not domain.categories):
            raise ValueError(f"{name!r} has no values to choose from")
    return found


def constants(space: Space) -> Space:
    """What is not tuned, by name."""
    return {_name(path): value for path, value in parse_spec_vars(space)[0]}


def _name(path: tuple[Any, ...]) -> str:
    return "/".join(map(str, path))


def filled(space: Space, values: dict[str, Any], into: Space | None = None) -> Space:
    """The space with values, by name, in the place of what is tuned.

    into: the space with Ray's stand-ins (`with_stand_ins`)
    """
    known, found = variables(space), copy.deepcopy(space if into is None else into)
    for name, value in values.items():
        assign_value(found, known[name][0], value)
    return found


def with_stand_ins(space: Space) -> Space:
    """The space as `tune.run` gives it to a search algorithm: of functions and objects, marks."""
    resolvers = create_resolvers_map()
    return inject_placeholders(copy.deepcopy(space), resolvers)


def is_mark(value: Any) -> bool:
    """Whether it is a mark of Ray's for a function or an object."""
    marks = {_FunctionResolver.TOKEN, _RefResolver.TOKEN}
    return isinstance(value, tuple) and len(value) == 2 and value[0] in marks


def stand_in(space: Space, values: dict[str, Any]) -> dict[str, Any]:
    """The values of categories, by name, as `with_stand_ins` has them; it has no functions."""
    known, marked = variables(space), variables(with_stand_ins(space))
    found = {}
    for name, value in values.items():
        if name in marked:
            domain, its = known[name][1], marked[name][1]
            if isinstance(domain, Categorical) and isinstance(its, Categorical):
                position = next(i for i, one in enumerate(domain.categories) if one is value)
                value = its.categories[position]
            found[name] = value
    return found


def trials_a_sample(space: Space, given: Collection[str] = ()) -> int:
    """How many trials a sample makes: one for each combination of the values of its grids.

    given: names that have a value already
    """
    return math.prod(
        len(domain.categories)
        for name, (_, domain) in variables(space).items()
        if isinstance(domain, Categorical) and domain.is_grid() and name not in given
    )


def plain(value: Any) -> Any:
    """A value of a configuration as it is read back from Ray's saved state."""
    text = json.dumps(value, cls=TuneFunctionEncoder)
    return json.loads(text, object_hook=saved.readable)


def chosen(config: Space, names: Collection[str]) -> dict[str, Any]:
    """What was chosen for a trial of this process, by name: as `trials` reads it afterwards."""
    return saved.chosen(plain(config), names)


def bounds(domain: Float | Integer) -> tuple[Any, Any]:
    """The least and the largest value; infinite for a normal distribution."""
    sampler: Any = domain.get_sampler()  # type: ignore[no-untyped-call]
    if isinstance(domain, Float):
        return domain.lower, domain.upper
    q = sampler.q if isinstance(sampler, Quantized) else 1
    if q == 1:  # only then Ray leaves the upper bound out
        return domain.lower, domain.upper - 1
    return math.ceil(domain.lower / q) * q, math.floor(domain.upper / q) * q


def corners(space: Space) -> list[Space]:
    """One configuration a bound: everything least, everything most, each category once.

    A normal distribution ends at three standard deviations; a `tune.sample_from` is called with
    the corner's other values, as in a trial. Raises ValueError when it fails.
    """
    ends = {
        name: _ends(domain)
        for name, (_, domain) in variables(space).items()
        if not isinstance(domain, Function)
    }
    if not ends:
        return [_resolved(space)]
    found = []
    for index in range(max(map(len, ends.values()))):
        corner = {name: values[min(index, len(values) - 1)] for name, values in ends.items()}
        found += corners(filled(space, corner))  # a category may be a search space of its own
    return found


def _ends(domain: Domain) -> list[Any]:
    if isinstance(domain, Categorical):
        return list(domain.categories)
    if not isinstance(domain, Float | Integer):
        return [domain.sample()]
    ends: tuple[Any, ...] = bounds(domain)
    sampler: Any = domain.get_sampler()  # type: ignore[no-untyped-call]
    normal = sampler.sampler if isinstance(sampler, Quantized) else sampler
    if isinstance(normal, Normal):
        ends = (normal.mean - SIGMAS * normal.sd, normal.mean + SIGMAS * normal.sd)
        if isinstance(sampler, Quantized):
            ends = tuple(round(end / sampler.q) * sampler.q for end in ends)
    return list(dict.fromkeys(domain.cast(end) for end in ends))  # type: ignore[no-untyped-call]


def _resolved(space: Space) -> Space:
    """The space with what its functions return; like Ray, they are called in order, at last."""
    config = copy.deepcopy(space)
    for name, (path, domain) in variables(space).items():
        try:
            assign_value(config, path, domain.sample(config=config))
        except Exception as error:  # whatever the function raises
            reason = f"{type(error).__name__}: {error}"
            raise ValueError(f"{name!r} can't be sampled: {reason}") from None
    return config


def describe_space(space: Space) -> dict[str, str]:
    """What the space says of each name, to be read, kept and compared: what is tuned first.

    It is the same in every process. Raises ValueError, in one line, for what can't be described.
    """
    fixed, found = constants(space), {}
    for name, value in ({k: domain for k, (_, domain) in variables(space).items()} | fixed).items():
        try:
            found[name] = saved.FIXED * (name in fixed) + describe(value)
        except ValueError as error:
            raise ValueError(f"{name!r} holds {error}") from None
    return found


def describe(value: Any, inside: tuple[FunctionType, ...] = ()) -> str:
    """A domain, or a value in one, as text.

    inside: the functions whose code is being described; of objects that they use, and of other
    modules' functions, only the name counts

    Raises ValueError for an object whose content can't be read.
    """
    if isinstance(value, Function):
        return f"sample_from({describe(value.func)})"
    if isinstance(value, Float | Integer | Categorical):
        inner = describe(value.categories) if isinstance(value, Categorical) else value.domain_str
        return f"{type(value).__name__}{inner} {_sampler(value.get_sampler())}"  # type: ignore[no-untyped-call]
    if value is None or isinstance(value, str | bytes | Number | np.generic):
        return repr(value)
    if isinstance(value, dict):
        pairs = (f"{describe(k, inside)}: {describe(v, inside)}" for k, v in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list | tuple | set | frozenset):
        parts = [describe(part, inside) for part in value]
        if isinstance(value, set | frozenset):
            return f"{type(value).__name__}({', '.join(sorted(parts))})"
        return f"[{', '.join(parts)}]" if isinstance(value, list) else f"({', '.join(parts)},)"
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if isinstance(name, str) and not isinstance(value, MethodType):
        name = f"{getattr(value, '__module__', None) or ''}.{name}".strip(".")
        if not isinstance(value, FunctionType) or value in inside:
            return name
        if inside and value.__module__ != inside[0].__module__:
            return name
        return f"{name} {_digest(_code(value, (*inside, value)))}"
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    return name if inside else f"{name} {_digest(_content(value, name))}"


def _sampler(sampler: Any) -> str:
    """How it draws: LogUniform q=0.1, Normal mean=0 sd=1."""
    own = {key: value for key, value in vars(sampler).items() if key != "sampler"}
    inner = getattr(sampler, "sampler", None)
    how = _sampler(inner) if inner else type(sampler).__name__.strip("_")
    return " ".join([how, *(f"{key}={describe(value)}" for key, value in own.items())])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _code(function: FunctionType, inside: tuple[FunctionType, ...]) -> str:
    """What a function does: its code, its defaults, and the values that it finds outside."""
    codes, parts = [function.__code__], list[Any]()
    for code in codes:  # it grows: functions within the function
        parts += [code.co_code, code.co_names]
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                codes.append(constant)
            elif constant != function.__doc__:
                parts.append(constant)
    names = dict.fromkeys(name for code in codes for name in code.co_names)
    found = {name: function.__globals__[name] for name in names if name in function.__globals__}
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    return describe([parts, function.__defaults__, function.__kwdefaults__, cells, found], inside)


def _content(value: Any, name: str) -> str:
    """What an object holds, as its pickle does, but the same in every process."""
    try:
        made = value.__reduce_ex__(2)
        if isinstance(made, str):
            return made
        _, arguments, state, items, pairs = [*made[:5], None, None, None][:5]
        return describe([arguments, state, list(items or ()), list(pairs or ())])
    except (TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"a {name}, which has no stable description: {error}") from None
