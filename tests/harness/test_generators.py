"""Each trial has random generators of its own: Python's, NumPy's and PyTorch's."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness.tune.generators import FILE, Generators
from harness.tune.trainable import StoredTrainable


class Draws(StoredTrainable):
    """A trial that reports what the global generators draw."""

    def setup(self, config: dict[str, Any]) -> None:
        self.first = drawn()

    def step(self) -> dict[str, Any]:
        return drawn()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        Path(checkpoint_dir, "empty").touch()

    def load_checkpoint(self, checkpoint: Any) -> None:
        drawn()  # what is drawn here changes nothing

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.first = drawn()
        return True


def drawn() -> dict[str, float]:
    return {
        "python": random.random(),
        "python_gauss": random.gauss(),
        "numpy": float(np.random.random()),
        "numpy_gauss": float(np.random.normal()),
        "torch": float(torch.rand(())),
        "torch_gauss": float(torch.randn(())),
    }


def made(folder: Path, seed: int = 7) -> Draws:
    class Made(Draws):
        def _setup_logdir(self) -> None:
            self._logdir = str(folder)

    return Made({"seed": seed})


def reported(trial: Draws) -> dict[str, Any]:
    result = trial.train()
    return {name: result[name] for name in drawn()}


def test_a_seed_decides_what_is_drawn(tmp_path: Path) -> None:
    one, same, other = made(tmp_path), made(tmp_path), made(tmp_path, seed=8)
    assert one.first == same.first
    assert reported(one) == reported(same)
    values, others = reported(one), reported(other)
    assert all(values[name] != others[name] for name in values)


def test_trials_that_take_turns_do_not_disturb_each_other(tmp_path: Path) -> None:
    alone = made(tmp_path)
    expected = [reported(alone) for _ in range(3)]
    one, other = made(tmp_path), made(tmp_path, seed=8)
    found = []
    for _ in range(3):
        found.append(reported(one))
        reported(other)
        drawn()
    assert found == expected


def test_a_restored_trial_draws_on(tmp_path: Path) -> None:
    trial = made(tmp_path)
    reported(trial)
    saved = trial.save(str(tmp_path / "checkpoint"))
    expected = [reported(trial) for _ in range(3)]
    restored = made(tmp_path, seed=9)
    restored.restore(saved)
    assert [reported(restored) for _ in range(3)] == expected


def test_a_reused_worker_draws_as_a_new_one(tmp_path: Path) -> None:
    used = made(tmp_path, seed=3)
    reported(used)
    used.reset({"seed": 7})
    new = made(tmp_path)
    assert (used.first, reported(used)) == (new.first, reported(new))


def test_the_process_keeps_its_own() -> None:
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    expected = drawn()
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    with Generators(2):
        assert drawn() != expected
    assert drawn() == expected


def test_the_file_is_no_pickle(tmp_path: Path) -> None:
    with Generators(1) as generators:
        random.gauss()
        generators.save(tmp_path)
        expected = drawn()
    with np.load(tmp_path / FILE, allow_pickle=False) as saved:
        assert {"python", "numpy", "torch"} <= set(saved)
    with Generators(5) as others:
        others.load(tmp_path)
        assert drawn() == expected


def test_a_checkpoint_of_before_has_none(tmp_path: Path) -> None:
    with Generators(1) as generators:
        generators.load(tmp_path)
