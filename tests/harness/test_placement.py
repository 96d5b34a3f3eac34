"""What a trial occupies: its bundles, against the nodes, and what each process may use of one."""

from typing import Any

import pytest
from harness.project import Granted
from harness.run.resources import why_too_much
from harness.tune.granted import grant
from harness.tune.placement import placement
from harness.tune.workers import Workers

WORKER = {"CPU": 2.0, "GPU": 1.0}
NODE = {"CPU": 8.0, "GPU": 2.0, "memory": 1e10}


def test_bundles_have_rays_names() -> None:
    assert placement([{"cpu": 1, "gpu": 0, "licence": 2}]).bundles == [{"CPU": 1.0, "licence": 2.0}]
    workers = placement([{}, {"cpu": 1, "gpu": 0.5}])
    assert workers.head_bundle_is_empty
    assert workers.bundles == [{"CPU": 1.0, "GPU": 0.5}]


@pytest.mark.parametrize(
    ("bundles", "nodes", "said"),
    [
        ([{"CPU": 8.0}], 1, None),
        ([{"CPU": 9.0}], 2, "no node has all of {'CPU': 9.0} (most on one node: {'CPU': 8.0})"),
        ([{"tpu": 1.0}], 2, "no node has all of {'tpu': 1.0} (most on one node: {'tpu': 0})"),
        ([WORKER] * 4, 2, None),
        ([WORKER] * 4, 1, f"the nodes have room for 2 of its 4 bundles {WORKER}"),
        ([{"CPU": 1.0}] + [{"CPU": 4.0}] * 2, 1, "it needs CPU 9, and all nodes together have 8"),
        ([{"GPU": 0.1}] * 20, 1, None),
        ([{"GPU": 0.1}] * 21, 1, "the nodes have room for 20 of its 21 bundles {'GPU': 0.1}"),
    ],
)
def test_what_the_nodes_can_never_hold(
    bundles: list[dict[str, float]], nodes: int, said: str | None
) -> None:
    assert why_too_much(bundles, [NODE] * nodes) == said


@pytest.mark.parametrize(
    ("bundle", "ids", "expected"),
    [({}, [], (1, 0, None)), ({"CPU": 0.5}, [], (1, 0, None)), (WORKER, ["3"], (1, 1.0, 3))],
)
def test_what_a_process_may_use(
    bundle: dict[str, float], ids: list[Any], expected: tuple[Any, ...], monkeypatch: Any
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    assert grant(bundle, ids) == Granted(*expected)


def test_without_ray_there_are_no_workers() -> None:
    workers = Workers(None, object)
    assert not workers
    assert workers.call("train") == []
    workers.end()
