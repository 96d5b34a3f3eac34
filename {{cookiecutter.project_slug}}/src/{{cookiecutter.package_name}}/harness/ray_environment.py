"""Ray without its noise, and with its state saved more often: set before Ray is imported."""

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
    # A restored trial reports once more what came after its last checkpoint.
    "The reported value is ignored because this `step",
    # harness/tune/trainable.py takes another checkpoint of the same trial.
    "Using `CheckpointConfig.num_to_keep <= 2` with PBT",
)


def quiet_ray(verbose: int, local_storage: bool = True) -> None:
    """Set how much Ray says; call it before Ray is imported. A variable that is set stays.

    Nothing is lost: what the workers print is in each trial's own log files.
    """
    defaults = {
        # The classic reporter interface, which run/progress.py implements.
        "RAY_AIR_NEW_OUTPUT": "0",
        # A state snapshot at each checkpoint is right for short trials, and costs milliseconds.
        "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
        # At most a second of bookkeeping is lost to a kill; Ray's default is ten.
        "TUNE_GLOBAL_CHECKPOINT_S": "1" if local_storage else "auto",
        # run/outcome.py shows each traceback once, at the end.
        "TUNE_PRINT_ALL_TRIAL_ERRORS": "1" if verbose >= 3 else "0",
        "RAY_LOG_TO_DRIVER": "1" if verbose >= 3 else "0",
        "RAY_LOGGER_LEVEL": "info" if verbose >= 3 else "warning",
    }
    if "RAY_ADDRESS" not in os.environ:
        # Ray's switch for laptops: a local cluster listens on 127.0.0.1 alone.
        defaults["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    python = shlex.quote(sys.executable)
    if python != sys.executable:
        # In a folder with a space Ray starts no worker, and waits for ever: it quotes the arguments
        # of Python, but not Python.
        job = {"runtime_env": {"py_executable": python}}
        defaults["RAY_JOB_CONFIG_JSON_ENV_VAR"] = json.dumps(job)
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray.tune.tune").addFilter(_said_by_us)
    if verbose < 3:  # before Ray starts, it does not heed its own level
        logging.getLogger("ray.tune.trainable.trainable").setLevel("WARNING")
    # Trials that had not begun when a run was interrupted.
    logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel("ERROR")
    # A trial that `extend` takes further had ended before, for Optuna; it keeps what it had then.
    logging.getLogger("ray.tune.search.optuna.optuna_search").setLevel("ERROR")
    # A resume may set MAX_CONCURRENT_TRIALS; Ray misses the limiter's state.
    logging.getLogger("ray.tune.search.search_generator").setLevel("ERROR")
    for known in KNOWN:
        warnings.filterwarnings("ignore", message=known)
    # A token guards each local cluster. Ray says so at every start, as a warning.
    logging.getLogger("ray._private.authentication.authentication_token_setup").setLevel("ERROR")


def start_ray() -> None:
    """Start Ray, or join the cluster of RAY_ADDRESS, as `tune.run` does, unless that is done.

    For a `load_data` that computes on Ray: `tune.run` then uses the same one.
    """
    import ray

    if not ray.is_initialized():
        with without_signals():
            ray.init()


@contextlib.contextmanager
def without_signals() -> Iterator[None]:
    """Let signals wait. What Ray starts meanwhile never gets them, but for SIGINT.

    A scheduler signals the whole process group: Ray's daemons have to live on while a run saves its
    state. Ray itself sees to that for SIGINT alone.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
    handlers = {number: signal.getsignal(number) for number in BLOCKED}
    try:
        yield
    finally:
        for number, handler in handlers.items():  # Ray has set its own, one below Python's: abort
            handler = handler if callable(handler) else signal.getsignal(number)
            if handler is not None and threading.current_thread() is threading.main_thread():
                signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _said_by_us(record: logging.LogRecord) -> bool:
    """Drop what harness/run says itself (signals.py, outcome.py)."""
    ours = ("Stop signal received", "Experiment has been interrupted", "Trials did not complete")
    return not record.getMessage().startswith(ours)
