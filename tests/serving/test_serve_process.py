"""``trigpoint serve`` as a process: bad options, a body that never ends, crashes of a decoder, and its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from served_models import png, write_model
from typer.testing import CliRunner

from trigpoint.cli import app
from trigpoint.errors import DataError
from trigpoint.serving.decoding import Decoders
from trigpoint.serving.limits import Limits

SECONDS = 2.5


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "points.onnx")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def serving(model: Path, port: int, folder: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "trigpoint", "serve", str(model), "--port", str(port), "--seconds", str(SECONDS)]
    err = (folder / "err").open("w")
    process = subprocess.Popen(command, stderr=err, stdout=err, text=True, cwd=folder)
    try:
        end = time.monotonic() + 120
        while time.monotonic() < end and process.poll() is None:
            with contextlib.suppress(OSError), urlopen(f"http://127.0.0.1:{port}/ready", timeout=5):
                break
            time.sleep(0.1)
        yield process
    finally:
        process.kill()
        process.wait(30)
        err.close()


def raw(port: int, data: bytes) -> bytes:
    """What is answered until the connection ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as one:
        one.sendall(data)
        return b"".join(iter(lambda: one.recv(1 << 16), b""))


def refused_soon(port: int) -> None:
    """No new connection is taken, some moments after the signal."""
    until = time.monotonic() + SECONDS / 2
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.05)
    raise AssertionError("a connection was still taken")


def test_one_process_from_begin_to_end(model: Path, tmp_path: Path) -> None:
    port = free_port()
    head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {len(png())}\r\n".encode()
    with serving(model, port, tmp_path) as process:
        address = f"http://127.0.0.1:{port}/predict"
        answer = json.load(urlopen(Request(address, png(9), {"content-type": "image/png"}), timeout=30))
        assert answer["images"][0]["instances"][0][0]["x"] == 9
        assert answer["model"]["name"] == "points"
        with pytest.raises(HTTPError, match="422"):
            urlopen(Request(address, b"bad"), timeout=30)
        with contextlib.ExitStack() as many:
            long = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {32 << 20}\r\n\r\n".encode()
            for _ in range(8):  # all the bytes that there may be at a time, as they say
                many.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60)).sendall(long)
            time.sleep(0.3)
            with pytest.raises(HTTPError, match="429"):  # read by a client that sends its whole body first
                urlopen(Request(address, bytes(24 << 20)), timeout=30)
        began = time.monotonic()
        assert b" 408 " in raw(port, head + b"\r\n" + png()[:30])  # the rest never comes
        assert raw(port, b"POST /predict HTTP/1.1\r\nHost: x") == b""  # a head that never ends
        assert time.monotonic() - began < 4 * SECONDS + 20
        kept: list[bytes] = []
        with socket.create_connection(("127.0.0.1", port), timeout=60) as accepted:
            accepted.sendall(head + b"\r\n" + png()[:30])
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            refused_soon(port)
            accepted.sendall(png()[30:])  # what was accepted is finished
            kept.append(accepted.recv(1 << 16))
        assert b" 200 " in kept[0]
        assert process.wait(60) == 143
    told = (tmp_path / "err").read_text()
    assert "ready  http://127.0.0.1" in told
    assert "Traceback" not in told
    assert sorted(file.name for file in tmp_path.iterdir()) == ["err"]  # nothing is kept


def test_bad_options_are_refused(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(*options: str) -> str:
        result = CliRunner().invoke(app, ["serve", *options])
        assert result.exit_code == 2
        return " ".join(result.output.split())

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert f"--port {port}, --host 127.0.0.1: expected a free port" in told(str(model), "--port", port)
    assert "--token: expected one" in told(str(model), "--host", "0.0.0.0")
    assert "no such model" in told(str(tmp_path / "no.onnx"))
    (model.parent / "folder.onnx").mkdir()  # what a container makes of a file that is not there
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(model.read_bytes()[:-9])
    assert "cut.onnx" in told(str(cut))
    assert "folder.onnx: expected a model" in told(str(model.parent / "folder.onnx"))

    def nowhere() -> str:
        raise FileNotFoundError(2, "No usable temporary directory")

    monkeypatch.setattr("tempfile.gettempdir", nowhere)  # a container without /tmp
    assert "expected a folder for the sockets of the decoders, got none; mount one" in told(str(model))


def test_an_image_that_hangs_or_crashes_a_library_ends_its_decoder_only() -> None:
    """The decoder is killed by the test, as a crash would, or stopped, as if it hung."""
    decoders = Decoders(1, Limits(seconds=2.0))
    decoders.start()
    (decoder,) = decoders._all
    try:
        until = time.monotonic() + 60
        assert decoders._read(png(), until).width == 12
        for number, words in ((signal.SIGKILL, "crashes its library"), (signal.SIGSTOP, "takes longer")):
            os.kill(decoder._process.pid, signal.SIGSTOP)
            if number == signal.SIGKILL:
                threading.Timer(0.3, os.kill, (decoder._process.pid, number)).start()
            with pytest.raises(DataError, match=words):
                decoders._read(png(), time.monotonic() + 60)
            assert decoders._read(png(3), time.monotonic() + 60).pixels.max() == 3
        os.kill(decoder._process.pid, signal.SIGKILL)  # while it waits: the next image knows nothing of it
        decoder._process.join()
        assert decoders._read(png(), time.monotonic() + 60).width == 12
        os.kill(decoder._process.pid, signal.SIGSTOP)
        with pytest.raises(TimeoutError):  # of the whole request, which is not the fault of the image
            decoders._read(png(), time.monotonic() + 0.5)
    finally:
        decoders.end()


def test_images_that_wait_are_bounded_and_given_back() -> None:
    decoders = Decoders(1, Limits(pixels=120))
    decoders.start()
    try:
        held = [decoders._read(png(), time.monotonic() + 60) for _ in range(4)]
        assert decoders._held.now == decoders._held.most == 480
        with pytest.raises(TimeoutError):
            decoders._read(png(), time.monotonic() + 1)
        held.clear()
        assert decoders._held.now == 0
        assert decoders._read(png(), time.monotonic() + 60).width == 12
    finally:
        decoders.end()


def test_serving_an_exported_file_needs_no_torch(model: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from trigpoint.serving.serve import Wanted, load_service; "
        f"load_service(Wanted(Path({str(model)!r}))); print([m for m in ('torch', 'lightning') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
