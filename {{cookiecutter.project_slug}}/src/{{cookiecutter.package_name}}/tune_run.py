"""Yours to read: the one call of `tune.run`, with every argument in sight.

It starts Ray itself, and finds a cluster by RAY_ADDRESS alone; the end of the process ends Ray.
"""

from collections.abc import Sequence

from ray import tune
from ray.tune.analysis import ExperimentAnalysis
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from ray.tune.tune_config import ResumeConfig

from .callbacks import make_callbacks
from .data import Data, load_data
from .harness.memory import ExtendableSearch
from .harness.progress import ProgressLines
from .search_space import search_space
from .settings import Settings
from .stopper import make_stopper
from .trainable import ExperimentTrainable


def tune_run(
    settings: Settings,
    data: Data | None = None,
    resume_config: ResumeConfig | None = None,
    harness_callbacks: Sequence[tune.Callback] = (),
    progress: ProgressLines | None = None,
) -> ExperimentAnalysis:
    """Run the experiment, or go on with it. Returns all its trials and results.

    data: what `load_data` returned, if it is loaded already.
    resume_config: which trials go on; None starts anew.
    progress: what says how far the run is, if something shows it already.

    Raises OSError or ValueError when the data can't be used. A trial that fails raises nothing:
    look at the status of `analysis.trials`.
    """
    data = data or load_data(settings.data_path, settings.target)
    return tune.run(
        # One copy of the data in Ray's object store, whatever the number of trials.
        tune.with_parameters(ExperimentTrainable, data=data),
        name=settings.name,
        storage_path=settings.storage_path,
        resume_config=resume_config,
        # What is searched, and for what.
        config={**search_space(), "seed": settings.seed},
        metric=settings.metric,
        mode=settings.mode,
        num_samples=settings.num_samples,
        search_alg=ExtendableSearch(settings),  # SEED, MAX_CONCURRENT_TRIALS
        scheduler=make_scheduler(settings),
        stop=make_stopper(settings),
        # What a trial gets.
        resources_per_trial=dict(settings.resources_per_trial),  # Ray adds to it
        reuse_actors=settings.reuse_actors,
        max_failures=settings.max_failures,
        raise_on_failed_trial=False,
        # What is kept. Without sync_artifacts, log files stay in a temporary folder.
        checkpoint_config=tune.CheckpointConfig(
            num_to_keep=settings.num_to_keep,
            checkpoint_score_attribute=settings.checkpoint_score_attribute or settings.metric,
            checkpoint_score_order=settings.checkpoint_score_order or settings.mode,
            checkpoint_frequency=settings.checkpoint_frequency,
            checkpoint_at_end=settings.checkpoint_at_end,
        ),
        sync_config=tune.SyncConfig(sync_artifacts=True),
        export_formats=settings.export_formats,
        # What is said and logged.
        log_to_file=settings.log_to_file,  # type: ignore[arg-type]  # Ray takes names too
        callbacks=[*harness_callbacks, *make_callbacks(settings)],
        progress_reporter=progress or ProgressLines(settings),
        verbose=settings.verbose,
        trial_dirname_creator=trial_folder,
    )


def make_scheduler(settings: Settings) -> TrialScheduler:
    """First in, first out; or asynchronous successive halving (Li et al. 2018)."""
    if settings.scheduler == "asha":
        return AsyncHyperBandScheduler(max_t=settings.max_iterations)
    return FIFOScheduler()


def trial_folder(trial: Trial) -> str:
    """A short name: Ray's own carries every hyperparameter, and breaks path limits."""
    return f"trial_{trial.trial_id}"
