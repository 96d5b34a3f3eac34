"""The edits of docs/your-model.md are made in a generated project, and it trains that model."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.conftest import with_cookiecutter
from tests.faults.project import PACKAGE
from tests.recipes import blocks, edits, make_edits, python, sections

SECTIONS = sections("your-model.md")
TRIED = ("settings", "model", "trainable")
PREDICTS = f"""
import sys
from pathlib import Path
import pandas as pd
from {PACKAGE}.model import ResidualBlock, load_export
exported = load_export(Path(sys.argv[1]))
assert any(isinstance(part, ResidualBlock) for part in exported.network.modules())
rows = pd.read_parquet(sys.argv[2])
print(abs(exported.predict(rows.drop(columns="price")) - rows["price"]).mean())
"""


def houses(rows: int = 400) -> pd.DataFrame:
    """Numbers, categories and missing values; the price follows from them."""
    drawn = np.random.default_rng(0)
    area, town = drawn.uniform(40, 200, rows), drawn.choice(["Ulm", "Bonn", "Köln"], rows)
    price = 3000 * area + 50_000 * (town == "Köln") + drawn.normal(0, 5000, rows)
    table = pd.DataFrame({"area": area, "town": town, "price": price})
    table.loc[::7, "town"] = None
    return table


@pytest.mark.timeout(900)
@pytest.mark.more
def test_a_network_of_ones_own(template: Path, tmp_path: Path) -> None:
    answers = {"framework": "PyTorch", "task": "regression"}
    project = with_cookiecutter(template, tmp_path, answers).project
    for section in SECTIONS.values():
        make_edits(section, project)
    changed = [places for section in SECTIONS.values() for places in edits(section).values()]
    added = sum(now.count("\n") for places in changed for _, now in places)
    assert added < 45, "the page says that it is little"
    for check in (["check"], ["format", "--check"]):
        python(project, "-m", "ruff", *check)

    houses().to_parquet(tmp_path / "houses.parquet")
    ((_, variables),) = blocks(SECTIONS["The data"], "text")
    named = variables.replace("/data/houses.parquet", str(tmp_path / "houses.parquet"))
    (project / ".env").write_text(named, "utf-8")
    python(project, "-m", "pytest", *(f"tests/unit/test_{name}.py" for name in TRIED))

    run = ("-m", PACKAGE, "run", "--name", "own", "--num-samples", "2", "--max-iterations", "3")
    assert "Best of 2 trials" in python(project, *run)
    python(project, "-m", PACKAGE, "export", "own")
    best = project / "results/own/best"
    facts = json.loads((best / "export.json").read_text("utf-8"))
    assert {"blocks", "dropout"} <= facts["config"].keys()
    file = best / facts["files"]["model"]["file"]
    error = python(project, "-c", PREDICTS, str(file), str(tmp_path / "houses.parquet"))
    assert np.isfinite(float(error))
