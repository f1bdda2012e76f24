"""The command line as on Windows, as far as this system can show it: without what only POSIX has.

Run as ``python windows_entry.py ARGUMENTS``. Libraries are imported first, as they choose by the system; what trigpoint
asks for afterwards is not there: the calls, the modules, the signals, and the name of the system is that of Windows.
"""

from __future__ import annotations

import multiprocessing.connection  # noqa: F401
import os
import shutil  # noqa: F401
import signal
import subprocess  # noqa: F401
import sys
import sysconfig
import tempfile  # noqa: F401

import numpy as np  # noqa: F401
import onnxruntime  # noqa: F401
import PIL.Image
import pydantic.types  # noqa: F401
import pydicom  # noqa: F401
import rich.console
import rich.progress  # noqa: F401
import tifffile  # noqa: F401
import typer.testing  # noqa: F401
import yaml  # noqa: F401

CALLS = (
    "chown chroot confstr copy_file_range fchown fork forkpty getegid geteuid getgid getgroups getloadavg getpgid "
    "getpgrp getpriority getsid getuid initgroups killpg lchown lockf major memfd_create minor mkfifo mknod nice "
    "openpty pathconf pipe2 posix_fadvise posix_fallocate posix_spawn pread preadv pwrite pwritev "
    "register_at_fork sched_getaffinity sched_setaffinity sched_yield sendfile setegid seteuid setgid setpgid "
    "setpriority setsid setuid statvfs sync sysconf tcgetpgrp ttyname uname wait wait3 wait4 waitid"
)
MODULES = "fcntl resource pwd grp termios tty pty syslog posix_ipc"
SIGNALS = "SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGQUIT SIGSTOP SIGUSR1 SIGUSR2 SIGPIPE alarm pause setitimer"


def main() -> None:
    """Take away, and go on as ``trigpoint`` does."""
    PIL.Image.init()
    sysconfig.get_config_vars()
    for name in CALLS.split():
        if hasattr(os, name):
            delattr(os, name)
    for name in MODULES.split():
        sys.modules[name] = None  # type: ignore[assignment]
    for name in SIGNALS.split():
        if hasattr(signal, name):
            delattr(signal, name)
    sys.platform = "win32"
    from trigpoint.cli import main as run

    run()


if __name__ == "__main__":
    main()
