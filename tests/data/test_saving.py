"""Native sets that are written: what is missing is told all at once, and each image is brought once."""

from __future__ import annotations

import filecmp
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.quality.checks import check_dataset
from trigpoint.errors import DataError


def make(root: Path, names: list[str], gone: int = 0) -> Path:
    (root / "images").mkdir(parents=True)
    for name in names[gone:]:
        PIL.Image.new("L", (20, 10), hash(name) % 200).save(root / "images" / name)
    rows = "".join(f"{name},1,2\n" for name in names)
    (root / "landmarks.csv").write_text(f"image,tip_x,tip_y\n{rows}")
    return root


NAMES = [f"{k:03d}.png" for k in range(15)]


def test_missing_images_are_told_all_at_once_and_before_anything_is_written(tmp_path: Path) -> None:
    root = make(tmp_path / "set", NAMES, gone=13)
    for name in ("000.jpg", "1.png", "002.PNG"):
        (root / "images" / name).touch()
    lazy = LandmarkDataset.load(root, check_images=False)
    for act in (lambda: LandmarkDataset.load(root), lambda: lazy.save(tmp_path / "out")):
        with pytest.raises(DataError) as error:
            act()
        lines = str(error.value).splitlines()
        assert "expected image files, 13 of 15 are missing" in lines[0]
        assert lines[1].endswith(
            "row 2: " + str(root / "images" / "000.png") + ": expected an image file, got none; did you mean '000.jpg'?"
        )
        assert lines[2].endswith("got none; did you mean '1.png'?")
        assert lines[3].endswith("got none; did you mean '002.PNG'?")
        assert lines[-2].strip() == "and 3 more"
        assert "--images FOLDER" in lines[-1]
        assert len(lines) == 13
    assert not (tmp_path / "out").exists()


def test_frames_of_a_video_are_no_missing_files_like_others(tmp_path: Path) -> None:
    (tmp_path / "found.csv").write_text("image,tip_x,tip_y\nclip_000000.png,1,2\nclip_000005.png,1,2\n")
    told = "they are frames of the video 'clip', no files: 'trigpoint label VIDEO --every N'"
    with pytest.raises(DataError, match=told):
        LandmarkDataset.load(tmp_path / "found.csv")
    errors = check_dataset(tmp_path / "found.csv").errors
    assert len(errors) == 1
    assert told in errors[0].message


def test_copies_are_made_once_with_progress_and_are_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = LandmarkDataset.load(make(tmp_path / "set", NAMES))
    told: list[tuple[int, int]] = []
    data.save(tmp_path / "out", progress=lambda *counts: told.append(counts))
    assert told == [(k, 15) for k in range(1, 16)]
    (tmp_path / "out" / "images" / "003.png").unlink()
    (tmp_path / "out" / "dataset.yaml").unlink()
    monkeypatch.setattr(filecmp, "cmp", lambda *files, **how: pytest.fail("was read again"))
    told.clear()
    data.save(tmp_path / "out", progress=lambda *counts: told.append(counts))
    assert told == [(15, 15)]
    assert (tmp_path / "out" / "images" / "003.png").is_file()


def test_scores_and_names_survive(tmp_path: Path) -> None:
    root = make(tmp_path / "set", NAMES[:2])
    (root / "p.csv").write_text("image,tip_x,tip_y,tip_score\n000.png,100,200,0.25\n./images/001.png,3,4,\n")
    data = LandmarkDataset.load(root / "p.csv")  # a predicted point may lie outside of the image
    assert "most predicted points lie outside of the image in 1 rows" in str(data.problems[0])
    again = LandmarkDataset.load(data.save(tmp_path / "again"))
    np.testing.assert_array_equal(again.samples[0].scores, [0.25])
    assert again.samples[1].scores is None
    assert [sample.image.name for sample in again.samples] == NAMES[:2]
    report = check_dataset(root / "p.csv")
    assert report.ok
    assert any("most predicted points" in warning.message for warning in report.warnings)


def test_predictions_beside_a_set_may_have_other_landmarks_and_instances(tmp_path: Path) -> None:
    root = make(tmp_path / "set", NAMES[:2])
    about = "instances: false\nlandmarks: [tip, end]\npairs: [[tip, end]]\ngroups: {all: [tip, end]}\n"
    (root / "dataset.yaml").write_text(about)
    (root / "p.csv").write_text(
        "image,instance,new_x,new_y,new_score,end_x,end_y,end_score\n000.png,1,1,2,1,3,4,1\n000.png,2,1,3,1,3,5,1\n"
    )
    data = LandmarkDataset.load(root / "p.csv")
    assert data.landmarks.names == ("end", "new")
    assert data.landmarks.groups == {"all": ("end",)}
    assert data.instances
    assert len(data.by_image()) == 1
