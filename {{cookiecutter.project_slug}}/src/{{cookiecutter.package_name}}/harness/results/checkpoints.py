"""The checkpoints of an experiment, and the best of them that can be restored."""

import fnmatch
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import Refusal, reason
from ..settings import RunSettings
from ..store.ranking import Ranking
from ..store.record import Record
from ..store.saved_trials import SavedTrial
from ..tune.seal import SEAL, DamagedCheckpoint, read_seal
from ..tune.trainable import StoredTrainable

CHECKPOINT = "checkpoint_*"
TRIES = 3  # a running experiment may delete a checkpoint while it is read


@dataclass
class Candidate:
    """A checkpoint, and the result after which it was saved.

    value: METRIC of the result
    is_best: whether this is the result for which the trial was chosen, by SCOPE
    """

    trial: SavedTrial
    folder: str
    result: dict[str, Any]
    value: float
    is_best: bool

    def __str__(self) -> str:
        return f"{self.trial.folder}/{self.folder}"


class Changed(Exception):
    """The running experiment has deleted a checkpoint, or has not completed it yet."""


class Checkpoints:
    """The checkpoints of some trials.

    settings: the experiment's, with those to choose by
    trials: the best first
    make: makes the Trainable of a trial
    """

    def __init__(
        self,
        record: Record,
        settings: RunSettings,
        trials: Sequence[SavedTrial],
        make: Callable[[SavedTrial], StoredTrainable],
    ) -> None:
        self.record, self.settings, self.trials, self.make = record, settings, trials, make
        self.ranking = Ranking.of(settings)
        self.unsealed = list[str]()  # they have no seal, which holds the result

    def restore_best(self, scratch: Path) -> tuple[Candidate, StoredTrainable]:
        """Restore the best complete checkpoint. Raises Refusal when there is none.

        scratch: a folder on this machine
        """
        for _ in range(TRIES - 1):
            if self.record.outcome() == "running":
                with suppress(Changed):
                    return self._restore(scratch, may_change=True)
        return self._restore(scratch, may_change=False)

    def _candidates(self) -> Iterator[Candidate]:
        """The checkpoints of the best trial, best first; then those of the next one, and so on."""
        storage, scope = self.record.folder, self.ranking.scope
        self.unsealed.clear()
        for trial in self.trials:
            found = []
            for entry in fnmatch.filter(storage.files(trial.folder), CHECKPOINT):
                try:
                    _, result = read_seal(storage.read(trial.folder, entry, SEAL))
                    iteration = result["training_iteration"]
                except (DamagedCheckpoint, KeyError):  # missing or cut off
                    self.unsealed.append(f"{trial.folder}/{entry}")
                    continue
                value = self.ranking.of_result(result)
                is_best = value == self.ranking.score(trial)
                is_best = is_best and (scope != "last" or iteration == trial.iterations)
                if math.isfinite(value):  # else it was saved before METRIC was reported
                    found.append(Candidate(trial, entry, result, value, is_best))
            yield from sorted(found, key=self._key)

    def _key(self, candidate: Candidate) -> tuple[float, int]:
        """Sorts checkpoints, best first: SCOPE=last by age alone, the others by value first."""
        value = 0.0 if self.ranking.scope == "last" else -self.ranking.sign * candidate.value
        return value, -candidate.result["training_iteration"]

    def _restore(self, scratch: Path, *, may_change: bool) -> tuple[Candidate, StoredTrainable]:
        damaged = ""
        for candidate in self._candidates():
            folder = Path(tempfile.mkdtemp(dir=scratch))
            try:
                self.record.folder.download(folder, candidate.trial.folder, candidate.folder)
                trainable = self.make(candidate.trial)
                trainable.restore_folder(folder)
            except (DamagedCheckpoint, FileNotFoundError) as error:
                if may_change:
                    raise Changed from error
                damaged = f"{candidate}: {error}"
                print(damaged)
                continue
            except Exception as error:  # a model may raise anything
                commit = str(self.record.last_run["git"]["commit"])[:12]
                why = f"{type(error).__name__}: {reason(error)}"
                raise Refusal(
                    f"{candidate} can't be restored by this code ({why}); it was run with that of"
                    f" commit {commit}"
                ) from None
            return candidate, trainable
        raise Refusal(f"{self.settings.given('name')}: {self._why_none(damaged)}")

    def _why_none(self, damaged: str) -> str:
        """Why no checkpoint can be restored. damaged: the last one that is incomplete"""
        if damaged:
            return f"no checkpoint is complete; the last: {damaged}"
        why = ""
        if self.record.outcome() == "running":
            why = " yet: it is running"
        elif self.unsealed:
            why = f" with {SEAL}, which holds its result: {', '.join(self.unsealed[:3])} have none"
        elif self.record.setting("checkpoint_frequency") == 0:
            variable = self.settings.variable("checkpoint_frequency")
            why = f": {variable} was 0; 1 keeps them, in a run under another name"
        return f"no trial with a finite {self.ranking.metric} has a checkpoint{why}"
