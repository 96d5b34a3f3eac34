"""How fast a run is, and how long the rest takes."""

from ray.tune.experiment import Trial


class Pace:
    """How fast iterations are done, and how long the rest takes at that pace.

    most: the maximum of iterations per trial
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.begun = 0  # unfinished trials that Ray has made
        self._done: dict[str, int] = {}  # iterations of each unfinished trial
        self._new = 0  # iterations done since the first look
        self._seconds = self._running_seconds = 0.0  # since a trial first ran; and summed over them
        self._last_look: float | None = None
        self._running = 0

    def look(self, trials: list[Trial], running: int, now: float) -> None:
        """Update with the trials that were unfinished at the last look, and the new ones."""
        first, counts = self._last_look is None, {}
        for trial in trials:
            iteration: int = trial.last_result.get("training_iteration", 0)
            before = self._done.get(trial.trial_id, iteration if first else 0)
            self._new += max(0, iteration - before)
            if not trial.is_finished():
                counts[trial.trial_id] = iteration
        if self._last_look is not None and self.has_begun:
            self._seconds += now - self._last_look
            self._running_seconds += self._running * (now - self._last_look)
        self._done, self.begun = counts, len(counts)
        self._last_look, self._running = now, running

    @property
    def has_begun(self) -> bool:
        """Whether a trial has run since the first look."""
        return bool(self._running or self._seconds)

    def left(self, waiting: int) -> float | None:
        """Seconds for the unfinished trials and the `waiting` ones, which Ray has not made yet.

        None as long as there are fewer new iterations than running trials.
        """
        if not self.begun + waiting or self._new < max(2, self._running):
            return None
        rest = [max(0, self.most - done) for done in self._done.values()] + [self.most] * waiting
        # At the speed of all together; at the end, when fewer run, what the longest one takes.
        together = sum(rest) * self._seconds / self._new
        return max(together, max(rest) * self._running_seconds / self._new)

    def share(self, total: int, ended: int) -> float:
        """The fraction of all iterations that is done; an ended trial counts as complete."""
        done = sum(min(count / self.most, 1) for count in self._done.values())
        return (ended + done) / max(total, 1)
