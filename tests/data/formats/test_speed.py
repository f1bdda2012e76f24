"""Large annotation files take time in proportion to their rows. Bounds are generous: processor time, many times what
it takes, so that a loop over all rows for each row is noticed and a busy machine is not."""

from __future__ import annotations

import json
import time
import tracemalloc
from pathlib import Path

import pytest

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.formats import FORMATS

PER_ANNOTATION = 2e-3  # seconds of the processor; measured: 0.1 ms in COCO of 17 landmarks, 0.2 ms in DeepLabCut
MEMORY = 40  # times the size of the file at the most


def coco(root: Path, count: int) -> Path:
    keypoints = [value for k in range(17) for value in (k + 0.25, 2.5, 2)]
    images = [{"id": k, "file_name": f"{k:06d}.jpg", "width": 640, "height": 480} for k in range(count // 2)]
    notes = [{"id": k, "image_id": k // 2, "category_id": 1, "keypoints": keypoints} for k in range(count)]
    kinds = [{"id": 1, "name": "person", "keypoints": [f"k{k}" for k in range(17)]}]
    file = root / "set.json"
    file.write_text(json.dumps({"images": images, "annotations": notes, "categories": kinds}))
    return file


def deeplabcut(root: Path, count: int) -> Path:
    axes = [f"b{k}" for k in range(10) for _ in "xy"]
    head = [["scorer", "", "", *["me"] * 20], ["bodyparts", "", "", *axes], ["coords", "", "", *["x", "y"] * 10]]
    for video in range(count // 20):
        folder = root / "labeled-data" / f"video{video}"
        folder.mkdir(parents=True)
        rows = [["labeled-data", folder.name, f"img{k}.png", *["1.5"] * 20] for k in range(20)]
        (folder / "CollectedData_me.csv").write_text("\n".join(",".join(row) for row in head + rows))
    return root


@pytest.mark.parametrize(("form", "count"), [("coco", 4000), ("deeplabcut", 2000)])
def test_time_and_memory_grow_with_the_rows(form: str, count: int, tmp_path: Path) -> None:
    source = {"coco": coco, "deeplabcut": deeplabcut}[form](tmp_path, count)
    size = sum(file.stat().st_size for file in [source, *source.rglob("*")] if file.is_file())

    def read() -> LandmarkDataset:
        return FORMATS[form]().read(source)

    begin = time.process_time()
    data = read()
    taken = time.process_time() - begin
    assert len(data) == count
    assert taken < PER_ANNOTATION * count
    tracemalloc.start()
    try:
        read()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MEMORY * size
