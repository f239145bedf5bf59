"""Print facts about a host as JSON. Nothing is started and nothing is changed.

| key | value |
|---|---|
| kernel, architecture, system | `uname -r`, `uname -m`, the distribution's own name |
| cpus, load | how many, and the load average of the last minute |
| memory, available | bytes |
| cgroup | 1 or 2: the hierarchy at /sys/fs/cgroup |
| kvm | /dev/kvm is there |
| nesting | machines of this host can have KVM: `yes` or `no`; `unknown` without a KVM module |
| virtual | this host is a machine itself |
| vsock | the kernel's vhost_vsock is there |
"""

import json
import os
import platform
from pathlib import Path

_PARAMETERS = ("sys/module/kvm_intel/parameters/nested", "sys/module/kvm_amd/parameters/nested")


def facts(root: Path) -> dict[str, object]:
    """Collect facts below a root directory, which is `/` except in tests."""
    memory = _memory(_read(root / "proc/meminfo"))
    return {
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "system": _system(_read(root / "etc/os-release")),
        "cpus": os.cpu_count() or 1,
        "load": float((_read(root / "proc/loadavg") or "0").split()[0]),
        "memory": memory.get("MemTotal", 0),
        "available": memory.get("MemAvailable", 0),
        "cgroup": 2 if (root / "sys/fs/cgroup/cgroup.controllers").exists() else 1,
        "kvm": (root / "dev/kvm").exists(),
        "nesting": _nesting([_read(root / path).strip() for path in _PARAMETERS]),
        "virtual": " hypervisor" in _read(root / "proc/cpuinfo"),
        "vsock": (root / "dev/vhost-vsock").exists(),
    }


def _nesting(parameters: list[str]) -> str:
    told = [value for value in parameters if value]
    if not told:
        return "unknown"
    return "yes" if any(value in ("Y", "1") for value in told) else "no"


def _memory(text: str) -> dict[str, int]:
    """Bytes; the file counts in KiB."""
    pairs = (line.split(":") for line in text.splitlines() if line.endswith("kB"))
    return {name: int(value.split()[0]) * 1024 for name, value in pairs}


def _system(text: str) -> str:
    for line in text.splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return "unknown"


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


if __name__ == "__main__":
    print(json.dumps(facts(Path("/"))))
