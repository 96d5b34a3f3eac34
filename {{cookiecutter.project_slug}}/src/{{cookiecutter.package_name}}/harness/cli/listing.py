"""`list` and `show`: what was run, from experiment.json."""

from ..configuration import Configuration
from ..errors import Refusal, reason, refused, without_password
from ..settings import RunSettings
from ..store.differences import brief
from ..store.record import Record, experiments, open_storage
from .tables import print_table


def _best(record: Record) -> str:
    metric = record.setting("metric")
    for run in reversed(record.content["runs"]):
        best = (run.get("best") or {}).get(metric)
        if isinstance(best, int | float):
            return f"{metric} {best:.4f}"
    return ""


def print_list(settings: RunSettings) -> None:
    """One line per experiment, the newest last."""
    storage, records = open_storage(settings), []
    with refused(settings.given("storage_path")):
        names = experiments(storage)
    for name in names:
        try:
            record = Record.load(storage / name)
        except (Refusal, OSError) as error:
            print(reason(error))
            continue
        if record is not None:
            records.append(record)
    if not records:
        print(f"No experiment in {without_password(settings.storage_path)}")
        return
    rows = []
    for record in sorted(records, key=lambda record: str(record.content["created"])):
        created, runs = record.content["created"][:16], str(len(record.content["runs"]))
        rows.append((record.name, created, runs, record.outcome(), _best(record)))
    print_table(("name", "started (UTC)", "runs", "outcome", "best"), rows)


def print_experiment(configuration: Configuration) -> None:
    """All that is known of one experiment."""
    record = Record.find(configuration.settings)
    content, outcome, project = record.content, record.outcome(), configuration.project
    parent = f", an extended copy of {content['parent']}" if content["parent"] else ""
    print(f"{record.name}{parent}: {outcome}. {_best(record)}")
    print(f"data  {brief(content['data'])} {content['data']['arrays']}")
    for name, domain in content["search_space"].items():
        print(f"search space: {name} {domain}")
    ends = [*(run["outcome"] for run in content["runs"][:-1]), outcome]
    for number, (run, end) in enumerate(zip(content["runs"], ends, strict=True), 1):
        git = run["git"]
        code = f"commit {git['commit'][:12]}" if git["commit"] else "no commit"
        changed = f" with {git.get('diff', 'uncommitted new files')}" if git["dirty"] else ""
        until = f" to {run['end']}" if run["end"] else ""
        print(f"run {number} {run['start']}{until}: {end}")
        print(f"      {code}{changed}; Python {run['python']}, Ray {run['packages'].get('ray')}")
        print(f"      {project.command()} {run['command']}")
    if outcome not in {"done", "running", "trials failed"}:
        print(f"Resume: {configuration.again('run', '--resume')}")
    again = f"{project.command()} {record.command(project.settings)} --name …"
    print(f"Repeat it under another name: {again}")
