"""What this process holds, for watching it over weeks."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

__all__ = ["process_usage"]


def process_usage() -> dict[str, int | None]:
    """Resident memory in bytes, threads and open descriptors; None where /proc does not tell."""
    rss: int | None = None
    threads: int | None = threading.active_count()
    files: int | None = None
    with contextlib.suppress(OSError):
        rss = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        threads = sum(1 for _ in Path("/proc/self/task").iterdir())  # those of native libraries too
        files = sum(1 for _ in Path("/proc/self/fd").iterdir())
    return {"rss_bytes": rss, "threads": threads, "open_files": files}
