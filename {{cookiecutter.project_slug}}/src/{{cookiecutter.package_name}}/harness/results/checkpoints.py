"""The checkpoints of an experiment, the best first, and the first of them that can be restored."""

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
TRIES = 3  # to read the checkpoints of a running experiment


@dataclass
class Candidate:
    """A checkpoint, and the result after which it was saved.

    value: METRIC of the result
    is_best: whether it is the result by which SCOPE chose the trial
    """

    trial: SavedTrial
    folder: str
    result: dict[str, Any]
    value: float
    is_best: bool

    def __str__(self) -> str:
        return f"{self.trial.folder}/{self.folder}"


class Changed(Exception):
    """A checkpoint was deleted, or not complete yet, while the experiment runs."""


class Checkpoints:
    """The checkpoints of some trials.

    settings: those of the experiment, or others to choose by
    trials: the best first
    make: makes a trial's Trainable
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
        self.unsealed = list[str]()  # without a seal, which tells the result

    def restore_best(self, scratch: Path) -> tuple[Candidate, StoredTrainable]:
        """The best checkpoint that is complete, in a trainable. Raises Refusal for none.

        scratch: a folder on this machine
        """
        for _ in range(TRIES - 1):
            if self.record.outcome() == "running":
                with suppress(Changed):
                    return self._restore(scratch, may_change=True)
        return self._restore(scratch, may_change=False)

    def _candidates(self) -> Iterator[Candidate]:
        """The checkpoints of the best trial, the best first; then those of the next, and so on."""
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
        """By SCOPE=last the newest is the best, else the one with the best value."""
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
            except Exception as error:  # whatever a model raises
                commit = str(self.record.last_run["git"]["commit"])[:12]
                why = f"{type(error).__name__}: {reason(error)}"
                raise Refusal(
                    f"{candidate} can't be restored by this code ({why}); it was run with that of"
                    f" commit {commit}"
                ) from None
            return candidate, trainable
        raise Refusal(f"{self.settings.given('name')}: {self._why_none(damaged)}")

    def _why_none(self, damaged: str) -> str:
        """Why no checkpoint can be restored. damaged: the last that is not complete"""
        if damaged:
            return f"no checkpoint is complete; the last: {damaged}"
        why = ""
        if self.record.outcome() == "running":
            why = " yet: it is running"
        elif self.unsealed:
            why = f" with {SEAL}, which tells its result: {', '.join(self.unsealed[:3])} have none"
        elif self.record.setting("checkpoint_frequency") == 0:
            variable = self.settings.variable("checkpoint_frequency")
            why = f": {variable} was 0; 1 keeps them, in a run under another name"
        return f"no trial with a finite {self.ranking.metric} has a checkpoint{why}"
