"""Errors a user can act on: every message says what was expected, what came, and the fix.

The command line prints them without a traceback and exits with code 2.
"""

import difflib
import errno
from collections.abc import Iterable

REFUSED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
"""What the system answers where it takes no more of a file, or none."""
_COMPARED = 500  # words of which the nearest is looked for; among more, it takes long and nobody reads the list


class TrigpointError(Exception):
    """Root of every error this package raises for bad input."""


class DataError(TrigpointError):
    """A dataset, table, image or annotation file that cannot be used as it is."""


class ConfigError(TrigpointError):
    """A recipe, option or combination of options that cannot work."""


class RunError(TrigpointError):
    """A run folder that is missing, foreign, incomplete or damaged."""


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Name the nearest valid word, or list the valid ones.

    >>> did_you_mean("adalos", ["adaloss", "fixed"])
    "did you mean 'adaloss'? valid: adaloss, fixed"
    """
    options = [str(choice) for choice in choices]
    near = difflib.get_close_matches(word, options[:_COMPARED], n=1, cutoff=0.5)
    more = f" and {len(options) - _COMPARED} more" if len(options) > _COMPARED else ""
    valid = "valid: " + (", ".join(options[:_COMPARED]) + more if options else "none")
    return f"did you mean '{near[0]}'? {valid}" if near else valid
