"""The data of an experiment: its description, its digest, and whether it has changed.

The digest is of what `load_data` returned, as the model gets it: a file that was moved holds the
same data, another split of the same file is other data.
"""

import hashlib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..configuration import flag
from ..errors import Refusal, reason
from ..project import Project
from ..settings import RunSettings
from .differences import brief

LARGEST = 256 * 2**20  # bytes that are digested, of all arrays together
BLOCKS = 64  # of each array are digested when the arrays are larger than that
LONGEST = 2**16  # items that are digested of a list of lists, dicts or arrays
TEXT = 64  # digesting a text takes as long as digesting this many bytes
NAMED = 8  # how many arrays `arrays` names
TIMES = (date, timedelta, pd.Period, pd.Interval)
PLAIN = (bool, int, float, complex, Decimal, np.generic, str, bytes, *TIMES)
NOTHING = (type(None), type(pd.NA), type(pd.NaT))


def load(project: Project, settings: RunSettings) -> Any:
    """What `load_data` returns. Raises Refusal, in one line, for its OSError or ValueError."""
    load_data = project.parts().load_data
    if load_data is None:
        return None
    try:
        return load_data(settings)
    except (OSError, ValueError) as error:
        own = {f: str(v) for f, v in settings if f not in RunSettings.model_fields}
        named = [f for f, value in own.items() if "/" in value and value in str(error)]
        if not named:
            raise Refusal(f"data: {reason(error)}") from None
        hint = ""
        if isinstance(error, FileNotFoundError):
            hint = f"; {flag(named[0])} names where it is"
        why = (isinstance(error, OSError) and error.strerror) or reason(error)
        why = re.sub(rf"^{re.escape(own[named[0]])}:? ", "", why)  # the message begins with it
        raise Refusal(f"{settings.given(named[0])}: {why}{hint}") from None


def describe(data: Any) -> dict[str, Any]:
    """What experiment.json says of the data: `description`, `arrays` and `digest`.

    description: the attribute, or key, `description` of what `load_data` returned
    arrays: the names of its arrays, their shapes and types
    digest: of all its arrays, numbers and texts, equal in each process; None when it has none

    It looks into dataclasses, dicts, lists, tuples, tables of pandas and SciPy, and all that NumPy
    can make an array of. Objects of other classes are left out, for example a fitted transformer:
    the rows that it made count. Of more than 256 MB, 64 blocks of each array are digested, evenly
    spread (0.2 s). float64 is digested as float32: its last bits depend on the processor.
    """
    leaves = list(_leaves(data))
    arrays = {name: leaf for name, leaf in leaves if isinstance(leaf, np.ndarray)}
    part = min(1.0, LARGEST / max(1, sum(map(_cost, arrays.values()))))
    digest = hashlib.sha256()
    for name, leaf in leaves:
        if isinstance(leaf, np.ndarray):
            digest.update(f"{name} {leaf.dtype.str} {leaf.shape}\n".encode())
            for block in _blocks(leaf, part):
                digest.update(_stable(block).data)
        else:
            digest.update(f"{name} {leaf!r}\n".encode())
    outer = [name for name in arrays if "." not in name] or list(arrays)  # no columns of a table
    named = [f"{name} {_shape(arrays[name])} {arrays[name].dtype}".strip() for name in outer]
    return {
        "description": _description(data),
        "arrays": ", ".join(named[:NAMED]) + (", …" if named[NAMED:] else ""),
        "digest": digest.hexdigest() if any(leaf is not None for _, leaf in leaves) else None,
    }


def difference(was: dict[str, Any], now: dict[str, Any]) -> str | None:
    """How the data has changed, in one line; None when it has not.

    It compares the digests or, when neither has one, the descriptions.
    """
    decides = "digest" if was["digest"] or now["digest"] else "description"
    if was[decides] == now[decides]:
        return None
    return f"data: was {brief(was)}, is {brief(now)}"


def _description(data: Any) -> str:
    field = "description"
    said = data.get(field) if isinstance(data, Mapping) else getattr(data, field, None)
    if isinstance(said, str):
        return said
    return "no data" if data is None else f"load_data returned {type(data).__name__}"


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The arrays and the plain values in a value, each with its name."""
    if is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    elif hasattr(value, "tocsr"):  # a sparse matrix of SciPy
        table = value.tocsr()
        value = [table.shape, table.indptr, table.indices, table.data]
    if value is None or isinstance(value, PLAIN):
        yield name, value
    elif isinstance(value, Mapping):
        for key in sorted(value, key=repr):
            if name or key != "description" or not isinstance(value[key], str):
                yield from _leaves(value[key], f"{name}.{key}".strip("."))
    elif isinstance(value, pd.DataFrame):
        for key, column in [*value.items(), ("index", value.index)]:
            yield from _leaves(column, f"{name}.{key}".strip("."))
    elif isinstance(value, list | tuple):
        if value and _are_plain(value):
            array = np.empty(len(value), dtype=object)
            array[:] = value
            yield name, array
        else:
            yield name, len(value)
            for index in range(0, len(value), len(value) // LONGEST + 1):
                yield from _leaves(value[index], f"{name}[{index}]")
    elif hasattr(value, "__array__"):
        try:
            array = np.asarray(value)
        except (TypeError, RuntimeError):  # of PyTorch: a sparse tensor, or one of bfloat16
            return
        if not array.dtype.hasobject or (array.dtype == object and _are_plain(array.ravel())):
            yield name, array
        elif array.ndim:
            yield from _leaves(array.tolist(), name)


def _are_plain(values: Any) -> bool:
    return all(issubclass(kind, (*PLAIN, *NOTHING)) for kind in set(map(type, values)))


def _cost(array: NDArray[Any]) -> int:
    return array.size * TEXT if array.dtype.hasobject else array.nbytes


def _blocks(array: NDArray[Any], part: float) -> Iterator[NDArray[Any]]:
    """The whole array, or this part of it in blocks from its first item to its last."""
    flat: Any = array.reshape(-1) if part == 1 or array.flags.c_contiguous else array.flat
    count = 1 if part == 1 else BLOCKS
    size = math.ceil(array.size * part / count)
    for start in np.linspace(0, array.size - size, count).astype(int):
        yield flat[start : start + size]


def _stable(block: NDArray[Any]) -> NDArray[Any]:
    """The block as numbers that are the same in each process."""
    if block.dtype.hasobject:
        return pd.util.hash_array(block, categorize=False)
    if block.dtype == np.float64:
        with np.errstate(over="ignore"):
            block = block.astype(np.float32)
    return np.ascontiguousarray(block).view(np.uint8)


def _shape(array: NDArray[Any]) -> str:
    return "x".join(map(str, array.shape))
