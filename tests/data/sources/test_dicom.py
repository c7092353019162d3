"""The DICOM source: folders and manifests of the files that pydicom carries; patients without their names."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pydicom
import pytest

from tests.data.sources.settings import config, pictures
from tests.data.sources.test_dicom_pixels import carried
from tl_jax.data.sources import read
from tl_jax.data.sources.dicom_pixels import read_dicom
from tl_jax.data.sources.errors import SourceError
from tl_jax.data.table import BadImageError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


def scans(root: Path, patients: Mapping[str, str]) -> Path:
    """Copies of a small MR, path → PatientID ("" = none, kept empty)."""
    for path, patient in patients.items():
        data = pydicom.dcmread(carried("MR_small.dcm"))
        data.PatientID = patient
        data.PatientName = f"Name^of {patient}"
        data.SOPInstanceUID = pydicom.uid.generate_uid(entropy_srcs=[path, patient])
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        data.save_as(root / path)
    return root


FILES = {
    "a/1.dcm": "SMITH-1",
    "a/2.DCM": "JONES-2",
    "b/x/3": "SMITH-1",
    "b/1.2.840.4": "JONES-2",
    "b/5.dcm": "LEE",
}


def test_folder_groups_by_patient(tmp_path):
    table = read(config(scans(tmp_path, FILES), source="dicom"))
    groups = dict(zip(table.ids, table.groups, strict=True))
    assert set(groups) == set(FILES)
    for one in FILES:
        for other in FILES:
            assert (groups[one] == groups[other]) == (FILES[one] == FILES[other])
    assert table.grouped
    assert table.labels[table.ids == "b/x/3"] == "b"
    assert np.array_equal(table.read(0, (8, 8)), read_dicom(carried("MR_small.dcm"), max_pixels=10**6))


def test_no_patient_tag_reaches_the_table(tmp_path):
    table = read(config(scans(tmp_path, FILES), source="dicom"))
    everything = pickle.dumps(table) + repr(table).encode() + " ".join(map(table.stamp, range(5))).encode()
    for tag in (b"SMITH", b"JONES", b"LEE", b"Name^", b"4MR1"):
        assert tag not in everything


def test_a_malformed_tag_is_not_printed(tmp_path, capfd, recwarn):
    """pydicom's words about a wrong value hold the value; it writes no such file, so bytes are changed."""
    scans(tmp_path, {"a/1.dcm": "SMITH_1234", "b/2.dcm": "JONES_1234"})
    for path, name in (("a/1.dcm", b"SMITH"), ("b/2.dcm", b"JONES")):
        data = (tmp_path / path).read_bytes()
        assert data.count(name + b"_1234") == 2  # in PatientName too
        (tmp_path / path).write_bytes(data.replace(b"LO\x0a\0" + name, b"UI\x0a\0" + name))
    table = read(config(tmp_path, source="dicom"))
    assert len(set(table.groups)) == 2
    table.read(0, None)
    said = "".join(map(str, recwarn)) + "".join(capfd.readouterr())
    assert "SMITH" not in said
    assert "JONES" not in said


def test_files_without_any_identifier_still_have_a_key(tmp_path):
    def without_uid(folder: str, offset: int) -> list[str]:
        for path, patient in {"a/1.dcm": "X", "b/2.dcm": "Y", "b/3.dcm": "X"}.items():
            data = pydicom.dcmread(carried("MR_small.dcm"))
            data.PatientID = patient
            data.WindowCenter = offset
            del data.SOPInstanceUID
            (tmp_path / folder / path).parent.mkdir(parents=True, exist_ok=True)
            data.save_as(tmp_path / folder / path)
        return read(config(tmp_path / folder, source="dicom")).groups.tolist()

    one, two = without_uid("one", 600), without_uid("two", 601)
    assert one[0] == one[2] != one[1]
    assert not set(one) & set(two)


def test_groups_are_stable_and_keyed_with_the_files(tmp_path):
    first = read(config(scans(tmp_path / "one", FILES), source="dicom"))
    again = read(config(scans(tmp_path / "two", FILES), source="dicom"))
    assert first.groups.tolist() == again.groups.tolist()
    more = read(config(scans(tmp_path / "two", {"b/6.dcm": "KIM"}), source="dicom"))
    assert not set(more.groups) & set(first.groups)


def test_an_expression_or_a_column_takes_the_place_of_the_tag(tmp_path):
    scans(tmp_path, {"a/p1_1.dcm": "X", "a/p2_1.dcm": "X", "b/p1_2.dcm": "Y"})
    table = read(config(tmp_path, source="dicom", group=r"p\d+"))
    assert table.groups.tolist() == ["p1", "p2", "p1"]
    (tmp_path / "list.csv").write_text("path,label,who\na/p1_1.dcm,x,one\nb/p1_2.dcm,y,two\n")
    settings = config(tmp_path, source="dicom", manifest="list.csv", columns=dict(group="who"))
    assert read(settings).groups.tolist() == ["one", "two"]


def test_manifest_of_dicom_groups_by_patient(tmp_path):
    scans(tmp_path, {"scan1": "X", "scan2": "Y", "scan3": "X"})
    (tmp_path / "list.csv").write_text("path,label,sex\nscan1,x,F\nscan2,y,M\nscan3,y,F\n")
    table = read(config(source="dicom", manifest=str(tmp_path / "list.csv")))
    assert table.groups[0] == table.groups[2] != table.groups[1]
    assert table.columns["sex"].tolist() == ["F", "M", "F"]
    assert table.read(1, None).shape == (64, 64, 1)


def test_files_without_a_patient(tmp_path):
    table = read(config(scans(tmp_path, {"a/1.dcm": "", "a/2.dcm": "", "b/3.dcm": ""}), source="dicom"))
    assert not table.grouped
    assert table.groups.tolist() == table.ids.tolist()
    assert "no file has a PatientID" in table.notes[0]
    table = read(config(scans(tmp_path, {"b/4.dcm": "A", "b/5.dcm": "A"}), source="dicom"))
    assert table.groups[:3].tolist() == ["a/1.dcm", "a/2.dcm", "b/3.dcm"]
    assert table.groups[3] == table.groups[4]
    assert "3 files without a PatientID" in table.notes[0]


def test_one_patient_id_for_all_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="all 2 files have one and the same PatientID") as caught:
        read(config(scans(tmp_path, {"a/1.dcm": "ANON", "b/2.dcm": "ANON"}), source="dicom"))
    assert "ANON" not in str(caught.value)
    assert len(set(read(config(tmp_path, source="dicom"), training=False).groups)) == 1
    assert len(set(read(config(tmp_path, source="dicom", group=".+")).groups)) == 2


def test_other_files_are_passed_over(tmp_path):
    scans(tmp_path, FILES)
    pictures(tmp_path, "a/preview.png")
    (tmp_path / "b/report.pdf").write_bytes(b"%PDF")
    shutil.copy(carried("MR_small.dcm"), tmp_path / "b/DICOMDIR")
    table = read(config(tmp_path, source="dicom"))
    assert set(table.ids) == set(FILES)
    assert "3 files" in table.notes[0]


def test_a_broken_file_shows_when_it_is_read(tmp_path):
    scans(tmp_path, FILES)
    (tmp_path / "a/1.dcm").write_bytes(b"broken")
    table = read(config(tmp_path, source="dicom"))
    with pytest.raises(BadImageError, match=r"^a/1\.dcm: it is not DICOM"):
        table.read(0, None)


def test_window_of_the_config_and_its_stamp(tmp_path):
    scans(tmp_path, FILES)
    own, asked = (read(config(tmp_path, source="dicom", window=window)) for window in ((), (500.0, 100.0)))
    assert not np.array_equal(own.read(0, None), asked.read(0, None))
    assert own.stamp(0) != asked.stamp(0)


def test_dicom_among_the_pictures_of_a_folder(tmp_path):
    scans(tmp_path, {"a/1.dcm": "X"})
    table = read(config(pictures(tmp_path, "b/2.png")))
    assert [table.read(i, None).shape for i in range(2)] == [(64, 64, 1), (6, 5, 1)]
    assert "data.source='dicom' groups 1 DICOM file by patient" in table.notes[0]
    assert read(config(tmp_path, group=r"\d")).notes == ()
