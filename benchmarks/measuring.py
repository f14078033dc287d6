"""CPU time and memory of a group of processes, as Linux counts them."""

import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TICKS = os.sysconf("SC_CLK_TCK")
"""CPU time is counted in ticks, usually 10 ms."""


class Usage(NamedTuple):
    """CPU seconds (user and system, all threads) and bytes of memory, now and at most."""

    cpu_seconds: float
    resident_bytes: int
    peak_bytes: int


def usage(group: int) -> Usage:
    """Add up the processes of a group, and the children that they have waited for."""
    cpu, resident, peak = 0.0, 0, 0
    for pid, fields in _processes(group):
        cpu += sum(int(ticks) for ticks in fields[11:15]) / TICKS
        memory = _memory(pid)
        resident += memory.get("VmRSS", 0)
        peak += memory.get("VmHWM", 0)
    return Usage(cpu, resident, peak)


def _processes(group: int) -> Iterator[tuple[int, list[str]]]:
    """Find the members of a process group; the fields of proc(5) `stat` from `state` on."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended since
            if int(fields[2]) == group:
                yield int(entry.name), fields


def _memory(pid: int) -> dict[str, int]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    sizes = (line.partition(":") for line in lines if line.endswith(" kB"))
    return {name: int(value.split()[0]) * 1024 for name, _, value in sizes}


def machine() -> dict[str, str]:
    """Describe the machine, for readers of the figures."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
