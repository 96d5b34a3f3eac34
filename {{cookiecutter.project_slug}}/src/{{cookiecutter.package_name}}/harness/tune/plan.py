"""What the harness prepares for `tune.run`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from ray.tune import Callback, ProgressReporter
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import SearchAlgorithm
from ray.tune.tune_config import ResumeConfig

from ..project import Project
from ..settings import RunSettings
from ..store.dataset import load
from ..store.storage import Folder
from .callbacks import Callbacks
from .points import Point, load_points
from .ray_internals import patch_ray
from .scheduler_state import SchedulerState
from .schedulers import make_scheduler
from .search import make_search


@dataclass
class Plan:
    """What `tune_run(settings, plan)` passes to `tune.run`, beside the settings.

    Attributes
    ----------
    project : Project
        Passed to the `setup` of each callback.
    storage : Folder
        The folder STORAGE_PATH, whose `filesystem` writes whole files.
    data : object
        What `load_data` returned.
    search_alg, scheduler
        Those that SEARCH_ALG and SCHEDULER name. `tune_run` may set others, before `callbacks`.
    seed : int
        For the generators that Ray's schedulers draw from.
    resume_config : ResumeConfig or None
        Which trials are resumed; None starts a new experiment.
    harness_callbacks : list of Callback
        Those of the harness; `callbacks` adds the project's own.
    progress_reporter : ProgressReporter or None
        What is shown during the run; None is Ray's own.
    """

    project: Project
    storage: Folder
    data: Any
    search_alg: SearchAlgorithm
    scheduler: TrialScheduler
    seed: int
    resume_config: ResumeConfig | None
    harness_callbacks: list[Callback]
    progress_reporter: ProgressReporter | None

    @classmethod
    def make(
        cls,
        project: Project,
        settings: RunSettings,
        data: Any = None,
        points: Sequence[Point] | None = None,
        resume_config: ResumeConfig | None = None,
        callbacks: Sequence[Callback] = (),
        progress_reporter: ProgressReporter | None = None,
    ) -> Self:
        """Prepare a run by the settings. Data and points are loaded only if they are not given.

        Raises
        ------
        Refusal, ValueError
            In one line, when data or points can't be used.
        OSError
            When the storage doesn't answer.
        """
        patch_ray()
        parts = project.parts()
        space = parts.search_space()
        if points is None:
            points = load_points(settings, space)
        return cls(
            project=project,
            storage=Folder.open(settings.storage_path),
            data=load(project, settings) if data is None else data,
            search_alg=make_search(settings, space, points),
            scheduler=make_scheduler(settings, space, parts.mutable),
            seed=settings.seed,
            resume_config=resume_config,
            harness_callbacks=[*callbacks],
            progress_reporter=progress_reporter,
        )

    def callbacks(self, own: Sequence[Callback]) -> list[Callback]:
        """All callbacks, for `tune.run`: the harness's, then the project's."""
        state = SchedulerState(self.scheduler, self.search_alg, self.seed)
        return [Callbacks(*self.harness_callbacks, state, *own, project=self.project)]


def trial_folder(trial: Trial) -> str:
    """A short folder name: Ray's own has every hyperparameter in it, and exceeds path limits.

    Ray's saved states import this function from this module: keep both names.
    """
    return f"trial_{trial.trial_id}"
