"""The plain installation stays small."""

from __future__ import annotations

from benchmarks.install import LARGEST, brought, sizes

from trigpoint.errors import EXTRAS


def test_the_plain_installation_stays_small() -> None:
    found = brought()
    assert {"onnxruntime", "numpy", "protobuf", "typing-extensions"} <= found.keys()
    assert not found.keys() & {name for packages in EXTRAS.values() for name in packages}
    own = {name: size for name, (size, _) in sizes().items()}
    assert own["numpy"] > 10
    assert sum(own.values()) <= LARGEST, own
