"""Yours to read: the one call of `tune.run`, with every argument in sight.

`tune.run` starts Ray, or connects to the cluster at RAY_ADDRESS. A local Ray ends with the process.
"""

from ray import tune
from ray.tune.analysis import ExperimentAnalysis

from .callbacks import make_callbacks
from .harness.tune import Plan, placement, trial_folder
from .search_space import search_space
from .settings import Settings
from .stopper import make_stopper
from .trainable import ExperimentTrainable


def tune_run(settings: Settings, plan: Plan) -> ExperimentAnalysis:
    """Run or resume the experiment. Returns all its trials and results.

    plan: what the harness prepared from the settings; in a notebook, `Plan.make(PROJECT, settings)`

    A failed trial raises nothing: see the status of each of `analysis.trials`.
    """
    return tune.run(
        # One copy of the data in Ray's object store, for all trials.
        tune.with_parameters(ExperimentTrainable, data=plan.data),
        name=settings.name,
        storage_path=plan.storage.root,
        storage_filesystem=plan.storage.filesystem,  # no file in it is ever half-written
        resume_config=plan.resume_config,
        # The search.
        config={"seed": settings.seed, **search_space()},
        metric=settings.metric,
        mode=settings.mode,
        num_samples=settings.num_samples,
        search_alg=plan.search_alg,  # SEARCH_ALG, POINTS_TO_EVALUATE, MAX_CONCURRENT_TRIALS
        scheduler=plan.scheduler,  # SCHEDULER, GRACE_ITERATIONS
        stop=make_stopper(settings),
        # The trials.
        resources_per_trial=placement(settings.resources_per_trial),
        reuse_actors=settings.reuse_actors,
        max_failures=settings.max_failures,
        raise_on_failed_trial=False,
        # What is saved. Without sync_artifacts, log files would stay in a temporary folder.
        checkpoint_config=tune.CheckpointConfig(
            num_to_keep=settings.num_to_keep,
            checkpoint_score_attribute=settings.checkpoint_score_attribute or settings.metric,
            checkpoint_score_order=settings.checkpoint_score_order or settings.mode,
            checkpoint_frequency=settings.checkpoint_frequency,
            checkpoint_at_end=settings.checkpoint_at_end,
        ),
        sync_config=tune.SyncConfig(sync_artifacts=True),
        export_formats=settings.export_formats,
        # What is logged and printed.
        log_to_file=settings.log_to_file,  # type: ignore[arg-type]  # Ray takes names too
        callbacks=plan.callbacks(make_callbacks(settings)),
        progress_reporter=plan.progress_reporter,
        verbose=settings.verbose if settings.verbose != 2 else 1,  # the reporter prints results
        trial_dirname_creator=trial_folder,
    )
