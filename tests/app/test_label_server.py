"""The requests: who may make them, what they refuse, and pixels as they are stored."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pydicom
import pytest
import tifffile
from fastapi import WebSocketDisconnect
from fastapi.testclient import TestClient
from label_sets import client_of, draw, open_project, put, state

import trigpoint as tp
from trigpoint.app.access import MOST, Access
from trigpoint.app.pictures import TILE, Picture
from trigpoint.app.server import make_app
from trigpoint.app.state import Row, State


@pytest.fixture
def client(photos: Path) -> TestClient:
    return client_of(open_project(photos, "tip,root"))


def test_the_token_opens_and_nothing_else_does(photos: Path) -> None:
    app = make_app(open_project(photos, "tip"), Access(token="secret"))
    stranger = TestClient(app)
    paths = ("/", "/?token=wrong", "/api/set", "/api/images/0", "/page/main.js", "/api/images/0/thumbnail", "/login")
    assert [stranger.get(path).status_code for path in paths] == [403] * len(paths)
    with pytest.raises(WebSocketDisconnect), stranger.websocket_connect("/live"):
        pass
    assert stranger.get("/?token=secret&image=2").url.query == b"image=2"
    assert stranger.get("/api/set").status_code == 200
    foreign = {"origin": "https://elsewhere.example"}
    assert stranger.post("/api/undo", headers=foreign).status_code == 403
    assert stranger.get("/api/set", headers={"host": "elsewhere.example"}).status_code == 403
    with pytest.raises(WebSocketDisconnect), stranger.websocket_connect("/live", headers=foreign):
        pass


def test_a_password_lets_other_machines_in(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trigpoint.app.access._PAUSE", 0.0)
    client = TestClient(make_app(open_project(photos, "tip"), Access("open sesame"), "0.0.0.0"))
    assert "password" in client.get("/").text
    assert client.get("/api/set").status_code == 403
    assert client.post("/login", data={"password": "wrong"}).status_code == 403
    assert client.post("/login", data={"password": "open sesame"}).status_code == 200
    assert client.get("/api/set").json()["landmarks"] == ["tip"]


def test_keys_stay_the_same_in_a_private_file(tmp_path: Path) -> None:
    file = tmp_path / "label.key"
    first = Access(kept=file)
    assert Access(kept=file).token == first.token
    assert Access(kept=file).cookie == first.cookie
    assert file.stat().st_mode & 0o077 == 0
    file.chmod(0o644)  # others can read it: new keys
    assert Access(kept=file).token != first.token
    file.write_text("[]")
    assert len(Access(kept=file).token) > 20


@pytest.mark.parametrize(
    "path", ["/page/../server.py", "/page/%2e%2e/server.py", "/page//etc/passwd", "/page/vendor/../../state.py"]
)
def test_no_other_file_is_served(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_bodies_are_bounded_and_checked(client: TestClient) -> None:
    big = {"content-type": "application/json"}
    assert client.put("/api/images/0", content=b"x" * (MOST + 1), headers=big).status_code == 413

    def endless() -> Any:
        for _ in range(40):
            yield b" " * 100_000

    assert client.put("/api/images/0", content=endless(), headers=big).status_code in (400, 413)
    for wrong in (
        {"rows": [{"marks": {"tip": [1, 2]}}]},
        {"rows": [{"marks": {"tip": [1, 2, 3]}}]},
        {"rows": [{"marks": {"tip": ["NaN", 2, 2]}}]},
        {"rows": [{"marks": {"tip": [1e9, 2, 2]}}]},
        {"rows": [{"marks": {"nose": [1, 2, 2]}}]},
        {"rows": [{"marks": {}}, {"instance": "b", "marks": {}}]},
        {"rows": [{"marks": {}}], "note": "=cmd|' /C calc'!A0"},
        {"rows": [{"marks": {}}], "path": "../x"},
    ):
        assert put(client, 0, wrong, status=422)["error"]
    assert client.get("/api/images/0").json()["state"]["rows"] == []
    assert client.get("/api/images/99").status_code == 422
    assert client.get("/api/images/-1/thumbnail").status_code == 422


def test_edits_undo_and_stale_ones(client: TestClient, photos: Path) -> None:
    full = put(client, 1, state({"tip": [1.23456, 2, 1]}, note='ä; \n"quoted"', subject="s1"))
    assert (full["revision"], full["image"]["done"], full["image"]["total"]) == (1, 1, 2)
    assert full["state"]["rows"][0]["marks"] == {"tip": [1.235, 2.0, 1]}
    assert put(client, 1, state({}), base=0, status=409)["error"].startswith("b.png")
    with client.websocket_connect("/live") as live:
        put(client, 1, state({"tip": [3, 4, 2]}), base=1)
        assert live.receive_json()["image"]["revision"] == 2
    assert client.post("/api/undo").json()["state"]["note"] == 'ä; \n"quoted"'
    assert client.post("/api/undo").json()["state"]["rows"] == []
    assert client.post("/api/undo").json() == {}
    assert client.post("/api/redo").json()["state"]["subject"] == "s1"
    sample = tp.LandmarkDataset.load(photos).samples[0]
    assert (sample.points[0].tolist(), sample.subject, sample.image.name) == ([1.235, 2.0], "s1", "b.png")


def test_an_example_is_another_image(client: TestClient) -> None:
    assert client.get("/api/example", params={"landmark": "tip", "besides": 0}).json() == {}
    put(client, 0, state({"tip": [5, 6, 2]}))
    assert client.get("/api/example", params={"landmark": "tip", "besides": 0}).json() == {}
    found = client.get("/api/example", params={"landmark": "tip", "besides": 2}).json()
    assert (found["id"], found["x"], found["y"]) == (0, 5, 6)
    small = client.get("/api/images/0/detail", params={"x": 5, "y": 6, "half": 10})
    assert PIL.Image.open(io.BytesIO(small.content)).size == (240, 240)


def test_reading_only(photos: Path) -> None:
    open_project(photos, "tip").save(0, State(rows=[Row(marks={"tip": (1, 2, 2)})]), 0)
    before = {file: file.read_bytes() for file in photos.rglob("*") if file.is_file()}
    client = client_of(open_project(photos, read_only=True))
    assert client.get("/api/set").json()["readOnly"] is True
    assert "reading only" in put(client, 0, state({"tip": [9, 9, 2]}), status=422)["error"]
    assert client.post("/api/undo").status_code == 422
    assert {file: file.read_bytes() for file in photos.rglob("*") if file.is_file()} == before


def stitched(client: TestClient, number: int, level: int) -> np.ndarray[Any, Any]:
    """A level put together from its tiles, without their overlaps."""
    about = client.get(f"/api/images/{number}/picture").json()
    stride = 2 ** (about["top"] - level)
    height, width = -(-about["height"] // stride), -(-about["width"] // stride)
    kind = np.uint8 if about["bits"] == 8 else np.dtype("<u2")
    out = np.zeros((height, width, about["channels"]), kind)
    for row in range(-(-height // TILE)):
        for column in range(-(-width // TILE)):
            data = client.get(f"/api/images/{number}/tiles/{level}/{column}/{row}").content
            top, left = max(row * TILE - 1, 0), max(column * TILE - 1, 0)
            bottom, right = min((row + 1) * TILE + 1, height), min((column + 1) * TILE + 1, width)
            out[top:bottom, left:right] = np.frombuffer(data, kind).reshape(bottom - top, right - left, -1)
    return out


@pytest.mark.parametrize("large", [False, True])
def test_tiles_are_the_stored_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool) -> None:
    values = np.random.default_rng(0).integers(0, 65535, (1301, 1107), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, tile=(256, 256))
    monkeypatch.setattr("trigpoint.app.pictures._is_large", lambda file: large)
    client = client_of(open_project(tmp_path, "tip"))
    about = client.get("/api/images/0/picture").json()
    assert (about["top"], about["bits"], about["channels"]) == (2, 16, 1)
    assert (stitched(client, 0, 2)[..., 0] == values).all()
    padded = np.pad(values, ((0, 1), (0, 1)), mode="edge").astype(float)
    halved = padded.reshape(651, 2, 554, 2).mean((1, 3))
    assert np.abs(stitched(client, 0, 1)[..., 0] - halved).max() <= 0.5
    assert stitched(client, 0, 0).shape == (326, 277, 1)
    for level, column, row in ((3, 0, 0), (-1, 0, 0), (2, 3, 0), (2, 0, -1)):
        assert client.get(f"/api/images/0/tiles/{level}/{column}/{row}").status_code == 404
    thumbnail = PIL.Image.open(io.BytesIO(client.get("/api/images/0/thumbnail").content))
    assert max(thumbnail.size) == 240


def test_dicom_values_and_windows(tmp_path: Path) -> None:
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    data = pydicom.Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = SecondaryCaptureImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    stored = np.arange(0, 4000, dtype=np.uint16).reshape(50, 80)
    data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = 50, 80, 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.RescaleSlope, data.RescaleIntercept = 1, -1000
    data.WindowCenter, data.WindowWidth = [300, 40], [1500, 80]
    data.WindowCenterWidthExplanation = ["BONE", "SOFT"]
    data.PixelData = stored.tobytes()
    data.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    picture = Picture(tmp_path / "a.dcm")
    about = picture.about()
    assert [tuple(window.values()) for window in about["windows"][:2]] == [("BONE", -450, 1050), ("SOFT", 0, 80)]
    tile = picture.tile(picture.top, 0, 0)
    assert tile is not None
    assert (about["offset"] + about["step"] * tile[..., 0].astype(float) == stored.astype(float) - 1000).all()


def test_a_broken_image_says_why_and_the_others_go_on(photos: Path) -> None:
    (photos / "0.png").write_bytes((photos / "a.png").read_bytes()[:200])
    draw(photos / "c.png")
    client = client_of(open_project(photos, "tip"))
    answer = client.get("/api/images/0/picture")
    assert answer.status_code == 422
    assert "0.png" in answer.json()["error"]
    assert [image["broken"] != "" for image in client.get("/api/set").json()["images"]] == [True] + [False] * 4
