"""The resources that tests must not leave behind: everything that a pod may acquire, as a set of names."""

import os
import subprocess
from pathlib import Path

PROGRAMS = (
    "qemu-system",
    "virtiofsd",
    "vhost-device-vs",
    "libvirtd",
    "virtlogd",
    "docker-registry",
    "registry",
    "containerd",
)
"""Beginnings of the names (comm, 15 characters) of what tests start."""


def resources() -> frozenset[str]:
    """Processes, links, namespaces, cgroups, mounts, loop devices, leases, CIDs, users and rules that there are now."""
    found = [*_processes(), *_links(), *_namespaces(), *_cgroups(), *_mounts(), *_loops(), *_files(), *_rules()]
    return frozenset(found)


def _processes() -> list[str]:
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdecimal():
            try:
                name = (directory / "comm").read_text().strip()
                state = (directory / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if name.startswith(PROGRAMS) and state != "Z":
                found.append(f"process {directory.name} {name}")
    return found


def _links() -> list[str]:
    """But for bridges, which the bridge plugin leaves as on every host with CNI."""
    names = (path for path in Path("/sys/class/net").iterdir() if not (path / "bridge").exists())
    return [f"link {path.name}" for path in names]


def _namespaces() -> list[str]:
    directory = Path("/run/netns")
    return [f"network namespace {path.name}" for path in directory.iterdir()] if directory.exists() else []


def _cgroups() -> list[str]:
    """Return the cgroups of machines."""
    root = Path("/sys/fs/cgroup")
    patterns = ("vmsandbox/*", "*/vmsandbox/*", "**/vmsandbox-*")
    found = (path for pattern in patterns for path in root.glob(pattern))
    return [f"cgroup {path}" for path in found if path.is_dir()]


def _mounts() -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [f"mount {line.split()[4]}" for line in lines if line.split()[4] not in ("/run/netns",)]


def _loops() -> list[str]:
    return [f"loop {path.parent.parent.name}" for path in Path("/sys/block").glob("loop*/loop/backing_file")]


def _files() -> list[str]:
    """Leases, records of attachments, CIDs, users, and the files of sandboxes, where they are by default."""
    places = {
        "/var/lib/vmsandbox/network": "*/**/*",
        "/var/lib/vmsandbox/run": "*/sandboxes/*",
        "/var/lib/vmsandbox/serve": "sandboxes/*",
        "/run/vmsandbox": "**/sandboxes/*",
        "/run/vmsandbox/cids": "[0-9]*",
        "/run/vmsandbox/users": "[0-9]*",
    }
    kept = ("lock", "last_reserved_ip")
    paths = (path for place, pattern in places.items() for path in Path(place).glob(pattern) if not path.is_dir())
    return [f"file {path}" for path in paths if not path.name.startswith(kept)]


def _rules() -> list[str]:
    """Masquerade chains of pods; the chains of host ports stay, empty."""
    if os.geteuid() != 0:
        return []
    listed = subprocess.run(["iptables-save", "-t", "nat"], capture_output=True, text=True, check=False).stdout
    return [f"rule {line}" for line in listed.splitlines() if line.startswith(":CNI-") and "HOSTPORT" not in line]
