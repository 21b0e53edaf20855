"""Opens a COHORT with pyarrow and the standard library and holds it against the design, section 3.

usage: cohort_tables.py COHORT
"""

import csv
import hashlib
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

root = Path(sys.argv[1])
TEXT, INT, REAL, FLAG = pa.string(), pa.int32(), pa.float64(), pa.bool_()
STACKS = {
    TEXT: "stack_id subject_id subject_source study_id view kind view_evidence phase_order position_rule vendor vendor_source "
          "manufacturer_raw model site site_source station software device label acquisition_group group sex source_split source_format",
    INT: "rows columns slices phases phases_expected positions_incomplete",
    REAL: "field_strength_t field_strength_raw row_x row_y row_z column_x column_y column_z pixel_spacing_row_mm "
          "pixel_spacing_column_mm slice_spacing_mm slice_thickness_mm age_years",
    FLAG: "complete",
}
FRAMES = {TEXT: "stack_id path", INT: "slice phase frame", REAL: "trigger_time_ms position_x_mm position_y_mm position_z_mm"}
LEDGER = {TEXT: "path outcome reason message", pa.int64(): "bytes"}


def table(name, columns):
    found = parquet.read_table(root / name)
    types = {column: kind for kind, names in columns.items() for column in names.split()}
    for field in found.schema:
        expected = TEXT if field.name.startswith("attr_") else types.pop(field.name)
        assert field.type == expected, (name, field)
    assert not types, f"{name} lacks {types}"
    return found.to_pylist()


stacks, frames, ledger = table("stacks.parquet", STACKS), table("frames.parquet", FRAMES), table("ledger.parquet", LEDGER)
cohort, groups = json.loads((root / "cohort.json").read_text()), json.loads((root / "groups.json").read_text())
assert cohort["schema"] == "groupdistil.cohort/1" and groups["schema"] == "groupdistil.groups/1"

for row in stacks:
    for name in ("stack_id", "subject_id"):
        assert len(row[name]) == 26 and set(row[name]) <= set("abcdefghijklmnopqrstuvwxyz234567")
    assert row["view"] in ("sax", "2ch", "3ch", "4ch", "scout", "other") and row["kind"] in ("cine", "static")
    first, second = ([row[f"{axis}_{letter}"] for letter in "xyz"] for axis in ("row", "column"))
    assert np.allclose([np.dot(first, first), np.dot(second, second), np.dot(first, second)], [1, 1, 0], atol=1e-6)
    assert row["phase_order"] == ("none" if row["phases"] == 1 else "trigger-time"), "the phantom's scanners give trigger times"
    assert row["position_rule"].split("+")[0] == "projection" and row["view_evidence"]
    assert row["complete"] == (row["positions_incomplete"] == 0 and row["phases"] >= row["phases_expected"])
    assert row["acquisition_group"] == f"vendor={row['vendor'] or 'unknown'};site={row['site'] or 'unknown'}"
keys = [(row["subject_id"], row["stack_id"]) for row in stacks]
assert keys == sorted(keys) and len(set(keys)) == len(keys)

subject_of = {row["stack_id"]: row["subject_id"] for row in stacks}
order = [(subject_of[row["stack_id"]], row["stack_id"], row["slice"], row["phase"]) for row in frames]
assert order == sorted(order) and len(set(order)) == len(order)
counts = Counter(row["stack_id"] for row in frames)
assert counts == {row["stack_id"]: row["slices"] * row["phases"] for row in stacks}
by_stack = {}
for row in frames:
    by_stack.setdefault(row["stack_id"], {}).setdefault(row["slice"], [row[f"position_{axis}_mm"] for axis in "xyz"])
for row in stacks:
    normal = np.cross([row[f"row_{axis}"] for axis in "xyz"], [row[f"column_{axis}"] for axis in "xyz"])
    along = [np.dot(normal, position) for _, position in sorted(by_stack[row["stack_id"]].items())]
    assert all(np.diff(along) > 0), "slices ascend along row x column"
    if len(along) > 1:
        assert abs(np.median(np.diff(along)) - row["slice_spacing_mm"]) < 1e-6
    else:
        assert row["slice_spacing_mm"] is None

used = {row["path"] for row in frames}
assert used == {row["path"] for row in ledger if (row["outcome"], row["reason"]) == ("used", "image")}
for row in ledger:
    assert Path(row["path"]).stat().st_size == row["bytes"]
with open(root / "ledger.csv", newline="") as twin:
    rows = list(csv.DictReader(twin))
assert [row["path"] for row in rows] == [row["path"] for row in ledger]
assert Counter(row["outcome"] for row in ledger) == {k: v for k, v in cohort["counts"]["outcomes"].items() if v}

trained = [row for row in stacks if row["view"] == "sax" and row["kind"] == "cine"]
names = sorted({row["group"] for row in trained}, key=str.encode)
assert [group["name"] for group in groups["groups"]] == names
for index, group in enumerate(groups["groups"]):
    members = [row for row in trained if row["group"] == group["name"]]
    assert group["index"] == index and group["stacks"] == len(members)
    assert group["subjects"] == len({row["subject_id"] for row in members})
assert len(cohort["content_hash"]) == len(hashlib.sha256().hexdigest())
print(f"{len(stacks)} stacks, {len(frames)} frames, {len(ledger)} files")
