"""Environment variables and log levels of Ray: less output, its state saved more often."""

import contextlib
import json
import logging
import os
import shlex
import signal
import sys
import threading
import warnings
from collections.abc import Iterator

__all__ = ["start_ray"]

# The signals that end a run.
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
ENDING = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
BLOCKED = set(ENDING) - {signal.SIGINT}

KNOWN = (
    # A restored trial reports again what came after its last checkpoint.
    "The reported value is ignored because this `step",
    # harness/tune/trainable.py falls back to another checkpoint of the same trial.
    "Using `CheckpointConfig.num_to_keep <= 2` with PBT",
)


def quiet_ray(verbose: int, local_storage: bool = True) -> None:
    """Set how much Ray prints. Call it before Ray is imported. It keeps variables that are set.

    Nothing is lost: each trial's log files have what its worker prints.
    """
    defaults = {
        # The classic reporter interface, which run/progress.py implements.
        "RAY_AIR_NEW_OUTPUT": "0",
        # Ray warns about a state snapshot at each checkpoint; it takes only milliseconds.
        "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
        # Seconds between snapshots, which a kill may lose. Ray's default is ten.
        "TUNE_GLOBAL_CHECKPOINT_S": "1" if local_storage else "auto",
        # run/outcome.py shows each traceback once, at the end.
        "TUNE_PRINT_ALL_TRIAL_ERRORS": "1" if verbose >= 3 else "0",
        "RAY_LOG_TO_DRIVER": "1" if verbose >= 3 else "0",
        "RAY_LOGGER_LEVEL": "info" if verbose >= 3 else "warning",
    }
    if "RAY_ADDRESS" not in os.environ:
        # Ray's switch for laptops: a local cluster listens only on 127.0.0.1.
        defaults["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    python = shlex.quote(sys.executable)
    if python != sys.executable:
        # In a folder with a space, Ray could start no worker and would wait forever: it doesn't
        # quote the path of Python.
        job = {"runtime_env": {"py_executable": python}}
        defaults["RAY_JOB_CONFIG_JSON_ENV_VAR"] = json.dumps(job)
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray.tune.tune").addFilter(_said_by_us)
    if verbose < 3:  # before Ray starts, its own log level has no effect
        logging.getLogger("ray.tune.trainable.trainable").setLevel("WARNING")
    # Trials that had not begun when a run was interrupted.
    logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel("ERROR")
    # For Optuna, a trial that `extend` continues has already ended.
    logging.getLogger("ray.tune.search.optuna.optuna_search").setLevel("ERROR")
    # When a resume sets MAX_CONCURRENT_TRIALS, there is no saved state of Ray's limiter.
    logging.getLogger("ray.tune.search.search_generator").setLevel("ERROR")
    for known in KNOWN:
        warnings.filterwarnings("ignore", message=known)
    # Each start of a local cluster warns that a token protects it.
    logging.getLogger("ray._private.authentication.authentication_token_setup").setLevel("ERROR")


def start_ray() -> None:
    """Start Ray as `tune.run` does, or join the cluster of RAY_ADDRESS, unless it is running.

    For a `load_data` that computes on Ray; `tune.run` then uses the same Ray.
    """
    import ray

    if not ray.is_initialized():
        with without_signals():
            ray.init()


@contextlib.contextmanager
def without_signals() -> Iterator[None]:
    """Block signals. Processes that Ray starts meanwhile never get them.

    A cluster's scheduler signals the whole process group, but Ray's daemons have to live while a
    run saves its state. Ray does this itself, but only for SIGINT.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
    handlers = {number: signal.getsignal(number) for number in BLOCKED}
    try:
        yield
    finally:
        for number, handler in handlers.items():  # Ray has set its own; one in C aborts
            handler = handler if callable(handler) else signal.getsignal(number)
            if handler is not None and threading.current_thread() is threading.main_thread():
                signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _said_by_us(record: logging.LogRecord) -> bool:
    """Drop what harness/run prints itself (signals.py, outcome.py)."""
    ours = ("Stop signal received", "Experiment has been interrupted", "Trials did not complete")
    return not record.getMessage().startswith(ours)
