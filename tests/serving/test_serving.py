"""Answers of the service: what is found, what is refused, and that every limit holds."""

from __future__ import annotations

import io
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pydicom
import pytest
import tifffile
from fastapi.testclient import TestClient
from pydicom.dataset import FileDataset, FileMetaDataset
from served_models import NAMES, Told, png, service, write_model

from trigpoint.prediction import load_predictor
from trigpoint.serving import gate
from trigpoint.serving.answers import identity
from trigpoint.serving.api import Service
from trigpoint.serving.decoding import Decoders
from trigpoint.serving.limits import Limits
from trigpoint.serving.listening import bound, moved

LIMITS = Limits(bytes=1 << 20, pixels=5000, seconds=60.0, queue=4)


@pytest.fixture(scope="module")
def told() -> Told:
    return Told()


@pytest.fixture(scope="module")
def made(told: Told) -> Service:
    return service(told, LIMITS)


@pytest.fixture(scope="module")
def client(made: Service) -> Iterator[TestClient]:
    with TestClient(made.app) as client:
        yield client


def dicom() -> bytes:
    about = FileMetaDataset()
    about.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    about.MediaStorageSOPClassUID = pydicom.uid.DigitalXRayImageStorageForPresentation
    about.MediaStorageSOPInstanceUID = "1.2.3"
    made = FileDataset("", {}, file_meta=about, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID = about.MediaStorageSOPClassUID, "1.2.3"
    made.PatientName = "Somebody^Known"
    made.Rows, made.Columns, made.SamplesPerPixel, made.PhotometricInterpretation = 10, 12, 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 12, 11, 0
    made.PixelSpacing = [0.2, 0.1]
    made.PixelData = np.full((10, 12), 7, np.uint16).tobytes()
    stream = io.BytesIO()
    made.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def jpeg() -> bytes:
    stream = io.BytesIO()
    PIL.Image.new("L", (12, 10), 7).save(stream, "JPEG", quality=100)
    return stream.getvalue()


def tiff(pages: int = 1) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.full((pages, 10, 12)[pages == 1 :], 7, np.uint16), photometric="minisblack")
    return stream.getvalue()


@pytest.mark.parametrize("data", [png(), jpeg(), tiff(), dicom()], ids=["png", "jpeg", "tiff", "dicom"])
def test_one_image_of_each_kind(client: TestClient, data: bytes) -> None:
    answer = client.post("/predict", content=data, headers={"content-type": "application/octet-stream"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["model"]["sha256"] == "0" * 64
    (image,) = answer.json()["images"]
    assert (image["width"], image["height"]) == (12, 10)
    assert image["spacing_mm"] == ([0.1, 0.2] if data == dicom() else None)
    assert image["instances"] == [
        [
            {"name": "tip", "x": 7.0, "y": 1.0, "score": 0.75, "radius": 2.0, "spread": None},
            {"name": "root", "x": 3.0, "y": 4.0, "score": 0.75, "radius": None, "spread": None},
        ]
    ]
    assert "Somebody" not in answer.text


def test_a_large_image_is_the_same_image() -> None:
    noise = np.random.default_rng(0).integers(0, 65535, (300, 200, 3)).astype(np.uint16)
    stream = io.BytesIO()
    tifffile.imwrite(stream, noise, photometric="rgb")
    decoders = Decoders(1, Limits())
    decoders.start()
    try:
        image = decoders._read(stream.getvalue(), time.monotonic() + 60)
    finally:
        decoders.end()
    np.testing.assert_array_equal(image.pixels, noise.transpose(2, 0, 1))
    assert image.pixels.flags.writeable  # as an image that was read from a disk


def test_many_images_come_back_in_order(client: TestClient) -> None:
    files = [("images", (f"{i}.png", png(i))) for i in range(4)]
    images = client.post("/predict", files=files).json()["images"]
    assert [(one["image"], one["instances"][0][0]["x"]) for one in images] == [(f"{i}.png", i) for i in range(4)]


def bomb() -> bytes:
    """A PNG that says it is 50000 x 50000."""
    head = b"IHDR" + (50000).to_bytes(4, "big") * 2 + b"\x08\0\0\0\0"
    chunks = [head, b"IDAT" + zlib.compress(b"\0" * 100), b"IEND"]
    whole = [(len(c) - 4).to_bytes(4, "big") + c + zlib.crc32(c).to_bytes(4, "big") for c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(whole)


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (b"", 400, "got none"),
        (b"no image", 422, "image: expected an image"),
        (png()[:60], 422, "image: expected"),
        (png(size=(100, 51)), 422, "at most 5000 pixels, got 100 x 51"),
        (bomb(), 422, "pixels, got 50000 x 50000"),
        (tiff(3), 422, "a file of 3 frames"),
        (b"x" * (LIMITS.bytes + 1), 413, "at most 1048576 bytes"),
    ],
)
def test_bad_images_are_told_apart(client: TestClient, data: bytes, status: int, words: str) -> None:
    answer = client.post("/predict", content=data)
    assert (answer.status_code, words in answer.json()["error"]) == (status, True), answer.text
    assert "/proc/" not in answer.text
    assert client.post("/predict", content=png()).status_code == 200


def test_bad_forms_are_refused(client: TestClient) -> None:
    whole = client.build_request("POST", "/predict", files={"a": ("a.png", png())})
    kind, body = whole.headers["content-type"], whole.read()

    def status(content: bytes, kind: str = kind) -> int:
        return client.post("/predict", content=content, headers={"content-type": kind}).status_code

    assert status(body) == 200
    bad = [body[:-10], body[: len(body) // 2], b"", b"--", b"x" + body, body.replace(b'name="a"; ', b"")]
    assert [status(content) for content in bad] == [400] * len(bad)
    kinds = ["multipart/form-data", "multipart/form-data; boundary=", f"multipart/form-data; boundary={'b' * 400}"]
    assert [status(body, kind) for kind in kinds] == [400] * len(kinds)
    assert client.post("/predict", files={"a": (None, "words")}).status_code == 400
    many = client.post("/predict", files=[("a", ("a.png", png()))] * 5)
    assert (many.status_code, "at most 4 images" in many.text) == (413, True)
    one_bad = client.post("/predict", files=[("a", ("good.png", png())), ("a", ("bad.png", b"bad"))])
    assert (one_bad.status_code, one_bad.json()["error"][:8]) == (422, "bad.png:")


def test_a_body_that_states_no_length_is_bounded(client: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * (1 << 16)

    answer = client.post("/predict", content=endless())
    assert (answer.status_code, answer.json()["error"]) == (413, "expected at most 1048576 bytes, got more")


def test_parameters_and_addresses_are_checked(client: TestClient) -> None:
    refused = client.post("/predict?threshold=0.5", content=png())
    assert (refused.status_code, "threshold" in refused.text) == (422, True)
    for wrong, words in (("nan", "a finite number"), ("inf", "a finite number"), ("much", "a number")):
        answer = client.post(f"/predict?threshold={wrong}", content=png())
        told = f"threshold: expected {words}, got '{wrong}'; correct it, or leave it out"
        assert (answer.status_code, answer.json()) == (422, {"error": told})
    answer = client.post("/predict?thresh=0.5", content=png())
    assert (answer.status_code, answer.json()["error"][:46]) == (422, "expected the parameter threshold, got 'thresh'")
    for status, address in ((405, "/predict"), (404, "/nothing")):
        answer = client.get(address)
        assert answer.status_code == status
        assert answer.json()["error"].startswith("expected one of POST /predict, GET /")
        assert answer.json()["error"].endswith(f"got GET {address}; correct the address")
    assert client.post("/predict", content=png(), headers={"origin": "https://elsewhere.example"}).status_code == 403
    assert client.get("/model", headers={"host": "elsewhere.example"}).status_code == 403
    assert client.get("/model", headers={"host": "[::"}).status_code == 403


def test_multi_instance_models_take_a_threshold() -> None:
    with TestClient(service(Told(multi=True)).app) as client:
        assert len(client.post("/predict", content=png()).json()["images"][0]["instances"]) == 1
        assert client.post("/predict?threshold=0.9", content=png()).json()["images"][0]["instances"] == []
        assert client.get("/model").json()["threshold"] == 0.5


def test_a_token_is_asked_for() -> None:
    with TestClient(service(Told(), token="secret").app) as client:
        for header in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic secret"}):
            assert client.post("/predict", content=png(), headers=header).status_code == 401
            assert client.get("/metrics", headers=header).status_code == 401
        assert client.get("/health").status_code == client.get("/ready").status_code == 200
        key = {"authorization": "Bearer secret"}
        assert client.post("/predict", content=png(), headers=key).status_code == 200


def wait_for(what: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_what_waits_is_predicted_together_and_more_is_refused(made: Service, told: Told, client: TestClient) -> None:
    told.together.clear()
    told.go.clear()
    asked = told.asked
    with ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(client.post, "/predict", content=png(0))]
        wait_for(lambda: told.asked > asked)  # it is predicted, so that the others find the predictor busy
        waiting += [threads.submit(client.post, "/predict", content=png(i)) for i in range(1, 4)]
        wait_for(lambda: made.room.now == 4 and len(made.batcher._waiting) == 3)
        refused = client.post("/predict", content=png())
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert "trigpoint_queue_images 4.0" in client.get("/metrics").text
        told.go.set()
        answers = [one.result() for one in waiting]
    assert told.together == [1, 3]
    assert [one.json()["images"][0]["instances"][0][0]["x"] for one in answers] == [0, 1, 2, 3]
    assert made.room.now == 0


def test_bodies_together_are_bounded(told: Told) -> None:
    made = service(told, Limits(seconds=60.0, queue=64, bytes=1000))
    with TestClient(made.app) as client, ThreadPoolExecutor(16) as threads:
        told.go.clear()
        padded = png() + bytes(1000 - len(png()))
        waiting = [threads.submit(client.post, "/predict", content=padded) for _ in range(8)]
        wait_for(lambda: made.room.now == 8)
        for body in (png(), iter([png()])):  # which states no length
            refused = client.post("/predict", content=body)
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
            assert "expected at most 8000 bytes of requests at a time" in refused.json()["error"]
        told.go.set()
        assert {one.result().status_code for one in waiting} == {200}
        assert client.post("/predict", content=iter([png()])).status_code == 200


def test_large_images_are_predicted_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    monkeypatch.setattr(Told, "concurrent", True)
    made = service(told, Limits(seconds=60.0, pixels=1000), threads=3)
    with TestClient(made.app) as client, ThreadPoolExecutor(8) as threads:
        for size, together in (((40, 20), 1), ((20, 20), 2), ((10, 10), 3)):
            told.go.clear()
            asked = told.asked
            waiting = [threads.submit(client.post, "/predict", content=png(1, size)) for _ in range(4)]
            wait_for(lambda: told.asked == asked + together and made.room.now == 4)  # noqa: B023
            time.sleep(0.2)
            assert told.asked == asked + together  # the others wait
            told.go.set()
            assert {one.result().status_code for one in waiting} == {200}
        assert made.batcher._now == 0


def test_late_answers_and_slow_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Told()
    made = service(slow, Limits(seconds=3.0))
    with TestClient(made.app) as client:
        slow.go.clear()
        late = client.post("/predict", content=png())
        assert (late.status_code, late.headers["retry-after"]) == (503, "1")
        slow.go.set()
        wait_for(lambda: made.room.now == 0)
        made.app.leaving = True
        assert client.get("/ready").status_code == 503
        refused = client.post("/predict", content=png())
        assert (refused.status_code, refused.headers["connection"]) == (503, "close")
        assert client.get("/health").status_code == 200


def test_a_bug_is_no_ones_image() -> None:
    told = Told()
    with TestClient(service(told).app, raise_server_exceptions=False) as client:
        told.broken = True
        assert client.post("/predict", content=png()).status_code == 500
        told.broken = False
        assert client.post("/predict", content=png()).status_code == 200


def test_metrics_count_and_name_nothing(client: TestClient) -> None:
    client.post("/predict", files={"a": ("Known^Somebody.png", b"bad")})
    client.get("/secret-name")
    text = client.get("/metrics").text
    assert 'trigpoint_requests_total{path="/predict",status="422"}' in text
    assert 'trigpoint_requests_total{path="other",status="404"}' in text
    assert "trigpoint_request_seconds_bucket" in text
    assert "trigpoint_images_total" in text
    assert 'sha256="0000' in text
    assert "Somebody" not in text
    assert "secret-name" not in text


def test_the_schema_has_examples(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    post = schema["paths"]["/predict"]["post"]
    assert {"image/png", "application/dicom", "multipart/form-data"} <= set(post["requestBody"]["content"])
    assert {"200", "400", "401", "413", "422", "429", "503"} <= set(post["responses"])
    assert schema["components"]["schemas"]["Answer"]["examples"][0]["images"]
    assert "HTTPValidationError" not in str(schema)
    assert not post.get("parameters")  # a threshold is for multi-instance models
    with TestClient(service(Told(multi=True)).app) as other:
        several = other.get("/openapi.json").json()
    assert [one["name"] for one in several["paths"]["/predict"]["post"]["parameters"]] == ["threshold"]


def test_an_exported_file_is_served_beside_others(tmp_path: Path) -> None:
    file = write_model(tmp_path / "points.onnx")
    predictor = load_predictor(file, "cpu")
    model = identity(file, predictor, None)
    assert (model.name, model.version) == ("points", model.sha256[:12])
    made = Service(predictor, model, LIMITS, threads=2)
    with TestClient(made.app) as client, ThreadPoolExecutor(3) as threads:
        found = [*threads.map(lambda i: client.post("/predict", content=png(i)).json(), range(8))]
    assert [one["images"][0]["instances"][0][0]["x"] for one in found] == [*range(8)]
    assert {one["name"] for one in found[0]["images"][0]["instances"][0]} == set(NAMES)


def test_room_is_given_back_whatever_happens() -> None:
    room = gate.Room(2)
    with pytest.raises(KeyError), room.taken(2):
        raise KeyError
    assert room.now == 0
    with room.taken(1), pytest.raises(gate.FullError), room.taken(2):
        pass
    assert room.now == 0


def test_a_usual_port_that_is_taken_is_told() -> None:
    with bound("127.0.0.1", None, 0) as first:
        usual = first.getsockname()[1]
        with bound("127.0.0.1", None, usual) as second:
            told = moved(second, None, usual)
            assert told is not None
            assert f"port {usual} is in use" in told
        assert moved(first, None, usual) is None
        assert moved(first, 1234, usual) is None
