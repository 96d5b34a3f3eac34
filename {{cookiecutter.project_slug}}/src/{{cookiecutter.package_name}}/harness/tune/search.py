"""Ray's search algorithms, which sample more trials if a resume has a larger NUM_SAMPLES.

Ray saves a search algorithm with its limits, so a larger limit would have no effect.
"""

import contextlib
import copy
import math
from collections.abc import Sequence
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.search import (
    BasicVariantGenerator,
    ConcurrencyLimiter,
    SearchAlgorithm,
    Searcher,
    SearchGenerator,
)

from ..settings import RunSettings
from ..store.saved_trials import flat
from ..store.storage import Folder
from .points import Point, read_point
from .space import filled, nested, placeholder_values, trials_per_sample, variables


def make_search(
    settings: RunSettings, space: dict[str, Any], points: Sequence[Point] = ()
) -> SearchAlgorithm:
    """Make the search algorithm that SEARCH_ALG names.

    Parameters
    ----------
    settings : RunSettings
    space : dict
        The search space, as `search_space` returns it.
    points : list of dict
        Configurations to try first, as `load_points` returns them.

    Returns
    -------
    SearchAlgorithm
        random: random draws and grids. optuna, hyperopt: tree-structured Parzen estimators
        (Bergstra et al. 2011), which draw at random until they have seen 10 (Optuna) or 20
        (HyperOpt) trials. nevergrad: the (1+1) evolution strategy, which starts in the middle of
        the space and changes the best so far.

    Raises
    ------
    ValueError
        In one line, when a point is not in the space.
    """
    values = [read_point(point, space, whole=False) for point in points]
    if settings.search_alg == "random":
        return RandomSearch(settings, values, space)
    first = [placeholder_values(space, point) for point in values]
    if settings.search_alg == "optuna":
        import optuna
        from ray.tune.search.optuna import OptunaSearch

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        return ModelSearch(OptunaSearch(seed=settings.seed, points_to_evaluate=first), settings)
    if settings.search_alg == "hyperopt":
        from ray.tune.search.hyperopt import HyperOptSearch

        searcher = HyperOptSearch(
            random_state_seed=settings.seed,
            points_to_evaluate=[nested(point) for point in first] or None,
        )
        return ModelSearch(searcher, settings)
    import nevergrad
    from ray.tune.search.nevergrad import NevergradSearch

    optimizer = nevergrad.optimizers.OnePlusOne
    return ModelSearch(NevergradSearch(optimizer, points_to_evaluate=first), settings)


def count_trials(settings: RunSettings, space: dict[str, Any], points: Sequence[Point]) -> int:
    """The number of trials: NUM_SAMPLES for each combination of the grids."""
    if settings.search_alg != "random":
        return settings.num_samples
    given = [{name for name, _ in flat(point, variables(space))} for point in points]
    more = settings.num_samples - len(given)
    return sum(trials_per_sample(space, names) for names in given) + more * trials_per_sample(space)


class RandomSearch(BasicVariantGenerator):
    """Random samples and grids. Restored with a larger `num_samples`, it samples more.

    The random generator is part of its state: the samples are the same as in one longer run.
    """

    def __init__(
        self,
        settings: RunSettings,
        points: Sequence[Point] = (),
        space: dict[str, Any] | None = None,
    ) -> None:
        """Take the points by name, and the search space without the placeholders of `tune.run`."""
        super().__init__(random_state=settings.seed, max_concurrent=settings.max_concurrent_trials)
        self.settings, self.points, self.space = settings, points, space

    def add_configurations(self, experiments: Any) -> None:
        """Sample each point, then the space.

        A point is an experiment of one sample, with values instead of domains: in Ray's own points
        a value can't be a list or a dictionary.
        """
        for experiment in experiments:
            spec = experiment.spec
            searched, more = spec["config"], spec["num_samples"] - len(self.points)
            space = searched if self.space is None else self.space
            first = [(filled(space, point, into=searched), 1) for point in self.points]
            for config, samples in [*first, (searched, more)]:
                part = copy.copy(experiment)
                part.spec = {**spec, "config": config, "num_samples": samples}
                super().add_configurations([part])

    def get_state(self) -> dict[str, Any]:
        return {k: v for k, v in super().get_state().items() if k not in {"settings", "space"}}  # type: ignore[no-untyped-call]

    def set_state(self, state: dict[str, Any]) -> None:
        settings = self.settings
        super().set_state(state)  # type: ignore[no-untyped-call]
        self.max_concurrent = settings.max_concurrent_trials
        self._live_trials: set[str] = set()  # the trials of the ended run start again
        # METRIC_GOAL or another limit may have ended the sampling.
        self._finished = self._finished and settings.resume != "extend"
        for iterator in self._iterators:
            _set_storage(iterator.unresolved_spec["storage"], settings)
        more = settings.num_samples - sum(iterator.num_samples for iterator in self._iterators)
        for last in self._iterators[-1:] if more > 0 else []:  # the others are the points
            self._total_samples += more * trials_per_sample(last.unresolved_spec["config"])
            last.num_samples_left += more
            last.num_samples += more


class ModelSearch(SearchGenerator):
    """Drives a searcher that learns from results, and restores it with the limits of this run.

    Parameters
    ----------
    searcher : ray.tune.search.Searcher
        Ray's or a team's own. It is limited to MAX_CONCURRENT_TRIALS.
    settings : RunSettings
    """

    def __init__(self, searcher: Searcher, settings: RunSettings) -> None:
        if settings.max_concurrent_trials:
            searcher = ConcurrencyLimiter(searcher, settings.max_concurrent_trials)
        super().__init__(searcher)
        self.settings = settings

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        done: bool = super().set_search_properties(metric, mode, config, **spec)
        searcher = getattr(self.searcher, "searcher", self.searcher)
        optimizer = getattr(searcher, "_nevergrad_opt", None)
        if optimizer is not None:  # Ray has no argument for its seed
            optimizer.parametrization.random_state.seed(self.settings.seed)
        return done

    def set_state(self, state: dict[str, Any]) -> None:
        settings = self.settings
        super().set_state(state)
        if isinstance(self.searcher, ConcurrencyLimiter):
            self.searcher.max_concurrent = settings.max_concurrent_trials
        self._total_samples = settings.num_samples
        self._finished = self._finished and settings.resume != "extend"
        experiment: Any = self._experiment
        _set_storage(experiment.spec["storage"], settings)

    def count_restored(self, trials: Sequence[Trial]) -> None:
        """Count the restored trials: after a kill, the saved searcher may know others."""
        self._counter = len(trials)
        if isinstance(self.searcher, ConcurrencyLimiter):
            live = {trial.trial_id for trial in trials if not trial.is_finished()}
            self.searcher.live_trials, self.searcher.num_unfinished_live_trials = live, len(live)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        with contextlib.suppress(KeyError):  # a trial that the saved searcher doesn't know
            super().on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the searcher how a trial ended; a trial that ended with NaN has failed."""
        if result and not math.isfinite(result[self.settings.metric]):
            result, error = None, True
        with contextlib.suppress(KeyError):
            super().on_trial_complete(trial_id, result, error)


def _set_storage(place: Any, settings: RunSettings) -> None:
    """Let new trials be stored where the experiment is now: it may have been copied or moved."""
    storage = Folder.open(settings.storage_path)
    place.storage_filesystem, place.storage_fs_path = storage.filesystem, storage.root
    place.experiment_dir_name = settings.name
