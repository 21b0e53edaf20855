"""Holds de-identified copies against the files they were made from, with pydicom and nibabel.

usage: deidentified.py COHORT COPIES KEY
"""

import csv
import hashlib
import hmac
import json
import struct
import sys
from pathlib import Path

import nibabel
import numpy as np
import pyarrow.parquet as parquet
import pydicom

cohort, copies, key = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]).read_bytes()
frames = parquet.read_table(cohort / "frames.parquet").to_pylist()
source_of = {(row["stack_id"], row["slice"], row["phase"]): Path(row["path"]) for row in frames}
stacks = {row["stack_id"]: row for row in parquet.read_table(cohort / "stacks.parquet").to_pylist()}
summary = json.loads((copies / "deidentified.json").read_text())
assert summary["schema"] == "groupdistil.deidentified/1" and not summary["not_exported"]


def keyed(kind, *parts):
    """The first 128 bits of HMAC-SHA-256 over the parts, each behind its length (design, section 3)."""
    message = b"".join(struct.pack("<Q", len(part)) + part for part in (text.encode() for text in (kind, *parts)))
    return hmac.new(key, message, hashlib.sha256).digest()[:16]


def new_uid(uid):
    return f"2.25.{int.from_bytes(keyed('uid', uid), 'big')}"


def stored(data):
    """Native pixel values without the bits that no pixel uses."""
    pixels = np.frombuffer(data.PixelData, ("<" if data.file_meta.TransferSyntaxUID.is_little_endian else ">")
                           + ("u2" if data.BitsAllocated == 16 else "u1"))
    count = data.Rows * data.Columns * int(data.get("NumberOfFrames", 1))
    low = data.HighBit + 1 - data.BitsStored
    return (pixels[:count] >> low) & ((1 << data.BitsStored) - 1)


GEOMETRY = ("Rows", "Columns", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "TriggerTime",
            "CardiacNumberOfImages", "TemporalPositionIdentifier", "InstanceNumber", "SeriesNumber", "AcquisitionNumber",
            "RescaleSlope", "RescaleIntercept", "NumberOfFrames", "MagneticFieldStrength", "ScanningSequence", "ImageType")
GROUPS = {"PlanePositionSequence": "ImagePositionPatient", "PixelMeasuresSequence": "PixelSpacing",
          "PlaneOrientationSequence": "ImageOrientationPatient", "FrameContentSequence": "TemporalPositionIndex",
          "CardiacSynchronizationSequence": "NominalCardiacTriggerDelayTime"}


def group_values(data):
    """Geometry and timing within the functional groups."""
    items = list(data.get("SharedFunctionalGroupsSequence", [])) + list(data.get("PerFrameFunctionalGroupsSequence", []))
    return [str(item[group][0].get(name)) for item in items for group, name in GROUPS.items() if group in item]


def scales(data):
    """Philips' scale intercepts and slopes, of the object or of its frames."""
    found = []
    for item in [data, *(frame for group in data.get("PerFrameFunctionalGroupsSequence", []) for frame in frames_of(group))]:
        block = item.private_block(0x2005, PHILIPS[0]) if PHILIPS[0] in item.private_creators(0x2005) else ()
        found += [block[element].value for element in (0x0D, 0x0E) if element in block]
    return found


def frames_of(group):
    block = group.private_block(0x2005, PHILIPS[1]) if PHILIPS[1] in group.private_creators(0x2005) else ()
    return block[0x0F].value if 0x0F in block else []


PHILIPS = ("Philips MR Imaging DD 001", "Philips MR Imaging DD 005")


def is_scale(element):
    """What stays of private attributes: Philips' scales (PS3.15 table E.3.10-1), their sequence, and the creators of both."""
    is_creator = element.tag.is_private_creator and element.value in PHILIPS
    return element.tag.group == 0x2005 and (is_creator or element.tag.element & 0xFF in (0x0D, 0x0E, 0x0F))


def check_dicom(source, copy, stack):
    raw = copy.read_bytes()
    assert raw[:128] == bytes(128)
    old, new = pydicom.dcmread(source, force=True), pydicom.dcmread(copy)
    assert new.file_meta.TransferSyntaxUID == old.file_meta.TransferSyntaxUID
    if old.file_meta.TransferSyntaxUID.is_compressed:
        before, after = old.PixelData.rstrip(b"\0"), new.PixelData.rstrip(b"\0")
        # Comments within the streams are zeros now; they are short beside the image.
        changed = [place for place, (one, other) in enumerate(zip(before, after, strict=True)) if one != other]
        assert all(after[place] == 0 and place < 1000 for place in changed), (copy, len(changed))
    else:
        assert np.array_equal(stored(old), stored(new))
        mask = ((1 << new.BitsStored) - 1) << (new.HighBit + 1 - new.BitsStored)
        if new.PixelRepresentation == 0:
            kind = ("<" if new.file_meta.TransferSyntaxUID.is_little_endian else ">") + f"u{new.BitsAllocated // 8}"
            assert not (np.frombuffer(new.PixelData, kind) & ~np.array(mask, "u4")).any(), "unused bits are not cleared"
    for name in GEOMETRY:
        if name in old and old[name].VR in ("DS", "IS", "US", "CS") and old[name].value not in (None, ""):
            assert new.get(name) == old[name].value, (name, new.get(name), old[name].value)
    assert group_values(old) == group_values(new)
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
        if old.get(name):
            assert new[name].value == new_uid(old[name].value), name
    assert new.file_meta.MediaStorageSOPInstanceUID == new.SOPInstanceUID
    assert new.PatientID == stack["subject_id"] and new.PatientName == "" and new.PatientBirthDate == ""
    assert (new.get("PatientSex") or None) == stack["sex"]
    assert new.StudyDate == "" and new.AccessionNumber == "" and new.PatientIdentityRemoved == "YES"
    codes = [(item.CodeValue, item.CodingSchemeDesignator) for item in new.DeidentificationMethodCodeSequence]
    assert codes == [(code, "DCM") for code in summary["method"]] and codes[0][0] == "113100"
    assert scales(old) == scales(new)
    for element in new.iterall():
        assert not element.tag.is_private or is_scale(element), element
        assert element.tag.group >> 8 not in (0x50, 0x60), element
        if element.VR in ("DA", "TM", "DT"):
            assert element.value in ("", None, "19000101", "000000", "19000101000000"), element
        if element.VR == "UI" and "ClassUID" not in element.keyword:
            assert str(element.value or "2.25.").startswith("2.25."), element
        assert element.VR not in ("PN", "LT", "ST", "UT", "AE", "UR", "UN") or element.value in ("", None, "REMOVED"), element
    for name in ("Manufacturer", "ManufacturerModelName"):
        column = {"Manufacturer": "manufacturer_raw", "ManufacturerModelName": "model"}[name]
        assert new.get(name) == stack[column] or (not new.get(name) and not stack[column]), (name, new.get(name), stack[column])


def check_nifti(source, copy):
    old, new = nibabel.load(source), nibabel.load(copy)
    if source.suffix == ".hdr" and not source.with_suffix(".img").exists():
        return  # A pair of which only one half is compressed: not nibabel's.
    assert np.array_equal(np.asanyarray(old.dataobj), np.asanyarray(new.dataobj))
    assert np.allclose(old.affine, new.affine) and old.header.get_zooms() == new.header.get_zooms()
    assert not len(new.header.extensions)
    for name in ("descrip", "aux_file", "intent_name"):
        assert not new.header[name].tobytes().strip(b"\0"), name


rows = list(csv.DictReader((copies / "files.csv").open(encoding="utf-8")))
assert rows
for row in rows:
    stack = stacks[row["stack_id"]]
    source, copy = source_of[row["stack_id"], int(row["first_slice"]), int(row["first_phase"])], copies / row["file"]
    if copy.suffix == ".dcm":
        assert row["file"] == f"{row['subject_id']}/{row['stack_id']}/{int(row['first_slice']):04}_{int(row['first_phase']):04}.dcm"
        check_dicom(source, copy, stack)
    elif not copy.name.endswith(".img"):
        check_nifti(source, copy)
assert {path.suffix for path in copies.rglob("*") if path.is_file()} <= {".dcm", ".gz", ".hdr", ".img", ".json", ".csv", "", ".lock"}
print(f"{len(rows)} copies")
