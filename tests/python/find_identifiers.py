"""Searches everything that was made of a planted cohort for its identifiers: every byte of every file, names of files and folders,
and what is compressed or encoded inside (Parquet, ZIP, gzip, DICOM text in other character sets).

usage: find_identifiers.py PLANTED.json [--all-found] FOLDER...

Of a COHORT (a folder with cohort.json) the `path` columns and provenance.json are private and left out. With --all-found the search
itself is tested: everything planted must be found.
"""

import base64
import csv
import gzip
import io
import json
import re
import sys
import zipfile
from pathlib import Path

import pyarrow.parquet as parquet
import pydicom
from pydicom import config

config.settings.reading_validation_mode = config.IGNORE
arguments = sys.argv[1:]
all_found = "--all-found" in arguments
planted_path, *folders = [Path(one) for one in arguments if one != "--all-found"]
planted = json.loads(planted_path.read_text(encoding="utf-8"))
ENCODINGS = ["utf-8", "latin-1", "utf-16-le", "utf-32-le"]


def forms(text):
    """Bytes of a text in every encoding that has it, lower case."""
    found = set()
    for variant in {text, text.lower(), text.upper()}:
        for encoding in ENCODINGS:
            try:
                found.add(variant.encode(encoding).lower())
            except UnicodeEncodeError:
                pass
        try:
            # Without the escapes that switch character sets: they depend on what stands before.
            found.add(re.sub(rb"\x1b[$(].", b"", variant.encode("iso2022_jp")).lower())
        except UnicodeEncodeError:
            pass
    return found


wanted = {text: forms(text) for text in planted["strings"] + planted["path_strings"]}
pattern = re.compile(b"|".join(re.escape(form) for form in sorted({form for all_forms in wanted.values() for form in all_forms})))
names = {form: text for text, all_forms in wanted.items() for form in all_forms}
words = re.compile(r"(?<!\w)(" + "|".join(map(re.escape, planted["words"])) + r")(?!\w)") if planted["words"] else None
# In a page's pictures, which are a million letters that mean nothing, names of two letters stand by chance: they are unpacked, and looked
# through for what is too long for that.
PICTURE = re.compile(rb"data:image/[a-z+]+;base64,([A-Za-z0-9+/=]+)")
LONG_BYTES = 6
seen = {}
# Value representations of text (PS3.5 6.2); of UID and numbers every byte is searched.
TEXTS = {"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"}


def look(content, where):
    for found in pattern.findall(content.lower()):
        seen.setdefault(names[found], where)


def look_text(text, where):
    look(text.encode("utf-8", "replace"), where)
    for found in words.findall(text) if words else []:
        seen.setdefault(found, where)


def cells(path, columns, rows, where):
    """A table's cells but for private paths."""
    kept = [index for index, column in enumerate(columns) if column != "path"]
    look_text("\n".join(columns), where)
    for row in rows:
        look_text("\n".join(str(row[index]) for index in kept), where)


def look_picture(content, where):
    for found in pattern.findall(content.lower()):
        if len(found) >= LONG_BYTES:
            seen.setdefault(names[found], where)


def look_bytes(content, where):
    for picture in PICTURE.findall(content):
        look_picture(base64.b64decode(picture), f"a picture of {where}")
    content = PICTURE.sub(b"data:image", content)
    look(content, where)
    if content[:2] == b"\x1f\x8b":
        look_bytes(gzip.decompress(content), f"{where} unpacked")
    elif content[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.namelist():
                look_bytes(archive.read(member), f"{where}!{member}")
    elif content[128:132] == b"DICM":
        look_dicom(content, where)
    elif content[:4] != b"PAR1":
        try:
            look_text(content.decode("utf-8"), where)
        except UnicodeDecodeError:
            pass


def look_dicom(content, where):
    """The texts of a file as its character set says: names of two letters are looked for as words, in either case."""
    data = pydicom.dcmread(io.BytesIO(content))
    data.decode()
    for element in [*data.file_meta, *data.iterall()]:
        if element.VR in TEXTS:
            values = element.value if element.VM > 1 else [element.value]
            text = " ".join(str(value) for value in values)
            look_text(text, f"{where} {element.tag}")
            look_text(text.title(), f"{where} {element.tag}")


def look_file(path, folder):
    where = str(path)
    look_text(str(path.relative_to(folder)), f"name of {where}")
    in_cohort = (path.parent / "cohort.json").exists()
    if in_cohort and path.name == "provenance.json":
        return
    if path.suffix == ".parquet":
        table = parquet.read_table(path)
        cells(path, table.column_names, zip(*(column.to_pylist() for column in table.columns), strict=True), where)
        look_text(str(parquet.read_schema(path).metadata), where)
    elif in_cohort and path.suffix == ".csv":
        columns, *rows = csv.reader(io.StringIO(path.read_text(encoding="utf-8")))
        cells(path, columns, rows, where)
    if not (in_cohort and path.suffix in (".parquet", ".csv")):
        look_bytes(path.read_bytes(), where)


files = 0
for folder in folders:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            look_file(path, folder)
            files += 1
assert files, "nothing to search"
if all_found:
    hidden = [text for text in planted["strings"] + planted["path_strings"] + planted["words"] if text not in seen]
    assert not hidden, f"the search does not find {hidden}"
else:
    assert not seen, "identifiers were found:\n" + "\n".join(f"{text!r} in {where}" for text, where in sorted(seen.items()))
print(f"{files} files searched for {len(wanted)} strings and {len(planted['words'])} words")
