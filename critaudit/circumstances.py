"""Under which circumstances numbers came about: versions, memory, time. Loads nothing."""

from __future__ import annotations

import platform
import resource
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata


def circumstances(packages: Sequence[str]) -> tuple[dict[str, str], int, str]:
    """Versions of Python and of the installed ones of `packages`, the process's peak memory in bytes, and the time."""
    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    peak_memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return versions, peak_memory, datetime.now(UTC).isoformat(timespec="seconds")
