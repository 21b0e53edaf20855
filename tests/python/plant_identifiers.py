"""Turns a phantom into a cohort that is full of identifiers, and lists them: what must not be found in anything made of it.

usage: plant_identifiers.py PHANTOM OUT

OUT/scans: every file of the phantom with canaries in the text attributes of the whole data dictionary, in private attributes,
nested sequences, the meta group, the preamble and behind the pixels, in NIfTI headers and extensions, and in file and folder names;
the patient's own name in the attributes that may be copied. OUT/tables/labels.csv joins by the planted ids. OUT/planted.json:
`strings` (never to be found, whatever the case), `words` (names too short to be looked for inside other words), `path_strings`
(only paths hold them), `kept` (values that say nothing of anybody and must come through).
"""

import csv
import json
import random
import shutil
import struct
import sys
from pathlib import Path

import nibabel
import numpy as np
import pydicom
from pydicom import config
from pydicom._dicom_dict import DicomDictionary
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

config.settings.writing_validation_mode = config.IGNORE
config.settings.reading_validation_mode = config.IGNORE
phantom, out = Path(sys.argv[1]), Path(sys.argv[2])
draw = random.Random(20240229)

CONSONANTS, VOWELS = "bdfgkmprtvwxz", "aeiou"
MARK = "".join(draw.choice("BCDFGHJKLMNPQRSTVWXZ") for _ in range(8))
PATH_MARK = "".join(draw.choice("BCDFGHJKLMNPQRSTVWXZ") for _ in range(9))
UID_ROOT = f"1.2.826.0.1.{draw.randrange(10**8, 10**9)}"
DATE, TIME = "18930417", "231159.734621"
AGE = "117Y"
# What ingest is to find, so that everything else can be told to hide nothing.
LEFT = {"SpecificCharacterSet", "SOPClassUID", "TransferSyntaxUID", "PixelData", "Modality", "PhotometricInterpretation",
        "PatientAge", "PatientSex", "Manufacturer", "ManufacturerModelName", "SoftwareVersions", "InstitutionName", "StationName",
        "BurnedInAnnotation", "CodeValue", "CodingSchemeDesignator", "RescaleType", "ImageType", "ScanningSequence"}
TEXT = {"PN", "LO", "SH", "LT", "ST", "UT", "UC", "AE", "DA", "TM", "DT", "UR"}
ENTRIES = sorted((tag, vr, keyword) for tag, (vr, _, _, _, keyword) in DicomDictionary.items()
                 if vr in TEXT and keyword and keyword not in LEFT and tag >> 16 > 2)
ENTRIES += sorted((tag, vr, keyword) for tag, (vr, _, _, _, keyword) in DicomDictionary.items()
                  if vr == "UI" and keyword and keyword not in LEFT and "ClassUID" not in keyword and tag >> 16 > 2)
EACH_FILE = 24
ALWAYS = [Tag(name) for name in (
    "IssuerOfPatientID", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName", "PatientAddress", "PatientComments",
    "PatientTelephoneNumbers", "MilitaryRank", "Occupation", "AccessionNumber", "StudyID", "ReferringPhysicianName", "OperatorsName",
    "PerformingPhysicianName", "NameOfPhysiciansReadingStudy", "StudyDescription", "ImageComments", "DerivationDescription",
    "RequestedProcedureDescription", "PerformedProcedureStepDescription", "InstitutionAddress", "InstitutionalDepartmentName",
    "DeviceSerialNumber", "SequenceName", "ReceiveCoilName", "PositionReferenceIndicator", "StudyDate", "SeriesDate", "ContentDate",
    "AcquisitionDate", "PatientBirthDate", "StudyTime", "ContentTime", "PatientID", "RetrieveAETitle")]
SETS = [("ISO_IR 6", "ascii"), ("ISO_IR 100", "latin-1"), ("ISO_IR 192", "utf-8"), (["", "ISO 2022 IR 87"], "iso2022_jp")]
KANJI = "鯨鱸鷺鵺狢貘麒麟鳳凰鸞蜃"

strings, words = {MARK, UID_ROOT, DATE, TIME, AGE}, set()


def name():
    return "".join(draw.choice(CONSONANTS) + draw.choice(VOWELS) for _ in range(4)).capitalize()


class Patient:
    """Somebody with a name in one of the character sets."""

    def __init__(self, index):
        self.charset, encoding = SETS[index % len(SETS)]
        self.family, self.given = name(), name()
        if index % 8 == 4:
            # Two letters each: too short to be looked for anywhere but as a word.
            self.family, self.given = "".join(draw.sample("QXZJV", 2)).capitalize(), "".join(draw.sample("QXZJV", 2)).capitalize()
        elif encoding == "latin-1":
            self.family, self.given = "Ö" + self.family.lower() + "ß", "É" + self.given.lower()
        elif encoding == "utf-8":
            self.family, self.given = "Ğ" + self.family.lower() + "ş", "李" + draw.choice(KANJI) + draw.choice(KANJI)
        self.person = f"{self.family}^{self.given}"
        self.tokens = [self.family, self.given]
        if encoding == "iso2022_jp":
            kanji = ["".join(draw.sample(KANJI, 2)) for _ in range(2)]
            self.person += f"={kanji[0]}^{kanji[1]}"
            self.tokens += kanji
        self.patient_id = f"{MARK[:3]}{draw.randrange(10**6, 10**7)}"
        self.folder = f"{PATH_MARK}-{self.family}_{index:02d}"
        self.in_allow_list = index % 3 != 2
        strings.update(token for token in self.tokens if len(token) > 2 or not token.isascii())
        strings.add(self.patient_id)
        words.update(token for token in self.tokens if len(token) == 2 and token.isascii())


def value(tag, vr, patient):
    """A canary that fits the VR."""
    code = f"{MARK}{int(tag):08X}"
    match vr:
        case "PN":
            return f"{code}^{patient.given}"
        case "SH" | "AE" | "CS":
            return code
        case "DA":
            return DATE
        case "TM":
            return TIME
        case "DT":
            return DATE + TIME
        case "UR":
            return f"https://{code}.example/{patient.patient_id}"
        case "UI":
            return f"{UID_ROOT}.{int(tag)}"
        case _:
            return f"{code} {patient.family} {DATE}"


def new_uids(data, patient):
    """The same UID becomes the same canary everywhere, so that images stay linked."""
    for element in data:
        if element.VR == "SQ":
            for item in element.value:
                new_uids(item, patient)
        elif element.VR == "UI" and element.keyword not in ("SOPClassUID", "ReferencedSOPClassUID"):
            values = element.value if element.VM > 1 else [element.value]
            # A random part, equal for equal UIDs, digits alone.
            new = [f"{UID_ROOT}.{int(str(uid).rsplit('.', 1)[-1]) % 10**18}" for uid in values]
            element.value = new if len(new) > 1 else new[0]


def private(data, patient):
    """A private block with text, bytes and a sequence."""
    data.add(DataElement(0x00290010, "LO", f"{MARK} CREATOR"))
    data.add(DataElement(0x00291001, "LO", patient.person.split("=")[0]))
    data.add(DataElement(0x00291002, "UN", f"{MARK}0029 {patient.patient_id} ".encode()))
    data.add(DataElement(0x00291003, "OB", f"{MARK}0029OB".encode()))
    inner = Dataset()
    inner.PatientName = patient.person
    inner.add(DataElement(0x00291004, "LT", f"{MARK} {patient.family}"))
    data.add(DataElement(0x00291005, "SQ", Sequence([inner])))


def nested(patient, depth=3):
    """An item full of identifiers, with items inside."""
    item = Dataset()
    for tag in (0x00100010, 0x00100020, 0x00104000, 0x00080050, 0x00081030, 0x00400007, 0x0040A123, 0x0020000D, 0x00080020):
        vr = pydicom.datadict.dictionary_VR(tag)
        item.add(DataElement(tag, vr, value(tag, vr, patient)))
    private(item, patient) if depth else None
    if depth:
        item.RequestAttributesSequence = Sequence([nested(patient, depth - 1)])
        item.ReferencedImageSequence = Sequence([nested(patient, 0)])
    return item


def frames(data, patient):
    """Identifiers within the functional groups that are kept."""
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for item in data.get(groups, []):
            private(item, patient)
            for inner in [element for element in item if element.VR == "SQ" and not element.tag.is_private]:
                for content in inner.value:
                    content.FrameComments = f"{MARK} {patient.family}"
                    content.FrameLabel = f"{MARK}00209453"
                    content.PatientName = patient.person


def plant_dicom(source, target, patient, index):
    data = pydicom.dcmread(source)
    new_uids(data, patient)
    data.SpecificCharacterSet = patient.charset
    description = str(data.get("SeriesDescription", ""))
    start = index * EACH_FILE
    mine = [ENTRIES[(start + step) % len(ENTRIES)] for step in range(EACH_FILE)]
    linked = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID", "DimensionOrganizationUID",
              "AcquisitionDateTime", "PatientID", "StackID")
    for tag, vr, keyword in mine:
        if keyword not in linked:
            data.add(DataElement(tag, vr, value(tag, vr, patient)))
    for tag in ALWAYS:
        vr = pydicom.datadict.dictionary_VR(tag)
        data.add(DataElement(tag, vr, value(tag, vr, patient)))
    data.SeriesDescription = f"{description} {MARK} {patient.family}"
    data.ProtocolName = f"{description} {patient.given} {MARK}"
    data.PatientName, data.PatientID, data.PatientBirthDate = patient.person, patient.patient_id, DATE
    data.OtherPatientIDsSequence = Sequence([nested(patient)])
    data.RequestAttributesSequence = Sequence([nested(patient)])
    data.SourceImageSequence = Sequence([nested(patient, 1)])
    data.BodyPartExamined = patient.family.upper() if patient.family.isascii() else "HEART"
    if patient.in_allow_list:
        token = patient.tokens[index % len(patient.tokens)]
        glued = token + "病院" if len(patient.tokens) > 2 and token in patient.tokens[2:] else f"{token} Klinik"
        data.InstitutionName = glued
        data.StationName = f"MR-{patient.family}"[:16]
        data.SoftwareVersions = ["E11", f"{token.upper()}"]
        data.ManufacturerModelName = f"Avanto_{patient.patient_id}"
    if index % 7 == 0:
        data.PatientAge = AGE
    for group in (0x6000, 0x6002):
        data.add(DataElement((group << 16) | 0x0010, "US", 8))
        data.add(DataElement((group << 16) | 0x0011, "US", 8))
        data.add(DataElement((group << 16) | 0x3000, "OW", f"{MARK}OVERLAYS".encode()))
        data.add(DataElement((group << 16) | 0x4000, "LT", f"{MARK} {patient.family}"))
    data.add(DataElement(0x50002500, "LO", f"{MARK} CURVE"))
    private(data, patient)
    frames(data, patient)
    data.add(DataElement(0xFFFCFFFC, "OB", f"{MARK}PADDING".encode()))
    high_bits(data)
    meta = data.file_meta
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    meta.SourceApplicationEntityTitle = f"{MARK}META"
    meta.ImplementationVersionName = f"{MARK}IMPL"
    meta.PrivateInformationCreatorUID = f"{UID_ROOT}.2"
    meta.PrivateInformation = f"{MARK}META{patient.family}".encode("utf-8")
    data.preamble = f"{MARK} preamble {patient.patient_id}".encode().ljust(128)
    data.save_as(target, enforce_file_format=True)


def high_bits(data):
    """Something drawn into the bits above the stored ones, as retired embedded overlays are."""
    if data.BitsAllocated == 16 and data.BitsStored < 16 and "NumberOfFrames" not in data:
        pixels = np.frombuffer(data.PixelData, "<u2").copy()
        pixels[::3] |= 1 << data.BitsStored
        data.PixelData = pixels.tobytes()


def plant_nifti(source, target, patient):
    """Header texts and an extension; the voxels stay."""
    image = nibabel.load(source)
    image = nibabel.Nifti1Image(np.asanyarray(image.dataobj), image.affine, image.header)
    header = image.header
    header["descrip"] = f"{MARK} {patient.family}".encode("utf-8")
    header["aux_file"] = f"{MARK}{patient.patient_id}".encode()
    header["intent_name"] = f"{MARK}INTENT".encode()
    header["db_name"] = f"{MARK}DBNAME".encode()
    header.extensions.append(nibabel.nifti1.Nifti1Extension(6, f"{MARK} {patient.person}".encode("utf-8")))
    target.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, target)


scans = out / "scans"
patients = {}


def patient_of(old):
    if old not in patients:
        patients[old] = Patient(len(patients))
    return patients[old]


def main():
    index = 0
    used = {}
    for source in sorted(path for path in (phantom / "scans").rglob("*") if path.is_file()):
        site, rest = source.relative_to(phantom / "scans").parts[0], source.relative_to(phantom / "scans").parts[1:]
        magic = source.read_bytes()[128:132]
        if magic == b"DICM" and len(rest) > 1:
            patient = patient_of(rest[0])
            target = scans / site / patient.folder / f"{PATH_MARK}{patient.given}" / f"{patient.family}-{index:05d}.dcm"
            target.parent.mkdir(parents=True, exist_ok=True)
            plant_dicom(source, target, patient, index)
            used.setdefault(patient, target)
            index += 1
        elif source.name.endswith(".nii.gz"):
            patient = patient_of(rest[0])
            # The id of a NIfTI file is its folder.
            code = patient.patient_id
            plant_nifti(source, scans / site / PATH_MARK / code / source.name.replace(rest[0], code), patient)
    assert index * EACH_FILE > len(ENTRIES), "not every attribute of the dictionary was planted"
    # Text burned into the pixels: never looked at.
    first = next(iter(used.values()))
    burned = pydicom.dcmread(first)
    burned.BurnedInAnnotation = "YES"
    burned.SOPInstanceUID = f"{UID_ROOT}.7.7.7"
    burned.file_meta.MediaStorageSOPInstanceUID = burned.SOPInstanceUID
    burned.save_as(first.with_name(f"{PATH_MARK}-burned.dcm"))
    (scans / f"{PATH_MARK} note of {next(iter(patients.values())).family}.txt").write_text(f"{MARK}\n")
    (out / "tables").mkdir()
    with open(out / "tables" / "labels.csv", "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["patient_id", "label", "site", "vendor", "sex", "age_years", "split", "ward", "patient_name", "remark"])
        for row in csv.DictReader(open(phantom / "labels.csv", encoding="utf-8")):
            patient = patients.get(row["patient_id"]) or patients[row["patient_id"].replace("PHANTOM-", "")]
            told = [row[key] for key in ("label", "site", "vendor", "sex", "age_years", "split")]
            rows.writerow([patient.patient_id, *told, "ward 7", patient.person, f"seen by {patient.family}"])
        rows.writerow([f"{MARK}-NOBODY", "DCM", "east", "ge", "M", "50", "train", "ward 7", "", ""])
    planted = {
        "strings": sorted(strings), "words": sorted(words), "path_strings": [PATH_MARK],
        "kept": ["ward 7"], "files": index,
    }
    (out / "planted.json").write_text(json.dumps(planted, ensure_ascii=False, indent=1), encoding="utf-8")


shutil.rmtree(out, ignore_errors=True)
main()
