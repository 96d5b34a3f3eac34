"""Yours to read: the one call of `tune.run`, with every argument in sight.

It starts Ray itself, and finds a cluster by RAY_ADDRESS alone; the end of the process ends Ray.
"""

from collections.abc import Sequence

from ray import tune
from ray.tune.analysis import ExperimentAnalysis
from ray.tune.experiment import Trial
from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    FIFOScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)
from ray.tune.search import SearchAlgorithm
from ray.tune.tune_config import ResumeConfig
from ray.tune.utils.util import unflatten_dict  # type: ignore[attr-defined]

from .callbacks import make_callbacks
from .data import Data, load_data
from .harness.run.progress import ProgressLines
from .harness.store.storage import Storage
from .harness.tune.points import fitted, load_points
from .harness.tune.search import (
    ModelSearch,
    Point,
    RandomSearch,
    SearchMemory,
    WaitingHyperBand,
    mutations,
    within,
)
from .harness.tune.space import stand_in
from .harness.tune.stopping import Callbacks
from .search_space import search_space
from .settings import Settings
from .stopper import make_stopper
from .trainable import ExperimentTrainable


def tune_run(
    settings: Settings,
    data: Data | None = None,
    points: Sequence[Point] | None = None,
    resume_config: ResumeConfig | None = None,
    harness_callbacks: Sequence[tune.Callback] = (),
    progress: ProgressLines | None = None,
) -> ExperimentAnalysis:
    """Run the experiment, or go on with it. Returns all its trials and results.

    data: what `load_data` returned, if it is loaded already.
    points: what `load_points` returned, if they are loaded already.
    resume_config: which trials go on; None starts anew.
    progress: what says how far the run is, if something shows it already.

    Raises OSError or ValueError when data or points can't be used. A trial that fails raises
    nothing: look at the status of `analysis.trials`.
    """
    data = load_data(settings.data_path, settings.target) if data is None else data
    points = load_points(settings, search_space()) if points is None else points
    search, scheduler = make_search(settings, points), make_scheduler(settings)
    memory = SearchMemory(scheduler, search, settings.seed)
    storage = Storage(settings.storage_path)
    return tune.run(
        # One copy of the data in Ray's object store, whatever the number of trials.
        tune.with_parameters(ExperimentTrainable, data=data),
        name=settings.name,
        storage_path=storage.root,
        storage_filesystem=storage.filesystem,  # every file in it is whole
        resume_config=resume_config,
        # What is searched, and for what.
        config={"seed": settings.seed, **search_space()},
        metric=settings.metric,
        mode=settings.mode,
        num_samples=settings.num_samples,
        search_alg=search,  # SEED, MAX_CONCURRENT_TRIALS, POINTS_TO_EVALUATE
        scheduler=scheduler,
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
        callbacks=[Callbacks(*harness_callbacks, memory, *make_callbacks(settings))],
        progress_reporter=progress or ProgressLines(settings),
        verbose=settings.verbose if settings.verbose != 2 else 1,  # ProgressLines does it
        trial_dirname_creator=trial_folder,
    )


def make_search(settings: Settings, points: Sequence[Point]) -> SearchAlgorithm:
    """What proposes configurations: random draws and grids, or a model of the results so far.

    optuna, hyperopt: tree-structured Parzen estimators (Bergstra et al. 2011), which draw at random
    until they have seen 10 (Optuna) or 20 (HyperOpt) trials. nevergrad: the (1+1) evolution
    strategy, which starts in the middle of the space and changes the best so far.
    """
    space = search_space()
    values = [fitted(point, space, whole=False) for point in points]
    if settings.search_alg == "random":
        return RandomSearch(settings, values, space)
    flat = [stand_in(space, point) for point in values]  # nested hyperparameters as `outer/inner`
    if settings.search_alg == "optuna":
        import optuna
        from ray.tune.search.optuna import OptunaSearch

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        return ModelSearch(OptunaSearch(seed=settings.seed, points_to_evaluate=flat), settings)
    if settings.search_alg == "hyperopt":
        from ray.tune.search.hyperopt import HyperOptSearch

        searcher = HyperOptSearch(
            random_state_seed=settings.seed,
            points_to_evaluate=[unflatten_dict(point) for point in flat] or None,
        )
        return ModelSearch(searcher, settings)
    import nevergrad
    from ray.tune.search.nevergrad import NevergradSearch

    optimizer = nevergrad.optimizers.OnePlusOne
    return ModelSearch(NevergradSearch(optimizer, points_to_evaluate=flat), settings)


def make_scheduler(settings: Settings) -> TrialScheduler:
    """What ends a trial early, or changes it while it trains; fifo does neither.

    asha: asynchronous successive halving (Li et al. 2020). median: the median stopping rule
    (Golovin et al. 2017). hyperband: Li et al. 2018. pbt: population based training (Jaderberg et
    al. 2017).
    """
    grace, longest = settings.grace_iterations, settings.max_iterations
    if settings.scheduler == "asha":
        return AsyncHyperBandScheduler(max_t=longest, grace_period=grace)
    if settings.scheduler == "median":
        # A trial makes way for others once, and not at each result: that costs a restore.
        return MedianStoppingRule("training_iteration", grace_period=grace, min_time_slice=longest)
    if settings.scheduler == "hyperband":
        return WaitingHyperBand(max_t=longest)
    if settings.scheduler == "pbt":
        space = search_space()
        return PopulationBasedTraining(
            "training_iteration",
            perturbation_interval=max(grace, longest // 5),
            hyperparam_mutations=unflatten_dict(mutations(space)),
            custom_explore_fn=within(space),
        )
    return FIFOScheduler()


def trial_folder(trial: Trial) -> str:
    """A short name: Ray's own carries every hyperparameter, and breaks path limits."""
    return f"trial_{trial.trial_id}"
