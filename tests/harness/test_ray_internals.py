"""What the harness uses of Ray's private parts is there, as it uses it: a new Ray fails here first.

Each part is named as `pkgutil.resolve_name` finds it. Used in harness/tune/ray_internals.py, and
where a class of Ray is extended: loggers, search, schedulers, Trainable, ExperimentAnalysis.
"""

import inspect
import pkgutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from harness.ray_environment import KNOWN
from harness.store.storage import Folder
from harness.tune import make_scheduler, make_search, ray_internals
from harness.tune.scheduler_state import LEARNED
from ray import tune
from ray.train._internal.storage import _FilesystemSyncer
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import pbt
from stub import Settings

CONTROLLER = "ray.tune.execution.tune_controller:TuneController"
TRIAL = "ray.tune.experiment.trial:Trial"
TRAINABLE = "ray.tune.trainable.trainable:Trainable"
STORAGE = "ray.train._internal.storage:StorageContext"
SYNCER = "ray.train._internal.storage:_FilesystemSyncer"
CHECKPOINTS = "ray.train._internal.checkpoint_manager:_CheckpointManager"
PLACEHOLDER = "ray.tune.impl.placeholder"
ANALYSIS = "ray.tune.analysis.experiment_analysis:ExperimentAnalysis"
LOGGER = "ray.tune.logger"
HYPERBAND = "ray.tune.schedulers:HyperBandScheduler"
BRACKET = "ray.tune.schedulers.hyperband:_Bracket"


@pytest.fixture(autouse=True)
def as_ray_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another test may have patched Ray in this process."""
    monkeypatch.setattr(TuneController, "save_to_dir", ray_internals._ray_saves)
    monkeypatch.setattr(_FilesystemSyncer, "_launch_sync_process", ray_internals._ray_copies)
    monkeypatch.setattr(Trial, "resolve_config_placeholders", ray_internals._ray_resolves)


# By name, the parameters that are given, or that an override takes.
CALLED: dict[str, list[str]] = {
    f"{CONTROLLER}.save_to_dir": ["self"],
    f"{CONTROLLER}._mark_trial_to_checkpoint": ["self", "trial"],
    f"{TRIAL}.resolve_config_placeholders": ["self", "placeholder_resolvers"],
    f"{TRIAL}.from_json_state": ["json_state", "stub"],
    f"{TRIAL}.get_json_state": ["self"],
    f"{TRIAL}.restore_run_metadata": ["self", "run_metadata"],
    f"{TRIAL}.set_storage": ["self", "new_storage"],
    f"{TRAINABLE}.__init__": ["self", "config", "storage"],
    f"{TRAINABLE}.save": ["self", "checkpoint_dir"],
    f"{TRAINABLE}.restore": ["self", "checkpoint_path"],
    f"{TRAINABLE}.export_model": ["self", "export_formats", "export_dir"],
    f"{TRAINABLE}._export_model": ["self", "export_formats", "export_dir"],
    f"{TRAINABLE}._open_logfiles": ["self", "stdout_file", "stderr_file"],
    f"{STORAGE}.persist_artifacts": ["self", "force"],
    f"{SYNCER}._launch_sync_process": ["self", "sync_command"],
    f"{CHECKPOINTS}.__init__": ["self", "checkpoint_config"],
    f"{CHECKPOINTS}.register_checkpoint": ["self", "checkpoint_result"],
    "ray.train._internal.session:_TrainingResult": ["checkpoint", "metrics"],
    "ray._private.node:Node.kill_all_processes": ["self", "check_alive", "allow_graceful", "wait"],
    f"{PLACEHOLDER}:_get_placeholder": ["config", "prefix", "path"],
    f"{PLACEHOLDER}:create_resolvers_map": [],
    f"{PLACEHOLDER}:inject_placeholders": ["config", "resolvers", "id_prefix", "path_prefix"],
    "ray.tune.execution.placement_groups:resource_dict_to_pg_factory": ["spec"],
    "ray.tune.search.variant_generator:assign_value": ["spec", "path", "value"],
    "ray.tune.search.variant_generator:parse_spec_vars": ["spec"],
    f"{ANALYSIS}._load_trials": ["self"],
    f"{ANALYSIS}._fetch_trial_dataframes": ["self"],
    f"{ANALYSIS}._retrieve_rows": ["self", "metric", "mode"],
    f"{LOGGER}:JsonLoggerCallback._restore_from_remote": ["self", "file_name", "trial"],
    f"{BRACKET}.current_trials": ["self"],
    f"{HYPERBAND}._process_bracket": ["self", "tune_controller", "bracket"],
}
# Texts that name a part where it is set or read, by the class or module whose source has it.
IN_SOURCE = {
    "ray._private.worker": ["_global_node"],
    CONTROLLER: [
        "self._storage.experiment_driver_staging_path",
        "self._cached_trial_decisions",
        "self._stopper",
        "self._iteration",
        '"trial_data"',
        '"runner_data"',
        "resolve_config_placeholders(",
    ],
    "ray.tune.execution.tune_controller": ["self._tune_controller = tune_controller"],
    TRAINABLE: ["self._storage", "self._last_result", "self._logdir", "_setup_logdir("],
    STORAGE: [
        "self.storage_filesystem",
        "self.storage_fs_path",
        "self.experiment_dir_name",
        "self.current_checkpoint_index",
        "def experiment_fs_path",
        "def experiment_driver_staging_path",
        "def trial_fs_path",
    ],
    SYNCER: ["local_path=local_path"],
    "ray.train._internal.syncer:_BackgroundSyncer": ["self._current_cmd = sync_command"],
    CHECKPOINTS: ["self._latest_checkpoint_result", "def best_checkpoint_results"],
    f"{PLACEHOLDER}": ["class _FunctionResolver", "class _RefResolver", "TOKEN ="],
    ANALYSIS: ["self._experiment_fs_path"],
    f"{LOGGER}:JsonLoggerCallback": ["self._trial_files"],
    f"{LOGGER}:CSVLoggerCallback": ["self._trial_files", "self._restore_from_remote("],
    f"{LOGGER}:TBXLoggerCallback": ["self._summary_writer_cls("],
    "ray.tune.callback:CallbackList": ["self._callbacks"],
    "ray.tune.stopper:MaximumIterationStopper": ["self._iter["],
    "ray.tune.search:BasicVariantGenerator": [
        "self._iterators",
        "self._total_samples",
        "self._finished",
        "self._live_trials",
    ],
    "ray.tune.search.basic_variant:_TrialIterator": [
        "self.unresolved_spec",
        "self.num_samples",
        "self.num_samples_left",
    ],
    "ray.tune.search:SearchGenerator": [
        "self._counter",
        "self._total_samples",
        "self._finished",
        "self._experiment",
    ],
    "ray.tune.search:ConcurrencyLimiter": [
        "self.live_trials",
        "self.num_unfinished_live_trials",
        "self.max_concurrent",
    ],
    "ray.tune.search.nevergrad:NevergradSearch": ["self._nevergrad_opt"],
    "ray.tune.schedulers.async_hyperband:_Bracket": ["self._rungs"],
    BRACKET: ["self._live_trials", "self.trials_to_unpause", "self.is_being_processed"],
    "ray.tune.schedulers:MedianStoppingRule": ["self._time_attr", "self._metric"],
    "ray.tune.schedulers.pbt:_PBTTrialState": ["self.last_checkpoint", "self.last_result"],
    # What is left out of Ray's log, because the harness says it.
    "ray.tune.tune": [
        "Stop signal received",
        "Experiment has been interrupted",
        "Trials did not complete",
    ],
}
# Named by harness/ray_environment.py: Ray calls its loggers as their modules.
LOGGERS = (
    "ray.tune.tune",
    "ray.tune.trainable.trainable",
    "ray.tune.analysis.experiment_analysis",
    "ray.tune.search.optuna.optuna_search",
    "ray.tune.search.search_generator",
    "ray._private.authentication.authentication_token_setup",
)


@pytest.mark.parametrize("name", CALLED)
def test_what_is_called_or_overridden(name: str) -> None:
    assert [*inspect.signature(pkgutil.resolve_name(name)).parameters] == CALLED[name]


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in IN_SOURCE.items() for text in texts]
)
def test_what_is_set_or_read(name: str, text: str) -> None:
    assert text in inspect.getsource(pkgutil.resolve_name(name))


@pytest.mark.parametrize("name", ["asha", "median", "hyperband", "pbt"])
def test_what_schedulers_learn(name: str) -> None:
    space = {"rate": tune.uniform(0, 1)}
    scheduler = make_scheduler(Settings(scheduler=name), space, ["rate"])
    (attributes,) = (its for kind, its in LEARNED.items() if isinstance(scheduler, kind))
    assert [its for its in attributes if not hasattr(scheduler, its)] == []


def test_marks_of_functions_and_objects() -> None:
    """How Ray tells that a value of a configuration is still to be made."""
    space = {"n": tune.sample_from(lambda: 3), "call": tune.choice([print])}
    marked = ray_internals.with_placeholders(space)
    assert ray_internals._is_placeholder(marked["call"].categories[0])
    assert ray_internals._is_placeholder(marked["n"])
    assert not ray_internals._is_placeholder(("a", "b"))


def test_a_new_trial_is_resolved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    resolved: list[Any] = []
    monkeypatch.setattr(ray_internals, "_ray_resolves", lambda _, which: resolved.append(which))
    space = {"call": tune.choice([print]), "rate": 0.5}
    marked = ray_internals.with_placeholders(space)
    for value in (marked["call"].categories[0], print):
        trial: Any = SimpleNamespace(config={"call": value, "rate": 0.5})
        ray_internals._resolve_once(trial, {("call",): "its resolver", ("rate",): "another"})
    assert resolved == [{("call",): "its resolver"}]


def test_what_is_patched() -> None:
    ray_internals.patch_ray()
    assert Trial.resolve_config_placeholders is ray_internals._resolve_once
    assert TuneController.save_to_dir is ray_internals._save_beside
    assert _FilesystemSyncer._launch_sync_process is ray_internals._copy_in_order


def test_a_state_is_copied_after_the_tables(empty_folder: Path) -> None:
    """And not without them: what closing a file raises is lost on its way."""
    folder = Folder.open(str(empty_folder)) / "x"
    staging, state = ray_internals.copied_in_order(str(empty_folder / "staging"))
    syncer = _FilesystemSyncer(folder.filesystem)

    def copy(text: bytes) -> None:
        for path in (staging / "trial_a/result.json", state / "experiment_state-1.json"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
        command = syncer._sync_up_command(str(staging), folder.root)
        ray_internals._copy_in_order(syncer, command)
        syncer.wait()

    copy(b"1")
    assert folder.read("trial_a", "result.json") == b"1"
    assert folder.read("experiment_state-1.json") == b"1"
    folder.delete("trial_a", "result.json")
    folder.write(b"", "trial_a", "result.json", "in its place")
    with pytest.raises(IsADirectoryError):
        copy(b"2")
    assert folder.read("experiment_state-1.json") == b"1"
    folder.delete("trial_a", "result.json")
    copy(b"3")
    assert folder.read("experiment_state-1.json") == b"3"
    assert syncer._current_cmd == syncer._sync_up_command(str(staging), folder.root)


def test_a_searcher_is_wrapped_as_ray_wraps_it() -> None:
    space = {"rate": tune.uniform(0, 1)}
    settings = Settings(search_alg="nevergrad", max_concurrent_trials=2)
    search: Any = make_search(settings, space)
    search.set_search_properties("score", "max", space)
    assert search.searcher.searcher._nevergrad_opt.parametrization.random_state


@pytest.mark.parametrize("name", LOGGERS)
def test_loggers(name: str) -> None:
    assert pkgutil.resolve_name(name).logger.name == name


def test_warnings_that_are_left_out() -> None:
    twice, few = KNOWN
    trial = optuna.create_study().ask()
    trial.report(0.5, step=1)
    with pytest.warns(UserWarning, match=twice):
        trial.report(0.6, step=1)
    assert few in inspect.getsource(pbt)
