"""Yours: the trial, as Ray Tune drives it. Each method says when Ray calls it."""

from pathlib import Path
from typing import Any

from .data import Data, load_data
from .harness.settings import RunSettings
from .harness.tune import StoredTrainable
from .model import Model, why_no_gpu
from .settings import Settings


class ExperimentTrainable(StoredTrainable):
    """One trial: a `ray.tune.Trainable` whose logs and exports reach the storage path."""

    @classmethod
    def check(cls, settings: RunSettings) -> list[str]:
        """Before a run, on the driver. Returns what would stop it, one line each."""
        gpus = any(bundle.get("gpu") for bundle in settings.resources_per_trial)
        if gpus and (reason := why_no_gpu()):
            return [f"{settings.given('resources_per_trial')}: {reason}"]
        return []

    def setup(self, config: dict[str, Any], data: Data | None = None) -> None:
        """When a worker starts its first trial. Ray passes the shared `data`."""
        self.data = load_data(Settings()) if data is None else data
        self.model = Model(config, self.data, self.granted)

    def step(self) -> dict[str, float]:
        """Each iteration. Stoppers, schedulers and loggers get what it returns."""
        training_loss = self.model.fit_step()
        predicted = self.model.predict(self.data.x_valid)
        return {"training_loss": training_loss, **self.data.metrics(predicted)}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Every CHECKPOINT_FREQUENCY iterations. Ray moves the folder to the storage path."""
        self.model.save(Path(checkpoint_dir))

    def load_checkpoint(self, checkpoint: Any) -> None:
        """After a failure or a resume, with the folder that `save_checkpoint` filled."""
        self.model.load(Path(checkpoint))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """When a worker starts its next trial: a new model, the same data. True: it worked."""
        self.model = Model(new_config, self.data, self.granted)
        return True

    def cleanup(self) -> None:
        """Before the worker ends: close what `setup` opened."""
        del self.model, self.data

    def _export_model(self, export_formats: list[str], export_dir: str) -> dict[str, str]:
        """When a trial ends, with EXPORT_FORMATS. Returns the file of each format."""
        return {name: str(self.model.export(Path(export_dir))) for name in export_formats}

    def log_result(self, result: dict[str, Any]) -> None:
        """After each iteration. Ray calls it."""
        self.log_results(result)

    def log_results(self, result: dict[str, Any]) -> None:
        """Print to the worker's log: LOG_TO_FILE saves it in the trial's folder."""
        values = ", ".join(f"{name} {result[name]:.4f}" for name in Settings.METRICS)
        print(f"iteration {result['training_iteration']}: {values}")
