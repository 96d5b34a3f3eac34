"""`export`: the model of the best checkpoint, with what it is written down beside it."""

import fnmatch
import hashlib
import json
import math
import platform
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow import fs
from ray import tune
from ray.tune.utils.serialization import TuneFunctionDecoder

from ...data import Data
from ...settings import METRICS, PREFIX, Settings
from ...trainable import ExperimentTrainable
from ..cli.listing import find, outcome
from ..cli.trials import load, ranked, ranking, setting
from ..configuration import FLAG, Configuration, Refusal, without_password
from ..store import dataset
from ..store.record import Record, code_state, now, packages
from ..store.saved_trials import SavedTrial
from ..store.storage import Storage
from ..tune.trainable import SEAL, DamagedCheckpoint

FOLDER = "best"  # in the experiment's
FILE = "export.json"
CHECKPOINT = "checkpoint_*"
TRIES = 3  # to read the checkpoints of a running experiment


@dataclass
class Candidate:
    """A checkpoint, and the result it was saved after."""

    trial: SavedTrial
    folder: str
    result: dict[str, Any]
    value: float  # of METRIC
    is_best: bool  # it is the result by which SCOPE chose the trial


class Changed(Exception):
    """A checkpoint that went, or was not whole yet, while the experiment runs."""


def export(configuration: Configuration) -> None:
    """Export the best checkpoint of the experiment NAME. Raises Refusal for what stands against."""
    record = find(configuration.settings)
    if foreign := record.foreign():
        raise Refusal(f"{PREFIX}NAME={record.name!r}: {foreign}")
    try:
        _export(configuration, record)
    except OSError as error:
        raise Refusal(f"{without_password(record.storage.path)}: {error}") from None


def _export(configuration: Configuration, record: Record) -> None:
    by = ranking(configuration, record)
    best = _best(record, by)
    target, where = _target(configuration, record)
    before = _exported_before(target, where, configuration)
    with tempfile.TemporaryDirectory() as scratch:
        chosen, files, facts = _exported(configuration, record, best, Path(scratch))
        _publish(target, where, files, facts, before)
    _say(record, chosen, best[0], by, target, where, facts, before)


def export_into(folder: Path, settings: Settings) -> dict[str, Any]:
    """Export the best checkpoint of the experiment NAME into a folder on this machine.

    Returns what its export.json says. Raises Refusal for what stands against.
    """
    configuration = Configuration(settings, dict.fromkeys(Settings.model_fields, FLAG))
    record = find(settings)
    try:
        best = _best(record, ranking(configuration, record))
        with tempfile.TemporaryDirectory() as scratch:
            _, files, facts = _exported(configuration, record, best, Path(scratch))
        for name, file in files.items():
            facts["files"][name]["file"] = file["plain"]
            (folder / file["plain"]).write_bytes(file["content"])
        (folder / FILE).write_text(json.dumps(facts, indent=2))
    except Refusal:
        raise
    except Exception as error:  # of the storage, or whatever a model raises
        raise Refusal(f"{record.name}: {type(error).__name__}: {error}") from None
    return facts


def _best(record: Record, by: tuple[str, str, str]) -> list[SavedTrial]:
    """The trials with a finite METRIC, the best first."""
    trials = load(record)
    best = [trial for trial in ranked(trials, *by) if math.isfinite(trial.score(*by))]
    if not best:
        what = f"no trial has a finite {by[0]}" if trials else "nothing has been saved of it yet"
        raise Refusal(f"{PREFIX}NAME={record.name!r}: {what}, so there is no best one to export")
    return best


def _exported(
    configuration: Configuration, record: Record, best: list[SavedTrial], scratch: Path
) -> tuple[Candidate, dict[str, Any], dict[str, Any]]:
    """Export the best checkpoint that is whole. Returns it, the files, and export.json."""
    if ExperimentTrainable._export_model is tune.Trainable._export_model:
        raise Refusal(
            "trainable.py: ExperimentTrainable has no method _export_model, which writes the file"
            " of each format"
        )
    by = ranking(configuration, record)
    formats = setting(configuration, record, "export_formats") or _default("export_formats")
    data = _data(configuration, record)
    chosen, trainable = _restored(configuration, record, best, by, data, scratch)
    folder = scratch / "export"
    folder.mkdir()
    files = _files(trainable, formats, folder)
    return chosen, files, _facts(record, chosen, by, files)


def _default(field: str) -> Any:
    return Settings.model_fields[field].get_default(call_default_factory=True)


def _target(configuration: Configuration, record: Record) -> tuple[Storage, list[str]]:
    """Where the export goes: a storage, and the folders below its path."""
    path = configuration.settings.export_path
    if path is None:
        return record.storage, [record.name, FOLDER]
    try:
        storage = Storage(path)
        storage.probe()
    except OSError as error:
        raise _not_written(path, error) from None
    return storage, []


def _not_written(path: str, error: Exception) -> Refusal:
    reason = without_password(str(error).splitlines()[0].rpartition("Detail: ")[2])
    return Refusal(f"{PREFIX}EXPORT_PATH={without_password(path)!r}: can't be written ({reason})")


def _exported_before(
    target: Storage, where: list[str], configuration: Configuration
) -> dict[str, Any] | None:
    """What export.json of an earlier export says, None where there is none.

    Raises Refusal when it is another experiment's, and nobody said to replace it.
    """
    text = target.read(*where, FILE)
    if text is None:
        return None
    settings, place = configuration.settings, without_password("/".join([target.path, *where]))
    try:
        facts: dict[str, Any] = json.loads(text)
        names = [file["file"] for file in facts["files"].values()]
        trained = f"the export of {facts['experiment']}, trial {facts['trial']}"
        if any(Path(name).name != name for name in names):  # they will be deleted
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Refusal(f"{place}/{FILE} is of no export: move it, or give --export-path") from None
    if where or settings.export_replace or facts["experiment"] == settings.name:
        return facts
    raise Refusal(
        f"{PREFIX}EXPORT_PATH={place!r}: holds {trained}; --export-replace replaces it, or give"
        " another folder"
    )


def _data(configuration: Configuration, record: Record) -> Data:
    """The rows as the run had them; they are what the preprocessing was fitted on."""
    path = setting(configuration, record, "data_path")
    data = dataset.load(Path(path) if path else None, setting(configuration, record, "target"))
    if difference := dataset.difference(record.content["data"], dataset.describe(data)):
        raise Refusal(
            f"{difference}: not the rows that {record.name} was run on; --data-path names their"
            f" file, `show {record.name}` the commit that prepared them"
        )
    return data


def _candidates(
    record: Record, trials: list[SavedTrial], by: tuple[str, str, str], unsealed: list[str]
) -> Iterator[Candidate]:
    """The checkpoints of the best trial, the best first; then those of the next, and so on.

    unsealed: takes those without a seal, which tells the result
    """
    metric, mode, scope = by
    sign = -1 if mode == "max" else 1
    for trial in trials:
        found = []
        for entry in fnmatch.filter(record.storage.files(record.name, trial.folder), CHECKPOINT):
            seal = record.storage.read(record.name, trial.folder, entry, SEAL)
            try:
                result = json.loads(seal or b"")["result"]
            except (ValueError, KeyError, TypeError):  # missing or cut off
                unsealed.append(f"{trial.folder}/{entry}")
                continue
            with suppress(KeyError, TypeError):  # saved before METRIC was reported
                value = float(result[metric])
                is_best = value == trial.score(*by) and (
                    scope != "last" or result["training_iteration"] == trial.iterations
                )
                if math.isfinite(value):
                    found.append(Candidate(trial, entry, result, value, is_best))
        yield from sorted(
            found,
            key=lambda found: (
                (0.0 if scope == "last" else sign * found.value),
                -found.result["training_iteration"],
            ),
        )


def _restored(
    configuration: Configuration,
    record: Record,
    trials: list[SavedTrial],
    by: tuple[str, str, str],
    data: Data,
    scratch: Path,
) -> tuple[Candidate, ExperimentTrainable]:
    """The best checkpoint that is whole, in a trainable. Raises Refusal when there is none."""
    resources = setting(configuration, record, "resources_per_trial")

    def make(trial: SavedTrial) -> ExperimentTrainable:
        return ExperimentTrainable.without_ray(trial_config(trial), data, scratch, resources)

    for _ in range(TRIES - 1):
        if outcome(record) == "running":
            with suppress(Changed):
                return _first_whole(record, trials, by, make, scratch, may_change=True)
    return _first_whole(record, trials, by, make, scratch)


def _first_whole(
    record: Record,
    trials: list[SavedTrial],
    by: tuple[str, str, str],
    make: Callable[[SavedTrial], ExperimentTrainable],
    scratch: Path,
    may_change: bool = False,
) -> tuple[Candidate, ExperimentTrainable]:
    damaged, unsealed = "", list[str]()
    for candidate in _candidates(record, trials, by, unsealed):
        folder = Path(tempfile.mkdtemp(dir=scratch))
        try:
            fs.copy_files(
                record.storage.at(record.name, candidate.trial.folder, candidate.folder),
                str(folder),
                source_filesystem=record.storage.filesystem,
                destination_filesystem=fs.LocalFileSystem(),
            )
            trainable = make(candidate.trial)
            trainable.restore_folder(folder)
        except (DamagedCheckpoint, FileNotFoundError) as error:
            if may_change:
                raise Changed from error
            damaged = f"{candidate.trial.folder}/{candidate.folder}: {error}"
            print(damaged)
            continue
        except Exception as error:  # whatever a model raises
            commit = str(record.content["runs"][-1]["git"]["commit"])[:12]
            raise Refusal(
                f"{candidate.trial.folder}/{candidate.folder} can't be restored by this code"
                f" ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''});"
                f" it was run with that of commit {commit}"
            ) from None
        return candidate, trainable
    if damaged:
        raise Refusal(f"{PREFIX}NAME={record.name!r}: no checkpoint is whole; the last: {damaged}")
    why = ""
    if outcome(record) == "running":
        why = " yet: it is running"
    elif unsealed:
        why = f" with {SEAL}, which tells its result: {', '.join(unsealed[:3])} have none"
    elif record.content["settings"]["checkpoint_frequency"]["value"] == 0:
        why = f": {PREFIX}CHECKPOINT_FREQUENCY was 0; 1 keeps them, in a run under another name"
    raise Refusal(
        f"{PREFIX}NAME={record.name!r}: no trial with a finite {by[0]} has a checkpoint{why}"
    )


def trial_config(trial: SavedTrial) -> dict[str, Any]:
    """What the trial's Trainable was given. Values that are no JSON are Ray's pickles."""
    decoder = TuneFunctionDecoder(allow_cloudpickle=True)
    config: dict[str, Any] = decoder.decode(json.dumps(trial.config))
    return config


def _files(trainable: ExperimentTrainable, formats: list[str], folder: Path) -> dict[str, Any]:
    """Let the Trainable export. Returns content, names and digest of each format's file.

    The digest is in `file`: an older export stays whole until export.json names the new one.
    """
    files, exported = {}, trainable.export_model(formats, str(folder)) or {}
    for name in formats:
        file = Path(exported.get(name, ""))
        if not file.is_file():
            raise Refusal(
                f"trainable.py: ExperimentTrainable._export_model returned no file for {name!r}"
            )
        content = file.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        stored = f"{file.stem}-{digest[:12]}{file.suffix}"
        files[name] = {"content": content, "file": stored, "sha256": digest, "plain": file.name}
    return files


def _facts(
    record: Record,
    chosen: Candidate,
    by: tuple[str, str, str],
    files: dict[str, Any],
) -> dict[str, Any]:
    metric, mode, scope = by
    run, code = record.content["runs"][-1], code_state()[0]
    return {
        "experiment": record.name,
        "trial": chosen.trial.id,
        "iteration": chosen.result["training_iteration"],
        "checkpoint": f"{chosen.trial.folder}/{chosen.folder}",
        "metric": metric,
        "value": chosen.value,
        "chosen_by": {"mode": mode, "scope": scope, "score": chosen.trial.score(*by)},
        "metrics": {name: chosen.result[name] for name in METRICS if name in chosen.result},
        "config": chosen.trial.config,
        "files": {
            name: {key: file[key] for key in ("file", "sha256")} for name, file in files.items()
        },
        "data": record.content["data"],
        "trained": {
            "code": {key: run["git"].get(key) for key in ("commit", "dirty")},
            "python": run["python"],
            "start": run["start"],
        },
        "exported": {
            "when": now(),
            "code": {key: code[key] for key in ("commit", "dirty")},
            "python": platform.python_version(),
            "packages": packages(),
        },
    }


def _publish(
    target: Storage,
    where: list[str],
    files: dict[str, Any],
    facts: dict[str, Any],
    before: dict[str, Any] | None,
) -> None:
    """Write the files, then export.json, at once; then delete what it named before."""
    old = {file["file"] for file in before["files"].values()} if before else set()
    new = {file["file"] for file in files.values()}
    try:
        for file in files.values():
            target.write(file["content"], *where, file["file"])
        target.write(json.dumps(facts, indent=2).encode(), *where, FILE)
    except BaseException as error:  # a full disk, Ctrl-C
        _delete(target, where, new - old)
        if isinstance(error, OSError):
            raise _not_written("/".join([target.path, *where]), error) from None
        raise
    _delete(target, where, old - new)


def _delete(target: Storage, where: list[str], names: set[str]) -> None:
    for name in names:
        with suppress(OSError):
            target.delete(*where, name)


def _say(
    record: Record,
    chosen: Candidate,
    best: SavedTrial,
    by: tuple[str, str, str],
    target: Storage,
    where: list[str],
    facts: dict[str, Any],
    before: dict[str, Any] | None,
) -> None:
    metric, mode, scope = by
    print(
        f"{record.name}: trial {chosen.trial.id} after iteration {facts['iteration']},"
        f" {metric} {chosen.value:.4f}"
    )
    if outcome(record) == "running":
        print(f"{record.name} is running: this is its best checkpoint so far")
    elif chosen.trial is not best or (scope in ("all", "last") and not chosen.is_best):
        what = f"{mode} {metric}" if scope == "all" else f"{scope} {metric}"
        print(
            f"The best result, {what} {best.score(*by):.4f} of trial {best.id}, has no whole"
            " checkpoint: this is the best that was kept"
        )
    elif scope not in ("all", "last"):
        print(f"The best checkpoint of the trial whose {scope}, {best.score(*by):.4f}, is best")
    if before is not None:
        print(
            f"Replaced the export of {before.get('experiment')}, trial {before['trial']} after"
            f" iteration {before.get('iteration')}"
        )
    place = without_password("/".join([target.path.rstrip("/"), *where]))
    for name, file in facts["files"].items():
        print(f"Exported {name}: {place}/{file['file']}")
    print(f"What it is: {place}/{FILE}")
