"""The global random generators of Python, NumPy and PyTorch, with a state for each trial.

A worker runs one trial after the other, and a test may alternate between several in one process. So
each trial has its own state, which starts with its seed, is set while a method of the trial runs,
and is part of each checkpoint. PyTorch's generators are included if the project imports it.
"""

import io
import random
import sys
from pathlib import Path
from typing import Any, Self

import numpy as np

FILE = "generators.npz"  # in a checkpoint
State = dict[str, Any]


class Generators:
    """The state of a trial's generators; inside the context, the process has this state.

    Parameters
    ----------
    seed : int
        The first state: the trial's `config["seed"]`.
    file : str
        The name of the state's file in a checkpoint.
    """

    def __init__(self, seed: int, file: str = FILE) -> None:
        self.seed, self.file = seed, file
        self._state: State = {}
        self._outside: list[State] = []

    def __enter__(self) -> Self:
        self._outside.append(_state())
        if not self._state:
            random.seed(self.seed)
            np.random.seed(self.seed % 2**32)  # noqa: NPY002  # the global generator is meant
        if "torch" in sys.modules and "torch" not in self._state:
            sys.modules["torch"].manual_seed(self.seed)
        _set(self._state)
        return self

    def __exit__(self, *error: object) -> None:
        self._state = _state()
        _set(self._outside.pop())

    def save(self, folder: Path) -> None:
        """Write the state into a checkpoint, without pickle; only inside the context."""
        buffer = io.BytesIO()
        np.savez(buffer, **_state())
        (folder / self.file).write_bytes(buffer.getvalue())

    def load(self, folder: Path) -> None:
        """Set the state of a checkpoint, if it has one; only inside the context."""
        if (folder / self.file).exists():
            with np.load(folder / self.file, allow_pickle=False) as saved:
                _set(dict(saved))


def _state() -> State:
    """The present state of the process's generators, as arrays."""
    _, words, following = random.getstate()
    _, key, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    state = {
        "python": np.array(words, np.uint32),
        "python_gauss": np.array(np.nan if following is None else following),
        "numpy": np.append(np.asarray(key, np.uint32), [np.uint32(position), np.uint32(has_gauss)]),
        "numpy_gauss": np.array(gauss),
    }
    if (torch := sys.modules.get("torch")) is not None:
        state["torch"] = torch.get_rng_state().numpy()
        if torch.cuda.is_initialized():
            state["cuda"] = torch.cuda.get_rng_state().numpy()
    return state


def _set(state: State) -> None:
    if "python" in state:
        gauss = float(state["python_gauss"])
        words = tuple(map(int, state["python"]))
        random.setstate((3, words, None if np.isnan(gauss) else gauss))
        *key, position, has_gauss = state["numpy"]
        numpy_state = ("MT19937", np.array(key), int(position), int(has_gauss))
        np.random.set_state((*numpy_state, float(state["numpy_gauss"])))  # noqa: NPY002
    torch = sys.modules.get("torch")
    if torch is not None and "torch" in state:
        torch.set_rng_state(torch.tensor(state["torch"]))
        if "cuda" in state and torch.cuda.is_initialized():
            torch.cuda.set_rng_state(torch.tensor(state["cuda"]))
