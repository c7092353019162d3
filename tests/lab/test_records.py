"""Lines that are only ever added."""

from __future__ import annotations

from tl_jax.lab.records import Records


def test_what_was_added_is_read(tmp_path):
    records = Records(tmp_path / "runs.jsonl")
    assert records.read() == []
    lines = [{"name": "a", "text": "é\n\u2028"}, {"name": "b", "value": None}]
    for line in lines:
        records.append(line)
    assert Records(tmp_path / "runs.jsonl").read() == lines


def test_a_torn_line_makes_way(tmp_path):
    records = Records(tmp_path / "runs.jsonl")
    records.append({"name": "a"})
    with open(records.path, "ab") as file:
        file.write(b'{"name": "b", "tes')
    assert records.read() == [{"name": "a"}]
    records.append({"name": "c"})
    assert records.read() == [{"name": "a"}, {"name": "c"}]
