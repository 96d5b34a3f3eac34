"""Prints what wandb wrote into each file: the run, its results, its artefacts, its exit code.

The file is a LevelDB log: blocks of 32 KiB with records of a checksum, a length and a type (1:
whole, 2, 3 and 4: first, middle and last part), behind a header of 7 bytes.
"""

import json
import pathlib
import struct
import sys
from collections.abc import Iterator
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record


def records(content: bytes) -> Iterator[Any]:
    at, parts = 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        parts, at = parts + content[at + 7 : at + 7 + length], at + 7 + length
        if kind in (1, 4):
            yield Record.FromString(parts)
            parts = b""


for path in sorted(pathlib.Path(sys.argv[1]).glob("offline-run-*/*.wandb")):
    found: dict[str, Any] = {"steps": [], "artifacts": [], "code": None}
    for record in records(path.read_bytes()):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found["id"], found["group"] = record.run.run_id, record.run.run_group
            found["project"] = record.run.project
            found["config"] = {c.key: json.loads(c.value_json) for c in record.run.config.update}
        elif kind == "history":
            items = record.history.item
            values = {i.key or i.nested_key[0]: json.loads(i.value_json) for i in items}
            found["steps"].append([values["training_iteration"], values["validation_accuracy"]])
        elif kind == "exit":
            found["code"] = record.exit.exit_code
        elif kind == "artifact":
            names = [content.path for content in record.artifact.manifest.contents]
            found["artifacts"].append([record.artifact.name, names])
    print(json.dumps(found))
