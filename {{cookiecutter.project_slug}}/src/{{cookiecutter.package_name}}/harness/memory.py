"""What goes on after a resume: stoppers remember patience and time spent. search.py has the rest.

Ray saves them in the experiment's state, and restores them whole: with the limits they had, so that
a raised limit would change nothing, and counting twice what a restored trial does again.
"""

import copy
import math
from typing import Any

from ray.tune.stopper import MaximumIterationStopper, NoopStopper, Stopper, TimeoutStopper

_current: "RememberingStopper | None" = None


class RememberingStopper(Stopper):
    """Combines stoppers by "or"; a result that a restored trial repeats is not counted again.

    forget_endings: trials that had ended may go on (`extend`).
    """

    def __init__(self, *stoppers: Stopper, forget_endings: bool = False) -> None:
        global _current
        self.stoppers = stoppers
        self.forget_endings = forget_endings
        self.seen: dict[str, int] = {}  # the newest iteration of each trial
        self.ended: dict[str, int] = {}  # the iteration that ended it
        self._new = [copy.deepcopy(vars(stopper)) for stopper in stoppers]
        _current = self

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        iteration: int = result["training_iteration"]
        if iteration <= self.seen.get(trial_id, 0):
            return iteration >= self.ended.get(trial_id, math.inf)
        self.seen[trial_id] = iteration
        for stopper in self.stoppers:  # it counts calls; a restored trial may have gone past some
            if isinstance(stopper, MaximumIterationStopper):
                stopper._iter[trial_id] = iteration - 1
        if any(stopper(trial_id, result) for stopper in self.stoppers):
            self.ended[trial_id] = iteration
            return True
        return False

    def stop_all(self) -> bool:
        return any(stopper.stop_all() for stopper in self.stoppers)

    def memory(self) -> dict[str, Any]:
        """What the stoppers have learned since they were made, by class name."""
        learned: dict[str, Any] = {"seen": self.seen, "ended": self.ended}
        for stopper, new in zip(self.stoppers, self._new, strict=True):
            changed = {k: v for k, v in vars(stopper).items() if k not in new or v != new[k]}
            if isinstance(stopper, TimeoutStopper):  # the time between two runs doesn't count
                changed = {"spent": stopper._timeout_seconds - stopper._budget}
            learned[type(stopper).__name__] = changed
        return learned

    def recall(self, memory: dict[str, Any]) -> None:
        """Take over what a saved stopper had learned."""
        self.seen = dict(memory["seen"])
        self.ended = {} if self.forget_endings else dict(memory["ended"])
        for stopper in self.stoppers:
            learned = memory.get(type(stopper).__name__, {})
            if isinstance(stopper, TimeoutStopper):
                stopper._budget -= learned.get("spent", 0)
            else:
                vars(stopper).update(copy.deepcopy(learned))

    def __reduce__(self) -> tuple[Any, ...]:
        return _recall, (self.memory(),)


def current_stopper() -> "RememberingStopper | None":
    """The stopper of this run."""
    return _current


def _recall(memory: dict[str, Any]) -> Stopper:
    """Unpickle to the stopper of this run; where none is running, to one that never stops."""
    if _current is None:
        return NoopStopper()
    _current.recall(memory)
    return _current


def seconds_left() -> float | None:
    """What is left of TIME_BUDGET_S to the run that is on; None when it has no such bound."""
    for stopper in _current.stoppers if _current else ():
        if isinstance(stopper, TimeoutStopper):
            return max(0.0, stopper._budget)
    return None
