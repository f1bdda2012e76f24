"""Where ``data.quality.checks`` was before; scripts that import from here keep working."""

from trigpoint.data.quality.checks import CheckReport, check_dataset

__all__ = ["CheckReport", "check_dataset"]
