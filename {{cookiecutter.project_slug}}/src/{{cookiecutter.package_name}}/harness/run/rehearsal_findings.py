"""The findings of a rehearsal: which method of the Trainable raised what, and at which corners."""

import inspect
import math
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from typing import Any

from ..tune.trainable import StoredTrainable

Config = dict[str, Any]
HOOKS = {
    "setup",
    "step",
    "log_result",
    "log_results",
    "save_checkpoint",
    "load_checkpoint",
    "reset_config",
    "_export_model",
    "cleanup",
}
HARNESS = Path(__file__).parents[1]


class Findings:
    """The findings at the corners of the search space; `corner`: the number of the current one."""

    def __init__(self, trainable: type[Any], configs: Sequence[Config]) -> None:
        self.trainable, self.name, self.configs = trainable, trainable.__name__, configs
        self.package = Path(inspect.getfile(trainable)).parent
        self.found: dict[Any, tuple[str, list[int]]] = {}  # each with its corners
        self.corner: int | None = None

    @contextmanager
    def blaming(self, what: str | None = None) -> Iterator[None]:
        """Turn what a team's code raises into a finding: which method, what, where."""
        try:
            yield
        except (Exception, SystemExit) as error:
            method, place = what, ""
            for frame, line in traceback.walk_tb(error.__traceback__):
                code = frame.f_code
                if code.co_name in HOOKS and isinstance(frame.f_locals.get("self"), self.trainable):
                    method = f"{self.name}.{code.co_name}"
                file = Path(code.co_filename)
                if self.package in file.parents and HARNESS not in file.parents:
                    place = f" ({file.relative_to(self.package)}:{line})"
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            text = f"{method or self.name} fails with {reason}{place}"
            self.add(text, key=(method, type(error), place))

    def add(self, text: str, key: Any = None) -> None:
        """Add a finding; the same one at another corner is only counted."""
        _, corners = self.found.setdefault(key or text, (text, []))
        if self.corner is not None and self.corner not in corners:
            corners.append(self.corner)

    def lines(self) -> list[str]:
        """The findings, one line each."""
        return [self._line(*found) for found in self.found.values()]

    def _line(self, text: str, corners: list[int]) -> str:
        brief = self._brief(self.configs[corners[0]]) if corners else ""
        if not brief or len(corners) == len(self.configs):
            return text
        others = len(corners) - 1
        more = f", and at {others} more corners of the search space" if others else ""
        return f"{text}, with {brief}{more}"

    def _brief(self, config: Config) -> str:
        """The hyperparameters in which the corners differ."""
        return " ".join(
            f"{key}={value!s:.40}"
            for key, value in config.items()
            if any(repr(other.get(key)) != repr(value) for other in self.configs)
        )


def why_unusable(trainable: Any) -> str | None:
    """Why a Trainable can't be rehearsed at all."""
    if not isinstance(trainable, type) or not issubclass(trainable, StoredTrainable):
        name = getattr(trainable, "__name__", trainable)
        return f"{name} should be a class, and a subclass of StoredTrainable"
    try:
        inspect.signature(trainable.setup).bind(None, {}, data=None)
    except TypeError:
        return (
            f"{trainable.__name__}.setup takes no data, which tune_run.py hands over:"
            " `def setup(self, config, data=None)`"
        )
    return None


def same(one: Any, other: Any) -> bool:
    """Whether two values of a metric are equal, up to rounding errors."""
    if not isinstance(one, Real) or not isinstance(other, Real):
        return True  # another finding says that it is no number
    both_nan = math.isnan(one) and math.isnan(other)
    return both_nan or math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-7)
