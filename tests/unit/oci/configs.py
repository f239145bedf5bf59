"""A config.json as podman 4.3 writes it, shortened; each test has a copy of its own."""

from typing import Any


def config(**changes: Any) -> dict[str, Any]:
    return {
        "ociVersion": "1.0.2-dev",
        "process": {
            "terminal": False,
            "user": {"uid": 1000, "gid": 100, "additionalGids": [100, 7]},
            "args": ["sh", "-c", "exit 3"],
            "env": ["PATH=/bin", "container=podman"],
            "cwd": "/srv",
            "capabilities": {"bounding": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"]},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 512}],
            "apparmorProfile": "containers-default-0.50.1",
            "oomScoreAdj": 0,
        },
        "root": {"path": "/storage/merged", "readonly": False},
        "hostname": "web",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid"]},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m", "tmpcopyup"]},
            {"destination": "/etc/hosts", "type": "bind", "source": "/run/pod/hosts", "options": ["bind", "rprivate"]},
            {"destination": "/dev/shm", "type": "bind", "source": "/run/pod/shm", "options": ["bind", "nosuid"]},
            {"destination": "/data", "type": "bind", "source": "data", "options": ["rbind", "ro", "rslave"]},
        ],
        "annotations": {"io.podman.annotations.label": "none"},
        "linux": {
            "sysctl": {"net.ipv4.ping_group_range": "0 0"},
            "resources": {
                "devices": [{"allow": False, "access": "rwm"}],
                "memory": {"limit": 64 << 20, "swap": 128 << 20},
                "cpu": {"quota": 50000, "period": 100000, "cpus": "0-1"},
                "pids": {"limit": 2048},
            },
            "cgroupsPath": "/libpod_parent/libpod-1",
            "namespaces": [
                {"type": "pid"},
                {"type": "network", "path": "/run/netns/one"},
                {"type": "ipc"},
                {"type": "uts"},
                {"type": "mount"},
            ],
            "seccomp": {"defaultAction": "SCMP_ACT_ERRNO"},
            "maskedPaths": ["/proc/kcore"],
            "readonlyPaths": ["/proc/sys"],
        },
    } | changes


def namespaces(*kinds: str, **paths: str) -> list[dict[str, str]]:
    return [{"type": kind} for kind in kinds] + [{"type": kind, "path": path} for kind, path in paths.items()]
