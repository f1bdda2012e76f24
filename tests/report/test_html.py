from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trigpoint.errors import DataError
from trigpoint.landmarks import LandmarkSet
from trigpoint.metrics import detection_scores
from trigpoint.report.figures import ced_plot
from trigpoint.report.html import Picture, render_html
from trigpoint.report.overlays import Shown
from trigpoint.report.views import Gallery, image_view, packed

METRICS = {
    "n_images": 300, "n_landmarks": 2, "mre_px": 2.71, "sd_px": 1.9, "median_px": 1.85,
    "mre_mm": 0.271, "sd_mm": 0.19, "median_mm": 0.185, "sdr_mm": {"2.0": 0.853}, "sdr_px": None,
    "nme": {"name": "inter_ocular", "mean": 0.0315}, "fr": {"threshold": 0.08, "value": 0.018},
    "auc": {"threshold": 0.08, "value": 0.61}, "ci95": {"mre_mm": [0.25, 0.29]},
    "per_landmark": {"tip": {"mre_px": 1.5, "sdr_mm": {"2.0": 0.75}}, "<b>base</b>": {"mre_px": 3.0}},
    "per_group": {"eyes": {"mre_px": 1.25}},
}  # fmt: skip
VOID = {"meta", "link", "img", "br", "input"}


class Balance(HTMLParser):
    """Fails on a tag that is closed in the wrong order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        pass  # as in <image .../>

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def gallery(text: str) -> Gallery:
    shown = Shown(np.array([[1.0, 1.0], [2.0, 2.0]]), np.array([[3.0, 1.0], [np.nan, np.nan]]), range(2))
    view = image_view(text, text, np.zeros((9, 9), np.uint8), shown, LandmarkSet((text, "b")), link="http://127.0.0.1/")
    return Gallery(text, [view], text, f"trigpoint label {text}")


def plain(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page.split("</style>")[1]).split())


def test_report_states_numbers_and_rules() -> None:
    page = render_html(METRICS, title="Toy", spacing_source="PixelSpacing of the DICOM files")
    text = plain(page)
    assert "0.27 mm mean radial error, SD 0.19" in text
    assert "85.3 % of points within 2.0 mm" in text
    assert "0.27 mm [0.25, 0.29]" in text
    assert "share of points with error &lt;= threshold" in text
    assert "share of images with NME &gt; 8 %" in text
    assert "divided by its own inter_ocular" in text
    assert "pixels times PixelSpacing of the DICOM files" in text
    assert "Group eyes" not in text
    assert "Group MRE (px) eyes 1.25" in text
    assert "tip 1.50 75.0" in text


def test_the_first_numbers_are_in_the_unit_that_says_most() -> None:
    def tiles(**changed: object) -> list[str]:
        page = render_html(METRICS | changed)
        shown = page.split('aria-label="Headline numbers">')[1].split("</section>")[0]
        return [plain(f"</style>{one}") for one in shown.split('<div class="tile">')[1:]]

    millimetres = tiles()
    assert millimetres[0] == "0.27 mm mean radial error, SD 0.19"
    assert millimetres[2] == "3.15 % mean error in shares of inter_ocular (NME)"
    no_mm = {"mre_mm": None, "sdr_mm": None, "sdr_px": {"2.0": 0.5}}
    shares = tiles(**no_mm)
    assert [one.split()[1] for one in shares[:4]] == ["%", "%", "px", "%"]
    assert shares[0].startswith("3.15 % mean error in shares")
    assert tiles(**no_mm, nme=None, fr=None)[0] == "2.71 px mean radial error, SD 1.90"


def test_report_is_well_formed_complete_and_loads_nothing() -> None:
    figures = [Picture("CED", ced_plot({"a": [1.0, 2.0]}, 3.0)), replace(gallery("x"), command="")]
    page = render_html(METRICS, figures, {"train": {"lr": 0.1}}, ["careful"])
    page = page.replace('href="http://127.0.0.1/"', "")  # where the labelling page is, which is not loaded
    balance = Balance()
    balance.feed(page)
    assert balance.open == []
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', page)
    assert len(sources) == 3
    assert all(source.startswith("data:") for source in sources)
    assert not re.search(r"https?://|@import|url\(|<script", page)
    embedded = re.search(r'src="data:image/png;base64,([^"]+)"', page)
    assert embedded is not None
    assert base64.b64decode(embedded.group(1), validate=True).startswith(b"\x89PNG")
    assert "prefers-color-scheme: dark" in page
    assert "careful" in page
    assert "train.lr" in page


def test_everything_given_is_escaped() -> None:
    evil = "<script>alert(1)</script>"
    page = render_html(
        {"mre_px": 1.0, "per_landmark": {evil: 1.0}},
        [Picture(evil, packed(np.zeros((9, 9), np.uint8)), evil), gallery(evil)],
        {evil: evil},
        [evil],
        evil,
        evil,
    )
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 8


def test_unknown_units_are_said_and_nulls_left_out() -> None:
    text = plain(render_html(dict.fromkeys(METRICS, None) | {"mre_px": 2.71, "ci95": None}))
    assert "unit unknown" in text
    assert "2.71 px" in text
    for word in ("SDR", "NME", "AUC", "None", "nan", "95 %", "Per landmark"):
        assert word not in text
    assert "How the numbers are made" in plain(render_html({}))


def test_detection_of_instances_has_its_table() -> None:
    text = plain(
        render_html({"detection": {"tip": {"precision": 0.975, "recall": 0.9, "f1": None, "distance_px": 6.5}}})
    )
    assert "Landmark Precision Recall Distance (px) tip 97.5 % 90.0 % 6.50" in text


def test_detection_is_counted_both_ways_with_intervals() -> None:
    truth, found = [[[[0.0, 0.0], [50.0, 0.0]]], [[]]], [[[[3.0, 4.0], [300.0, 0.0]]], [[]]]
    report = detection_scores(found, truth, 20.0, ["tip"], scores=[[[0.9, 0.5]], [[]]], threshold=0.25, draws=0)
    intervals = {"detection": {"tip": {"recall": [0.25, 0.75], "distance_px": [4.0, 6.0], "f1": None}}}
    text = plain(render_html(report.to_dict() | {"ci95": intervals}))
    heads = "Precision Recall F1 Distance (px) Found False Missed"
    assert f"Landmark {heads} tip 50.0 % 50.0 % [25.0, 75.0] 50.0 % 5.00 [4.00, 6.00] 1 1 1" in text
    assert f"misses counted leniently Landmark {heads} tip 50.0 % 100.0 % 66.7 % 5.00 1 1 0" in text
    assert f"all landmarks together Counting {heads} strict 50.0 %" in text
    assert "with a score above 0.25 and annotations nearer than 20 px" in text
    assert "50.0 % of instances found (recall)" in text
    ranged = plain(render_html(report.to_dict() | {"detection_radius_px": [10.0, 20.0], "detection_threshold": None}))
    assert "Detection predictions and annotations nearer than 10 to 20 px are matched" in ranged


def test_figures_from_files_and_bad_ones(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    Image.new("L", (30, 20)).save(file)
    page = render_html({}, [Picture("a", file)])
    assert "width:30px;aspect-ratio:30/20" in page
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(DataError, match="expected a whole PNG or JPEG"):
        render_html({}, [Picture("a", file)])
    Image.new("L", (30, 20)).save(file)
    assert "data:image/jpeg;base64" in render_html({}, [Picture("a", file)])
    with pytest.raises(DataError, match="'gone'"):
        render_html({}, [Picture("gone", tmp_path / "gone.png")])
    with pytest.raises(DataError, match="PNG or JPEG"):
        render_html({}, [Picture("a", b"text")])
