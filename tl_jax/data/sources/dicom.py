"""DICOM files, in class folders or listed in a manifest.

The layouts are those of the folder source, or those of the CSV source where ``data.manifest`` is set. Files
may be called anything: ``.dcm`` or not, those that begin as DICOM are read.

**Patients.** Where neither a column nor an expression names groups, PatientID does. The tag itself never
leaves this file: a group is a short digest of it, keyed with the identifiers (SOPInstanceUID) of all files of
the set. So a list of groups says which pictures belong together, but even someone who knows all patient
numbers cannot find out which is which without the files. The same files give the same groups.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import PurePath
from typing import Any

from tl_jax.data.sources import csv, folder
from tl_jax.data.sources.errors import SourceError, counted, some
from tl_jax.data.sources.files import DICOM, PICTURES
from tl_jax.data.sources.rows import Rows, files, table
from tl_jax.data.table import Table


def read(config: Any, *, training: bool = True) -> Table:
    """The table of DICOM files in ``config.root``, or of those listed in ``config.manifest``.

    Pixels go through `dicom_pixels.read_dicom` with ``config.window``. Every group is the regular expression
    ``group``'s or the column's; else a digest of PatientID; a file without one is a group of its own.

    Raises:
      SourceError: as the folder and the CSV source do; or all files have one PatientID, as after a careless
        anonymisation, which would make the whole set one patient.
    """
    if config.manifest:
        rows = csv.collect(config, training=training)
    else:
        rows = folder.collect(config, training=training, wanted=is_dicom)
    if rows.groups is None and config.group:
        rows.find_groups(config.group)
    elif rows.groups is None:
        _group_by_patient(rows, training=training)
    return table(rows, files(rows, config, dicom=True))


def is_dicom(path: str) -> bool:
    """By its ending; a file without one that says what it is by its first bytes."""
    suffix = PurePath(path).suffix.lower()
    if suffix in DICOM:
        return True
    if suffix in PICTURES or PurePath(path).name.upper() == "DICOMDIR":
        return False
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _group_by_patient(rows: Rows, *, training: bool) -> None:
    tags = [_identity(path) for path in rows.paths]
    patients = {patient for patient, _ in tags if patient}
    unnamed = [name for name, (patient, _) in zip(rows.ids, tags, strict=True) if not patient]
    if not patients:
        rows.notes.append("no file has a PatientID: every picture is taken for a patient of its own")
        return
    if training and len(patients) == 1 and not unnamed and len(rows.ids) > 1:
        raise SourceError(
            f"all {counted(len(rows.ids), 'file')} have one and the same PatientID, so they are one patient, "
            "who cannot be split; name the patients by data.group or by data.columns.group "
            "(data.group='.+' takes every file for a patient of its own)"
        )
    if unnamed:
        rows.notes.append(
            f"{counted(len(unnamed), 'file')} without a PatientID, each a group of its own: "
            f"{some(unnamed, 5)}"
        )
    key = hashlib.sha256(b"\n".join(sorted(identity for _, identity in tags))).digest()
    rows.groups = [
        _digest(key, patient) if patient else name for name, (patient, _) in zip(rows.ids, tags, strict=True)
    ]


def _digest(key: bytes, patient: bytes) -> str:
    return "patient-" + hmac.new(key, patient, hashlib.sha256).hexdigest()[:12]


def _identity(path: str) -> tuple[bytes, bytes]:
    """PatientID, b"" where there is none, and what only someone who has the file can know.

    Whether the file is good shows when its pixels are read; it can be skipped then. The values are taken as
    they lie in the file: pydicom's check of them would print what it finds wrong, patient's tag and all.
    """
    import pydicom

    try:
        data = pydicom.dcmread(
            path, force=True, stop_before_pixels=True, specific_tags=["PatientID", "SOPInstanceUID"]
        )
        return _raw(data, "PatientID"), _raw(data, "SOPInstanceUID") or _content(path)
    except Exception:  # a broken file can make a reader raise almost anything
        return b"", b""


def _raw(data: Any, tag: str) -> bytes:
    if tag not in data:
        return b""
    value = data.get_item(tag).value or b""
    return (value if isinstance(value, bytes) else str(value).encode()).strip(b" \0")


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
