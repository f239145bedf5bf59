"""A container that does nothing, made and removed while nobody waits for one: the next one is made sooner.

Its pages of crun are read from the disk and unpacked then, and the kernel has been through what crun asks of it. An
emulator has translated all of that, too. What it leaves is cache: no file, no mount, no cgroup and no secret.
"""

import asyncio
import time
from pathlib import Path

from vmsandbox.protocol import paths
from vmsandbox.protocol.codec import JSON
from vmsandbox_agent import console
from vmsandbox_agent.containers.bundle import Bundle
from vmsandbox_agent.containers.crun import Crun
from vmsandbox_agent.errors import AgentError
from vmsandbox_agent.reaper import Reaper
from vmsandbox_agent.settings import Settings

_ID = "nothing"
_DEADLINE = 60.0
_ROOT = Path("/")
"""The guest's own root is the image."""


def boots_for_nobody(command_line: Path = Path("/proc/cmdline")) -> bool:
    """Whether the machine is to become a template, or to wait for its pod."""
    return paths.UNCLAIMED in command_line.read_text().split()


def warm_up_at_boot(settings: Settings) -> None:
    """Do it before there is a loop of the agent's."""

    async def run() -> None:
        reaper = Reaper()
        reaper.attach()
        await warm_up(settings, reaper, Crun(settings, reaper))

    asyncio.run(run())


async def warm_up(settings: Settings, reaper: Reaper, crun: Crun) -> None:
    """Make the container, and remove it. A failure is logged: it costs nothing but time."""
    begin, bundle = time.monotonic(), Bundle.of(settings, _ID)
    try:
        async with asyncio.timeout(_DEADLINE):
            try:
                bundle.mount_root(_ROOT)
                bundle.write("config.json", specification())
                with reaper.adopting():
                    await crun.create(_ID, bundle.directory, None, None)
            finally:
                await crun.delete(_ID)
                bundle.remove()
    except (AgentError, OSError, TimeoutError) as error:
        console.error(f"the first container will take longer: {error}")
    else:
        console.info(f"warmed up in {time.monotonic() - begin:.2f} s")


def specification() -> JSON:
    """Return the OCI runtime-spec of the container: what most containers have, so that crun does the same for it."""
    capabilities = ["CAP_CHOWN", "CAP_KILL", "CAP_SETGID", "CAP_SETUID"]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["busybox", "true"],
            "env": ["PATH=/usr/bin:/bin"],
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
            "noNewPrivileges": True,
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024}],
        },
        "root": {"path": "rootfs"},
        "mounts": [
            _mount("/proc", "proc"),
            _mount("/dev", "tmpfs", "nosuid", "mode=755"),
            _mount("/dev/pts", "devpts", "newinstance", "ptmxmode=0666"),
            _mount("/dev/mqueue", "mqueue", "nosuid"),
            _mount("/sys", "sysfs", "ro"),
            _mount("/sys/fs/cgroup", "cgroup", "ro"),
        ],
        "linux": {
            "cgroupsPath": f"/{_ID}",
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "mount", "cgroup")],
            "resources": {"devices": [{"allow": False, "access": "rwm"}], "memory": {"limit": 1 << 30}},
            "maskedPaths": ["/proc/kcore"],
            "readonlyPaths": ["/proc/sys"],
            "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["reboot", "swapon"], "action": "SCMP_ACT_ERRNO"}],
            },
        },
    }


def _mount(destination: str, kind: str, *options: str) -> JSON:
    return {"destination": destination, "type": kind, "source": kind, "options": list(options)}
