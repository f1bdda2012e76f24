"""What a user gets wrong: one message with file, row, landmark or key, exit code 2, nothing overwritten."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_entry import call, snapshot
from PIL import Image

IMAGE = "images/00003.png"


def refused(result: Any, *words: str) -> None:
    """Exit code 2, a message on stderr with these words, no traceback."""
    assert result.exit_code == 2, result.output
    assert "error: " in result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr, result.stderr


def edit(file: Path, change: Callable[[list[str]], list[str]]) -> None:
    file.write_text("\n".join(change(file.read_text().splitlines())) + "\n")


def truncate(data: Path) -> None:
    file = data / IMAGE
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def no_image(data: Path) -> None:
    (data / IMAGE).write_text("these are no pixels")


def lose_column(data: Path) -> None:
    edit(data / "landmarks.csv", lambda lines: [lines[0].replace("tip_y", "remark"), *lines[1:]])


def write_word(data: Path) -> None:
    def change(lines: list[str]) -> list[str]:
        cells = lines[4].split(",")
        return [*lines[:4], ",".join([*cells[:3], "left", *cells[4:]]), *lines[5:]]

    edit(data / "landmarks.csv", change)


def pair_unknown(data: Path) -> None:
    edit(data / "dataset.yaml", lambda lines: [*lines, "pairs: [[tip, tipp]]"])


def repeat_row(data: Path) -> None:
    edit(data / "landmarks.csv", lambda lines: [*lines, lines[4]])


def blank_all(data: Path) -> None:
    edit(
        data / "landmarks.csv",
        lambda lines: [lines[0], *(",".join([*r.split(",")[:3], "", "", ""]) for r in lines[1:])],
    )


def shrink(data: Path) -> None:
    Image.new("L", (3, 2)).save(data / IMAGE)


DAMAGES: list[tuple[Callable[[Path], None], tuple[str, ...]]] = [
    (truncate, ("00003.png",)),
    (no_image, ("00003.png",)),
    (lose_column, ("landmarks.csv", "row 1", "'tip_y'")),
    (write_word, ("landmarks.csv", "row 5", "'tip'", "'left'")),
    (pair_unknown, ("dataset.yaml", "'tipp'", "did you mean 'tip'")),
    (repeat_row, ("landmarks.csv", "row 26", "00003.png", "row 5")),
    (blank_all, ("landmarks.csv", "annotated landmarks")),
    (shrink, ("00003.png", "row 5", "3 x 2")),
]


@pytest.mark.parametrize(("damage", "words"), DAMAGES, ids=[damage.__name__ for damage, _ in DAMAGES])
def test_damaged_dataset_is_refused_by_training_and_named_by_check(
    damage: Callable[[Path], None], words: tuple[str, ...], data: Path, recipe: Path, tmp_path: Path
) -> None:
    damage(data)
    before = snapshot(data)
    refused(call("train", recipe, f"data.path={data}", "data.cache=true", "--out", tmp_path / "run", "--quiet"), *words)
    checked = call("data", "check", data)
    assert checked.exit_code == 2
    for word in words:
        assert word in checked.stdout, checked.stdout
    assert snapshot(data) == before
    assert not (tmp_path / "run" / "weights.safetensors").exists()


def test_image_damaged_behind_its_header_is_named_without_the_traceback_of_a_worker(
    data: Path, recipe: Path, tmp_path: Path
) -> None:
    for file in sorted((data / "images").iterdir()):
        Image.effect_noise((64, 64), 50).save(file.with_suffix(".jpg"), quality=100)
        file.unlink()
    edit(data / "landmarks.csv", lambda lines: [line.replace(".png", ".jpg") for line in lines])
    damaged = data / "images" / "00003.jpg"
    damaged.write_bytes(damaged.read_bytes()[:2000])
    command = ("train", recipe, f"data.path={data}", "--out", tmp_path / "run", "--quiet")
    refused(call(*command, "data.workers=1"), "00003.jpg")
    cached = (*command[:-2], tmp_path / "other", "data.cache=true")
    refused(call(*cached), "00003.jpg")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("damage", [truncate, no_image], ids=["truncated", "text"])
def test_unreadable_image_stops_prediction_before_a_table_is_written(
    damage: Callable[[Path], None], data: Path, trained: Path, tmp_path: Path
) -> None:
    damage(data)
    out, drawn = tmp_path / "predictions.csv", tmp_path / "drawn"
    refused(call("predict", trained, data / "images", "--out", out, "--overlay", drawn), "00003.png")
    assert not out.exists()
    assert not drawn.exists()


def test_unreadable_test_image_stops_evaluation(data: Path, trained: Path, tmp_path: Path) -> None:
    for file in (data / "images").iterdir():
        file.write_bytes(file.read_bytes()[:-200])
    refused(call("evaluate", trained, "--data", data, "--json", tmp_path / "m.json"), ".png")
    assert not (tmp_path / "m.json").exists()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.epoch=5", ("train.epoch", "did you mean 'train.epochs'")),
        ("train.epochs=many", ("train.epochs", "at least 1, or auto", "'many'")),
        ("train.epochs=0", ("train.epochs", "at least 1, or auto", "got 0")),
        ("method.schedule.rhoo=1", ("rhoo", "did you mean 'method.schedule.rho'")),
        ("lr=0.01", ("unknown key 'lr'", "did you mean 'train.optimizer.lr'")),
        ("method.network=unett", ("unett", "did you mean 'unet'")),
        ("epochs", ("epochs", "key=value")),
        ("data.landmarks=[tipp]", ("tipp", "did you mean 'tip'")),
        ("data.train=trian", ("trian", "did you mean 'train'")),
        ("data.augment.flip=0.5", ("pairs",)),
    ],
)
def test_wrong_option_is_named_before_anything_is_written(
    override: str, words: tuple[str, ...], drawn: Path, recipe: Path, tmp_path: Path
) -> None:
    refused(call("train", recipe, f"data.path={drawn}", override, "--out", tmp_path / "run"), *words)
    assert not (tmp_path / "run").exists()


def test_recipe_that_is_none(tmp_path: Path) -> None:
    refused(call("train", "demoo", "--out", tmp_path / "run"), "demoo", "did you mean 'demo'")
    refused(call("train", tmp_path / "none.yaml", "--out", tmp_path / "run"), "none.yaml")
    (tmp_path / "broken.yaml").write_text("train: {epochs: [")
    refused(call("train", tmp_path / "broken.yaml", "--out", tmp_path / "run"), "broken.yaml", "line ")
    refused(call("recipes", "demoo"), "did you mean 'demo'")


def test_out_folder_of_another_run_or_of_something_else(
    drawn: Path, recipe: Path, trained: Path, tmp_path: Path
) -> None:
    before = snapshot(trained)
    other = call("train", recipe, f"data.path={drawn}", "seed=1", "--out", trained, "--quiet")
    refused(other, str(trained), "seed", "--out")
    assert snapshot(trained) == before
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "mail.txt").write_text("dear")
    result = call("train", recipe, f"data.path={drawn}", "--out", tmp_path / "letters")
    refused(result, "letters", "--out")
    refused(call("demo", "--out", tmp_path / "letters"), "letters", "--out")
    assert snapshot(tmp_path / "letters").keys() == {"mail.txt"}


def test_run_folder_without_weights(data: Path, trained: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    (run / "weights.safetensors").unlink()
    out = tmp_path / "out.csv"
    refused(call("predict", run, data / IMAGE, "--out", out), str(run), "weights.safetensors")
    refused(call("evaluate", run, "--data", data), str(run), "weights.safetensors")
    (run / "weights.safetensors").write_bytes(b"\x00" * 64)
    refused(call("predict", run, data / IMAGE, "--out", out), "weights.safetensors")
    refused(call("predict", tmp_path / "nothing", data / IMAGE, "--out", out), "nothing")
    refused(call("predict", data, data / IMAGE, "--out", out), "config.yaml")
    assert not out.exists()


def test_existing_files_are_not_replaced(data: Path, trained: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.csv"
    kept.write_text("mine")
    refused(call("predict", trained, data / IMAGE, "--out", kept), "kept.csv", "--force")
    refused(call("evaluate", trained, "--data", data, "--json", kept), "kept.csv", "--force")
    refused(call("evaluate", trained, "--data", data, "--html", kept), "kept.csv", "--force")
    refused(call("data", "check", data, "--json", kept), "kept.csv", "--force")
    picture = tmp_path / "sheet.png"
    picture.write_text("mine")
    refused(call("data", "show", data, "--out", picture), "sheet.png", "--force")
    refused(call("data", "split", data), "--force")
    refused(call("data", "convert", data, "--from", "native", "--out", data), "exists")
    assert kept.read_text() == picture.read_text() == "mine"


def test_overlay_never_replaces_an_image(data: Path, trained: Path, tmp_path: Path) -> None:
    folder = data / "images"
    (folder / "00003.png").rename(folder / "x.png")
    shutil.copy(folder / "x.png", folder / "x_points.png")
    before = snapshot(folder)
    arguments = ("predict", trained, folder, "--out", tmp_path / "p.csv", "--overlay", folder, "--force")
    refused(call(*arguments), "x_points.png")
    assert snapshot(folder) == before


def test_paths_and_splits_that_are_not_there(data: Path, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.csv"
    refused(call("predict", trained, tmp_path / "gone.png", "--out", out), "gone.png")
    (tmp_path / "empty").mkdir()
    refused(call("predict", trained, tmp_path / "empty", "--out", out), "empty")
    refused(call("evaluate", trained, "--data", data, "--split", "tset"), "tset", "did you mean 'test'")
    refused(call("evaluate", trained, "--data", tmp_path / "gone"), "gone")
    refused(call("predict", trained, data / IMAGE, "--out", out, "--device", "cuda:9"), "cuda:9")
    refused(call("data", "check", tmp_path / "gone"), "gone")


def test_wrong_conversion_options(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused(call("data", "convert", data, "--from", "nativ", "--out", out), "did you mean 'native'")
    refused(call("data", "convert", data, "--from", "native", "--to", "cocos", "--out", out), "did you mean 'coco'")
    result = call("data", "convert", data, "--from", "native", "--to", "coco", "--option", "kind=a", "--out", out)
    refused(result, "'kind'", "category")
    refused(call("data", "convert", data, "--from", "native", "--images", data / "no", "--out", out), "--images")
    refused(call("data", "convert", data, "--from", "native", "--to", "coco", "--link", "--out", out), "--link")
    refused(call("data", "split", data, "--fractions", "train:0.5"), "train:0.5")
    refused(call("data", "split", data, "--fractions", "train=0.5,test=0.2", "--force"), "add up to 1")
    assert not out.exists()


def test_a_file_that_the_system_refuses(data: Path, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(call("predict", trained, data / IMAGE, "--out", tmp_path / "file" / "p.csv"), "file")
