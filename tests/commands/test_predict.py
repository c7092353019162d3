"""Predictions of new pictures are those that the run itself made of its test split."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from tests.commands import pictures
from tl_jax import predict
from tl_jax.workdir import WorkdirError


def call(workdir, source, output, *more: str) -> list[dict[str, str]]:
    assert predict.main(["", f"--workdir={workdir}", f"--input={source}", f"--output={output}", *more]) == 0
    return pictures.read_csv(output)


def test_agrees_with_the_run_itself(finished, photographs, tmp_path):
    own = pictures.read_csv(finished / "predictions_test.csv")
    found = {row["id"]: row for row in call(finished, photographs, tmp_path / "p.csv")}
    assert len(found) == 88
    assert list(found[own[0]["id"]]) == [name for name in own[0] if name not in ("group", "label")]
    for row in own:
        mine = found[row["id"]]
        assert mine["decision"] == row["decision"]
        for name in mine.keys() - {"id", "decision"}:
            assert float(mine[name]) == pytest.approx(float(row[name]), rel=2e-5, abs=1e-6)


def test_the_same_split_gives_the_same_text(finished, photographs, tmp_path):
    own = pictures.read_csv(finished / "predictions_test.csv")
    found = call(finished, photographs / "test", tmp_path / "p.csv")
    for row in own:
        del row["group"], row["label"]
        row["id"] = row["id"].removeprefix("test/")
    assert found == own


def test_one_file(finished, photographs, tmp_path):
    own = pictures.read_csv(finished / "predictions_test.csv")[0]
    (row,) = call(finished, photographs / own["id"], tmp_path / "p.csv")
    assert row["id"] == own["id"].rpartition("/")[2]
    assert float(row["logit_sick"]) == pytest.approx(float(own["logit_sick"]), rel=2e-5, abs=1e-6)


def test_heat_maps(finished, photographs, tmp_path):
    """A picture for each row, of the size that the network saw; where the map is empty it is the picture."""
    maps = tmp_path / "maps"
    rows = call(finished, photographs / "test", tmp_path / "p.csv", f"--heatmaps={maps}")
    files = {str(file.relative_to(maps)): file for file in maps.rglob("*.png")}
    assert set(files) == {f"{row['id']}.png" for row in rows}
    shown = [np.asarray(Image.open(file)) for file in files.values()]
    assert {image.shape for image in shown} == {(32, 32, 3)}
    coloured = [np.ptp(image, axis=-1).max() > 20 for image in shown]
    assert np.mean(coloured) > 0.5
    with pytest.raises(ValueError, match=r"--heatmaps=.*p\.csv: .* is a file, not a folder"):
        call(finished, photographs / "test", tmp_path / "q.csv", f"--heatmaps={tmp_path / 'p.csv'}")
    assert not (tmp_path / "q.csv").exists()


def test_bad_pictures(finished, photographs, tmp_path, capsys):
    folder = tmp_path / "new"
    shutil.copytree(photographs / "test" / "sick", folder)
    good = len(list(folder.iterdir()))
    (folder / "torn.jpg").write_bytes(next(folder.glob("*.jpg")).read_bytes()[:500])
    (folder / "empty.png").write_bytes(b"")
    (folder / "notes.txt").write_text("not a picture")
    with pytest.raises(ValueError) as caught:
        call(finished, folder, tmp_path / "p.csv")
    assert "torn.jpg" in str(caught.value)
    assert "empty.png" in str(caught.value)
    assert "--on_bad_image=skip" in str(caught.value)
    assert not (tmp_path / "p.csv").exists()
    rows = call(finished, folder, tmp_path / "p.csv", "--on_bad_image=skip")
    assert len(rows) == good
    told = capsys.readouterr().err
    assert "torn.jpg" in told
    assert ".txt" in told


def test_gray_and_colour_may_be_mixed(finished, photographs, tmp_path):
    folder = tmp_path / "new"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (50, 60), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "gray.png")
    Image.fromarray(np.stack([noise] * 3, axis=-1)).save(folder / "same.png")
    shutil.copy(next((photographs / "test" / "sick").glob("*.png")), folder / "colour.png")
    rows = {row["id"]: row["logit_sick"] for row in call(finished, folder, tmp_path / "p.csv")}
    assert rows["gray.png"] == rows["same.png"] != rows["colour.png"]


def test_what_is_no_run_or_no_input(finished, photographs, tmp_path):
    for workdir, text in (
        (tmp_path / "absent", "is not there"),
        (photographs, "holds no run"),
        (finished.parent, "did you mean one of finished"),
    ):
        with pytest.raises(WorkdirError, match=text):
            call(workdir, photographs, tmp_path / "p.csv")
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="no picture"):
        call(finished, tmp_path / "none", tmp_path / "p.csv")
    with pytest.raises(ValueError, match="nowhere"):
        call(finished, tmp_path / "nowhere", tmp_path / "p.csv")
    with pytest.raises(SystemExit) as ended:
        predict.main(["", f"--workdir={finished}"])
    assert ended.value.code == 2


def test_an_unfinished_run(finished, photographs, tmp_path):
    shutil.copy(finished / "config.json", tmp_path)
    with pytest.raises(WorkdirError, match="has not finished"):
        call(tmp_path, photographs, tmp_path / "p.csv")


def test_an_output_that_cannot_be_written_is_told_first(finished, photographs, tmp_path):
    (tmp_path / "file").write_text("mine")
    for output, words in ((tmp_path, "is a folder; name a file"), (tmp_path / "file" / "x.csv", "is a file")):
        with pytest.raises(ValueError, match=words):
            call(finished, photographs / "nowhere", output)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
