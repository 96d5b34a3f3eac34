"""The search space as text, which experiment.json keeps and a resume compares.

The text is the same in every process. It has a digest of the code of a function, and of the content
of an object.
"""

import hashlib
from numbers import Number
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
from ray.tune.search.sample import Categorical, Float, Function, Integer

from ..store.saved_trials import FIXED
from .space import Space, constants, variables


def describe_space(space: Space) -> dict[str, str]:
    """The description of each value of the space, by name, hyperparameters first.

    Raises ValueError, in one line, for a value that can't be described.
    """
    fixed, found = constants(space), {}
    for name, value in ({k: domain for k, (_, domain) in variables(space).items()} | fixed).items():
        try:
            found[name] = FIXED * (name in fixed) + describe(value)
        except ValueError as error:
            raise ValueError(f"{name!r} holds {error}") from None
    return found


def describe(value: Any, inside: tuple[FunctionType, ...] = ()) -> str:
    """A domain, or a value in one, as text.

    inside: the functions whose code is being described. Objects that they use, and functions of
        other modules, are described by name only.

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
    """The sampler and its arguments: LogUniform q=0.1, Normal mean=0 sd=1."""
    own = {key: value for key, value in vars(sampler).items() if key != "sampler"}
    inner = getattr(sampler, "sampler", None)
    how = _sampler(inner) if inner else type(sampler).__name__.strip("_")
    return " ".join([how, *(f"{key}={describe(value)}" for key, value in own.items())])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _code(function: FunctionType, inside: tuple[FunctionType, ...]) -> str:
    """What a function does: its code, its defaults, its closure, and the globals that it uses."""
    codes, parts = [function.__code__], list[Any]()
    for code in codes:  # which grows by the functions inside the function
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
    """The content of an object, as pickle would save it, but the same in every process."""
    try:
        made = value.__reduce_ex__(2)
        if isinstance(made, str):
            return made
        _, arguments, state, items, pairs = [*made[:5], None, None, None][:5]
        return describe([arguments, state, list(items or ()), list(pairs or ())])
    except (TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"a {name}, which has no stable description: {error}") from None
