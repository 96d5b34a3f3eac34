"""What goes on after a resume: stoppers remember patience and time spent, a search its samples.

Ray saves both in the experiment's state, and restores them whole: with the limits they had, so that
a raised limit would change nothing, and counting twice what a restored trial does again.
"""

import copy
import math
from typing import Any

from pyarrow import fs
from ray.tune.search import BasicVariantGenerator
from ray.tune.stopper import MaximumIterationStopper, NoopStopper, Stopper, TimeoutStopper

from ..settings import Settings

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


class ExtendableSearch(BasicVariantGenerator):
    """Ray's own search. When it is restored with a larger `num_samples`, it goes on sampling.

    The random generator is part of its state: the samples are those that one longer run had drawn.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(random_state=settings.seed, max_concurrent=settings.max_concurrent_trials)
        self.settings = settings

    def get_state(self) -> dict[str, Any]:
        return {k: v for k, v in super().get_state().items() if k != "settings"}  # type: ignore[no-untyped-call]

    def set_state(self, state: dict[str, Any]) -> None:
        settings = self.settings
        super().set_state(state)  # type: ignore[no-untyped-call]
        self.max_concurrent = settings.max_concurrent_trials
        self._live_trials: set[str] = set()  # those of the ended run: its trials start again
        filesystem, root = fs.FileSystem.from_uri(settings.storage_path)
        for iterator in self._iterators:
            # The folder may have been copied (`extend --into`), or moved.
            place = iterator.unresolved_spec["storage"]
            place.storage_filesystem, place.storage_fs_path = filesystem, root
            place.experiment_dir_name = settings.name
            more = settings.num_samples - iterator.num_samples
            if more > 0:
                self._total_samples += more * (self._total_samples // iterator.num_samples)
                iterator.num_samples_left += more
                iterator.num_samples = settings.num_samples
                self._finished = False
