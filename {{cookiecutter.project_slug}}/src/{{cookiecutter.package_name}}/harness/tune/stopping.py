"""Stoppers that keep what they have learned at a resume, but take the new limits.

Ray saves a stopper with its limits, so a raised limit would have no effect.

Ray's saved states import the class `SavedStopper` from this module: keep both names.
"""

import copy
import math
import pickle
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from ray.tune.experiment import Trial
from ray.tune.stopper import MaximumIterationStopper, NoopStopper, Stopper

_current: "RestorableStopper | None" = None
T = TypeVar("T")


class RestorableStopper(Stopper):
    """Combines stoppers by "or"; a result that a restored trial repeats is not counted again.

    It saves the attributes of a stopper that have changed since it was made. A stopper with
    methods `get_state` and `set_state`, as callbacks have them, saves what it wants.

    Parameters
    ----------
    *stoppers : Stopper
        Asked in this order, until one returns True.
    reopen : bool
        Whether trials that had ended may continue (`extend`).
    """

    def __init__(self, *stoppers: Stopper, reopen: bool = False) -> None:
        global _current
        self.stoppers = by_class_name(stoppers)
        self.reopen = reopen
        self.seen: dict[str, int] = {}  # the newest iteration of each trial
        self.ended: dict[str, int] = {}  # the iteration that ended a trial
        self.trials: Sequence[Trial] = ()  # all trials of the run
        self.told: set[str] = set()  # the trials that were told to stop
        self.stopped_by: list[str] = []  # the stoppers that stop everything, by class name
        self._awaited: set[str] = set()  # trials that must end first
        self._new = {
            name: copy.deepcopy(vars(its))
            for name, its in self.stoppers.items()
            if not hasattr(its, "get_state")
        }
        _current = self

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        iteration: int = result["training_iteration"]
        if iteration <= self.seen.get(trial_id, 0):
            return iteration >= self.ended.get(trial_id, math.inf)
        self.seen[trial_id] = iteration
        for stopper in self.stoppers.values():
            # It counts calls, and a restored trial may have skipped some.
            if isinstance(stopper, MaximumIterationStopper):
                stopper._iter[trial_id] = iteration - 1
        if any(stopper(trial_id, result) for stopper in self.stoppers.values()):
            self.ended[trial_id] = iteration
            return True
        return False

    def stop_all(self) -> bool:
        """Whether to stop everything, once the trials that were told to stop have ended.

        Ray would stop these without their last checkpoint and without their export. It does not
        wait for trials that are told to stop later: there might always be another one.
        """
        reached = self.reached()
        if reached and not self.stopped_by:
            self.stopped_by, self._awaited = reached, self._ending()
        if self._awaited:
            self._awaited &= self._ending()
        return bool(self.stopped_by) and not self._awaited

    def _ending(self) -> set[str]:
        return self.told & {trial.trial_id for trial in self.trials if not trial.is_finished()}

    def reached(self) -> list[str]:
        """The stoppers that stop everything now, by class name."""
        return [name for name, stopper in self.stoppers.items() if stopper.stop_all()]

    def learned(self) -> dict[str, Any]:
        """What the stoppers have learned since they were made, by class name."""
        learned: dict[str, Any] = {"seen": self.seen, "ended": self.ended}
        for name, stopper in self.stoppers.items():
            if hasattr(stopper, "get_state"):
                learned[name] = stopper.get_state()
                continue
            new = self._new[name]
            learned[name] = {
                key: _plain(value)
                for key, value in vars(stopper).items()
                if key not in new or _differs(value, new[key])
            }
        return learned

    def restore(self, saved: dict[str, Any]) -> None:
        """Restore what `learned` returned in an earlier run."""
        self.seen = dict(saved["seen"])
        self.ended = {} if self.reopen else dict(saved["ended"])
        self.told = set(self.ended)
        for name in self.stoppers.keys() & saved.keys():
            stopper = self.stoppers[name]
            if hasattr(stopper, "set_state"):
                stopper.set_state(saved[name])
                continue
            for key, value in saved[name].items():
                vars(stopper)[key] = _filled(vars(stopper).get(key), value)

    def __reduce__(self) -> tuple[Any, ...]:
        return SavedStopper, (self.learned(),)


class SavedStopper(Stopper):
    """A saved RestorableStopper, as it is unpickled, which has no side effects.

    When Ray first calls it, in a resumed run, it restores the stopper of that run, and calls that.
    """

    def __init__(self, saved: dict[str, Any]) -> None:
        self.saved = saved
        self._stopper: Stopper | None = None

    def hand_over(self) -> Stopper:
        """Restore and return the stopper of this run; without a run, one that never stops."""
        if self._stopper is None:
            self._stopper = _current or NoopStopper()
            if _current is not None:
                _current.restore(self.saved)
        return self._stopper

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return bool(self.hand_over()(trial_id, result))

    def stop_all(self) -> bool:
        return bool(self.hand_over().stop_all())

    def __reduce__(self) -> tuple[Any, ...]:
        stopper = self._stopper
        saved = stopper.learned() if isinstance(stopper, RestorableStopper) else self.saved
        return SavedStopper, (saved,)


class TimeBudgetStopper(Stopper):
    """Stops everything after `seconds` of running; the time between two runs doesn't count.

    Ray's TimeoutStopper reads the machine's clock, which may be changed while trials run.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.spent = seconds, 0.0
        self._last: float | None = None  # when it was last called

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        now = time.monotonic()
        self.spent += now - (now if self._last is None else self._last)
        self._last = now
        return self.spent >= self.seconds

    def get_state(self) -> dict[str, Any]:
        return {"spent": self.spent}

    def set_state(self, state: dict[str, Any]) -> None:
        self.spent = state["spent"]


def current_stopper() -> RestorableStopper | None:
    """The stopper of this run."""
    return _current


def seconds_left() -> float | None:
    """What is left of TIME_BUDGET_S in this run; None without such a limit."""
    for stopper in _current.stoppers.values() if _current else ():
        if isinstance(stopper, TimeBudgetStopper):
            return max(0.0, stopper.seconds - stopper.spent)
    return None


def by_class_name(things: Iterable[T]) -> dict[str, T]:
    """The things by the name of their class; the second one of a class is `Name 2`."""
    found: dict[str, T] = {}
    for thing in things:
        name = type(thing).__name__
        number = 1 + sum(type(other).__name__ == name for other in found.values())
        found[name if number == 1 else f"{name} {number}"] = thing
    return found


def _differs(value: Any, other: Any) -> bool:
    try:
        return bool(value != other)
    except ValueError:  # arrays
        return pickle.dumps(value) != pickle.dumps(other)


def _plain(value: Any) -> Any:
    """A value without a defaultdict's factory: in Ray's stoppers it is a lambda."""
    if isinstance(value, defaultdict):
        return {key: _plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, deque) else value


def _filled(now: Any, was: Any) -> Any:
    """What `_plain` returned, in the type of `now`; a deque gets the length of `now`."""
    if isinstance(now, defaultdict):
        for key, item in was.items():
            now[key] = _filled(now[key], item)
        return now
    return deque(was, now.maxlen) if isinstance(now, deque) else copy.deepcopy(was)
