"""Memory that training frees is not given back: the next step would have to be given it anew, page by page."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import resource, sys, torch
from trigpoint.training.optimizers import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit(3)
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.zeros(2**24)
before = faults()
for _ in range(8):
    torch.zeros(2**24)
print(faults() - before)
"""


def faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", CODE, how], capture_output=True, text=True, timeout=600)
    if done.returncode == 3:
        pytest.skip("this C library has no such option")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="counts page faults as Linux does")
@pytest.mark.soak
def test_what_is_freed_is_used_again() -> None:
    assert faults("plain") > 4 * faults("keep")
