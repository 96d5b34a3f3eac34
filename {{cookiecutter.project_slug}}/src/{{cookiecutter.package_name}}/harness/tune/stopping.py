"""What ends a trial, or the experiment, also after a resume.

Ray saves a stopper whole, with the limits that it had, so that a raised limit would change nothing.

A saved state of Ray names the class `SavedStopper` and this module: neither may move, nor change
its name.
"""

import copy
import math
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

    What a stopper has learned is what has changed of it since it was made, unless it says so by
    `get_state` and `set_state`, as callbacks do.

    Parameters
    ----------
    *stoppers : Stopper
        Asked in this order; the first that says yes is the last that is asked.
    reopen : bool
        Whether trials that had ended may continue (`extend`).
    """

    def __init__(self, *stoppers: Stopper, reopen: bool = False) -> None:
        global _current
        self.stoppers = by_class_name(stoppers)
        self.reopen = reopen
        self.seen: dict[str, int] = {}  # the newest iteration of each trial
        self.ended: dict[str, int] = {}  # the iteration that ended it
        self.trials: Sequence[Trial] = ()  # all of the run
        self.told: set[str] = set()  # those that were told to stop
        self.stopped_by: list[str] = []  # the stoppers that stop everything, by class name
        self._awaited: set[str] = set()  # trials that have to end before that
        self._new = {name: copy.deepcopy(vars(its)) for name, its in self.stoppers.items()}
        _current = self

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        iteration: int = result["training_iteration"]
        if iteration <= self.seen.get(trial_id, 0):
            return iteration >= self.ended.get(trial_id, math.inf)
        self.seen[trial_id] = iteration
        for stopper in self.stoppers.values():
            # It counts calls; a restored trial may have gone past some.
            if isinstance(stopper, MaximumIterationStopper):
                stopper._iter[trial_id] = iteration - 1
        if any(stopper(trial_id, result) for stopper in self.stoppers.values()):
            self.ended[trial_id] = iteration
            return True
        return False

    def stop_all(self) -> bool:
        """Whether to stop everything: not before the trials that were told to stop have ended.

        Ray would stop them too, without their last checkpoint and without their export. Trials that
        are told to stop meanwhile are not waited for: there might always be one.
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
            changed = {k: v for k, v in vars(stopper).items() if k not in new or v != new[k]}
            learned[name] = {key: _plain(value) for key, value in changed.items()}
        return learned

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over what a saved stopper had learned."""
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
    """What a saved stopper is read as. Reading it changes nothing: a state is also only looked at.

    When Ray asks it, in a resumed run, the stopper of that run takes over.
    """

    def __init__(self, saved: dict[str, Any]) -> None:
        self.saved = saved
        self._stopper: Stopper | None = None

    def hand_over(self) -> Stopper:
        """Let the stopper of this run take over; where none runs, one that never stops."""
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

    Ray's TimeoutStopper reads the clock of the machine, which may be set while trials run.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.spent = seconds, 0.0
        self._last: float | None = None  # when it was asked last

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
    """What is left of TIME_BUDGET_S to the run that is on; None when it has no such bound."""
    for stopper in _current.stoppers.values() if _current else ():
        if isinstance(stopper, TimeBudgetStopper):
            return max(0.0, stopper.seconds - stopper.spent)
    return None


def by_class_name(things: Iterable[T]) -> dict[str, T]:
    """Each by the name of its class; another one of a class as `Name 2`."""
    found: dict[str, T] = {}
    for thing in things:
        name = type(thing).__name__
        number = 1 + sum(type(other).__name__ == name for other in found.values())
        found[name if number == 1 else f"{name} {number}"] = thing
    return found


def _plain(value: Any) -> Any:
    """A value without what it was made by, which would be pickled: Ray's stoppers use lambdas."""
    if isinstance(value, defaultdict):
        return {key: _plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, deque) else value


def _filled(now: Any, was: Any) -> Any:
    """What `_plain` made, as the kind of thing that `now` is: a deque has its length by now."""
    if isinstance(now, defaultdict):
        for key, item in was.items():
            now[key] = _filled(now[key], item)
        return now
    return deque(was, now.maxlen) if isinstance(now, deque) else copy.deepcopy(was)
