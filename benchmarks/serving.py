"""What ``trigpoint serve`` costs: requests a second beside the bare predictor, and many good and bad requests.

``python -m benchmarks.serving MODEL IMAGE [--requests N] [--mixed N]`` starts the service on this machine and loads it
over as many connections as are said. All of it, the load included, shares the cores that the process may use, and the
bare predictor has as many threads as the service. The client is a socket and little more, for one that computes much
would be measured instead. Seconds of the processor are stated beside those of the clock, which mean little where others
use the machine: their ratio is that of images a second on cores of one's own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import urlopen

import numpy as np

from trigpoint.data.pixels.images import read_image
from trigpoint.prediction import load_predictor
from trigpoint.prediction.exported import threads

PORT = 18766
_WAIT = 300.0  # seconds for a service to begin


def bare(model: Path, image: Path, count: int, decode: bool) -> tuple[float, float]:
    """Seconds of the clock and of the processor for an image that the predictor alone takes; see ``decode``.

    ``decode``: it reads the file each time.
    """
    predictor = load_predictor(model)
    known = read_image(image)
    predictor.predict(known)

    def once(_: int) -> None:
        predictor.predict(read_image(image) if decode else known)

    with ThreadPoolExecutor(threads() if predictor.concurrent else 1) as pool:
        began, used = time.perf_counter(), time.process_time()
        list(pool.map(once, range(count)))
        return (time.perf_counter() - began) / count, (time.process_time() - used) / count


@contextlib.contextmanager
def served(model: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """The service in a process of its own, ended by SIGTERM."""
    command = [sys.executable, "-m", "trigpoint", "serve", str(model), "--port", str(PORT), *options]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        end = time.monotonic() + _WAIT
        while True:
            with contextlib.suppress(OSError), urlopen(f"http://127.0.0.1:{PORT}/ready", timeout=5):
                break
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("the service did not begin")
            time.sleep(0.2)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def request(body: bytes, kind: str = "image/png", path: str = "/predict", more: str = "") -> bytes:
    """A request as it goes over the wire."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}{more}\r\n".encode() + body


async def load(requests: Sequence[bytes], connections: int) -> tuple[Counter[int], list[float], float]:
    """Send all requests; given are how many had which status, the seconds of each, and those of all."""
    left, statuses, seconds = iter(requests), Counter[int](), list[float]()

    async def work() -> None:
        reader = writer = None
        for data in left:
            began = time.perf_counter()
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
            assert reader is not None
            status, stays = 0, False
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                writer.write(data)
                await writer.drain()
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                status = int(head.split(b" ", 2)[1])
                length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
                await reader.readexactly(length)
                stays = b"connection: close" not in head
            statuses[status] += 1
            seconds.append(time.perf_counter() - began)
            if not stays:
                writer.close()
                writer = None
        if writer is not None:
            writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(connections)))
    return statuses, seconds, time.perf_counter() - began


def mixed(good: bytes, count: int) -> list[bytes]:
    """Requests of which half are good, in a fixed order."""
    form = b'--b\r\nContent-Disposition: form-data; name="a"; filename="%d.png"\r\n\r\n'
    many = b"".join(form % i + good + b"\r\n" for i in range(2)) + b"--b--\r\n"
    kinds = [
        request(b"no image at all"),
        request(good[: len(good) // 2]),
        request(b""),
        request(good, path="/predict?threshold=nan"),
        request(good, path="/elsewhere"),
        request(many, "multipart/form-data; boundary=b"),
        request(many[:-20], "multipart/form-data; boundary=b"),
        request(good, more="Origin: https://elsewhere.example\r\n"),
    ]
    chosen = np.random.default_rng(0).integers(0, 2 * len(kinds), count)
    return [kinds[k] if k < len(kinds) else request(good) for k in chosen]


def used(process: subprocess.Popen[bytes]) -> float:
    """Seconds of the processor that the service and its decoders have used."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            numbers = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            total += (int(numbers[11]) + int(numbers[12])) * (int(numbers[3]) == process.pid)  # of this session
    return total / os.sysconf("SC_CLK_TCK")


def memory(process: subprocess.Popen[bytes]) -> float:
    """MB that a process holds."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--mixed", type=int, default=0)
    parser.add_argument("--connections", type=int, default=8)
    given = parser.parse_args()
    good = request(given.image.read_bytes())
    with served(given.model) as process:
        asyncio.run(load([good] * 20, given.connections))
        for _ in range(3):  # in turns, as others may use this machine
            alone = [bare(given.model, given.image, given.requests, decode) for decode in (False, True)]
            before = used(process)
            statuses, seconds, took = asyncio.run(load([good] * given.requests, given.connections))
            assert set(statuses) == {200}, statuses
            served_ = took / given.requests, (used(process) - before) / given.requests
            for name, clock in (("clock", 0), ("processor", 1)):
                session, whole, ours = (1000 * one[clock] for one in (*alone, served_))
                print(f"{name}, ms an image: predictor {session:.1f}, with decoding {whole:.1f}, ", end="")
                print(f"served {ours:.1f}; ratios {session / ours:.0%}, {whole / ours:.0%}")
            p50, p99 = (1000 * np.quantile(seconds, q) for q in (0.5, 0.99))
            print(f"{given.connections} connections: p50 {p50:.0f} ms, p99 {p99:.0f} ms", flush=True)
        if given.mixed:
            part = max(1, given.mixed // 5)
            print(f"memory before: {memory(process):.0f} MB")
            every = mixed(given.image.read_bytes(), given.mixed)
            for start in range(0, given.mixed, part):
                statuses, seconds, took = asyncio.run(load(every[start : start + part], given.connections))
                rest = f"{memory(process):.0f} MB, p99 {1000 * np.quantile(seconds, 0.99):.0f} ms, {took:.0f} s"
                print(f"{start + part} requests: {dict(sorted(statuses.items()))}, {rest}", flush=True)
    print(f"ended with {process.returncode}")


if __name__ == "__main__":
    main()
