"""Directories that behave like the kernel's cgroups: their files come with them and go with them."""

import os
from pathlib import Path

import pytest

_ALL = {"cgroup.procs": ""}
_V1 = {
    "memory": {
        "memory.limit_in_bytes": "9223372036854771712",
        "memory.usage_in_bytes": "0",
        "memory.failcnt": "0",
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 0",
    },
    "pids": {"pids.max": "max", "pids.current": "0"},
    "cpu": {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "-1", "cpu.shares": "1024"},
    "cpuacct": {"cpuacct.usage": "0"},
    "blkio": {},
    "cpuset": {"cpuset.cpus": "", "cpuset.mems": ""},
}
_V2 = {
    "cgroup.controllers": "cpu memory pids",
    "cgroup.subtree_control": "",
    "cgroup.type": "domain",
    "cgroup.threads": "",
    "memory.max": "max",
    "memory.current": "0",
    "memory.oom.group": "0",
    "memory.events": "oom 0\noom_kill 0",
    "memory.events.local": "oom 0\noom_kill 0",
    "pids.max": "max",
    "pids.current": "0",
    "cpu.max": "max 100000",
    "cpu.weight": "100",
}


class FakeCgroupTree:
    """A stand-in for the file systems at /sys/fs/cgroup, held to the same suite (`tests.fakes.cgroups_contract`)."""

    def __init__(self, root: Path, version: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.version = version
        self._mkdir, self._rmdir = os.mkdir, os.rmdir
        monkeypatch.setattr(os, "mkdir", self._make)
        monkeypatch.setattr(os, "rmdir", self._remove)
        if version == 1:
            for controller in _V1:
                self._make(root / controller)
            for name, value in (("cpuset.cpus", "0-1"), ("cpuset.mems", "0")):
                (root / "cpuset" / name).write_text(value)
        else:
            self._fill(root)

    def _make(self, path: Path, mode: int = 0o777, **more: int) -> None:
        self._mkdir(path, mode, **more)
        if not more and Path(path).is_relative_to(self.root):
            self._fill(Path(path))

    def _remove(self, path: Path, **more: int) -> None:
        if not more and Path(path).is_relative_to(self.root):
            if any(entry.is_dir() for entry in Path(path).iterdir()):
                raise OSError(16, "Device or resource busy", str(path))
            for entry in Path(path).iterdir():
                entry.unlink()
        self._rmdir(path, **more)

    def _fill(self, cgroup: Path) -> None:
        controller = cgroup.relative_to(self.root).parts[0] if self.version == 1 else ""
        for name, value in {**_ALL, **(_V1[controller] if controller else _V2)}.items():
            (cgroup / name).write_text(f"{value}\n")
