"""`list` and `show`: what was run, from experiment.json."""

from rich.console import Console
from rich.table import Table

from ...settings import PREFIX, Settings
from ..configuration import Refusal, nearest, program, without_password
from ..store.lock import running
from ..store.record import Record, experiments
from ..store.storage import Storage


def _open(settings: Settings) -> Storage:
    try:
        return Storage(settings.storage_path)
    except OSError as error:
        raise Refusal(_unreadable(settings, error)) from None


def _unreadable(settings: Settings, error: OSError) -> str:
    path = without_password(settings.storage_path)
    return f"{PREFIX}STORAGE_PATH={path!r}: {without_password(str(error))}"


def find(settings: Settings) -> Record:
    """The record of the experiment NAME. Raises Refusal when there is none, or it can't be read."""
    storage = _open(settings)
    try:
        record = Record.load(storage, str(settings.name))
    except OSError as error:
        raise Refusal(_unreadable(settings, error)) from None
    if record is None:
        near = nearest(str(settings.name), experiments(storage), "`list` shows all")
        raise Refusal(f"{PREFIX}NAME={settings.name!r}: no such experiment; {near}")
    return record


def outcome(record: Record) -> str:
    """How the last run ended: "done", "trials failed", "interrupted by …", "killed", "running"."""
    run = record.content["runs"][-1]
    if run["outcome"] == "running" and not running(record.storage, record.name):
        return "killed"
    return str(run["outcome"])


def _best(record: Record) -> str:
    metric = record.content["settings"]["metric"]["value"]
    for run in reversed(record.content["runs"]):
        best = (run.get("best") or {}).get(metric)
        if isinstance(best, int | float):
            return f"{metric} {best:.4f}"
    return ""


def print_list(settings: Settings) -> None:
    """One line an experiment, the newest last."""
    storage = _open(settings)
    records = []
    table = Table(box=None, pad_edge=False)
    for column in ("name", "started", "runs", "outcome", "best"):
        table.add_column(column, overflow="fold")
    for name in experiments(storage):
        try:
            record = Record.load(storage, name)
        except (Refusal, OSError) as error:
            print(error)
            continue
        if record is not None:
            records.append(record)
    for record in sorted(records, key=lambda record: str(record.content["created"])):
        created, runs = record.content["created"][:16], str(len(record.content["runs"]))
        table.add_row(record.name, created, runs, outcome(record), _best(record))
    if records:
        Console().print(table)
    else:
        print(f"No experiment in {without_password(settings.storage_path)}")


def print_experiment(settings: Settings) -> None:
    """All that is known of one experiment."""
    record = find(settings)
    content = record.content
    parent = f", a copy of {content['parent']} that went on" if content["parent"] else ""
    print(f"{record.name}{parent}: {outcome(record)}. {_best(record)}")
    data = content["data"]
    digest = f"digest {data['digest'][:12]}" if data["digest"] else "no digest"
    print(f"data  {data['description']} ({digest}) {data['arrays']}")
    for name, domain in content["search_space"].items():
        print(f"search space: {name} {domain}")
    ends = [*(run["outcome"] for run in content["runs"][:-1]), outcome(record)]
    for number, (run, end) in enumerate(zip(content["runs"], ends, strict=True), 1):
        git = run["git"]
        code = f"commit {git['commit'][:12]}" if git["commit"] else "no commit"
        changed = f", and {git.get('diff', 'new files')}" if git["dirty"] else ""
        print(f"run {number} {run['start']} to {run['end'] or 'no end'}: {end}")
        print(f"      {code}{changed}; Python {run['python']}, Ray {run['packages'].get('ray')}")
        print(f"      {program()} {run['command']}")
    print(f"Again, under another name: {program()} {record.command()} --name …")
