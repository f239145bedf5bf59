"""A container that does nothing, made and removed while nobody waits for one: the next one is made sooner.

Its pages of crun are read from the disk and unpacked then, and the kernel has been through what crun asks of it. An
emulator has translated all of that, too. What it leaves is cache: no file, no mount, no cgroup, no process, no secret.
"""

import asyncio
import time
from dataclasses import replace
from pathlib import Path

from vmsandbox.protocol import paths
from vmsandbox.protocol.codec import JSON
from vmsandbox.protocol.messages import POD_NAMESPACE, CreateContainer, Exec
from vmsandbox_agent import console
from vmsandbox_agent.containers.container import CrunContainer
from vmsandbox_agent.containers.context import AgentContext
from vmsandbox_agent.containers.crun import Crun
from vmsandbox_agent.errors import AgentError
from vmsandbox_agent.events import EventLog
from vmsandbox_agent.measures import Counter
from vmsandbox_agent.reaper import Reaper
from vmsandbox_agent.settings import Settings
from vmsandbox_agent.setup import PodNamespaces

_ID = "nothing"
_DEADLINE = 60.0
_CAPABILITIES = ["CAP_CHOWN", "CAP_KILL", "CAP_SETGID", "CAP_SETUID"]
_PROCESS: dict[str, JSON] = {
    "user": {"uid": 0, "gid": 0},
    "env": ["PATH=/usr/bin:/bin"],
    "cwd": "/",
    "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), _CAPABILITIES),
    "noNewPrivileges": True,
    "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024}],
}


def boots_for_nobody(command_line: Path = Path("/proc/cmdline")) -> bool:
    """Whether the machine is to become a template, or to wait for its pod."""
    return paths.UNCLAIMED in command_line.read_text().split()


def warm_up_at_boot(settings: Settings) -> None:
    """Do it before there is a loop of the agent's."""

    async def run() -> None:
        reaper = Reaper()
        reaper.attach()
        crun, pod = Crun(settings, reaper), PodNamespaces(settings, reaper)
        await warm_up(AgentContext(settings, reaper, crun, EventLog(), pod, Counter(reaper)))

    asyncio.run(run())


async def warm_up(context: AgentContext) -> None:
    """Make the container, run a command in it, and remove it. A failure is logged: it costs nothing but time."""
    begin = time.monotonic()
    try:
        async with asyncio.timeout(_DEADLINE):
            await _run_container(context)
    except (AgentError, OSError, TimeoutError) as error:
        console.error(f"the first container will take longer: {error}")
    else:
        console.info(f"warmed up in {time.monotonic() - begin:.2f} s")


async def _run_container(context: AgentContext) -> None:
    """Make, run and remove the container, with the guest's own root as its image, of which the host gets no event."""
    pod, events, ended = PodNamespaces(context.settings, context.reaper), EventLog(), asyncio.Event()
    events.listen(ended.set)
    container = CrunContainer(replace(context, pod=pod, events=events), _ID)
    image = context.settings.images / _ID
    image.symlink_to("/")
    try:
        await container.create(CreateContainer(_ID, _ID, specification(), pid_namespace=POD_NAMESPACE))
        try:
            container.start()
            await container.exec(Exec(_ID, _ID, {**_PROCESS, "args": ["busybox", "true"]}))
            await ended.wait()
        finally:
            await container.delete()
    finally:
        image.unlink()
        await pod.end()


def specification() -> JSON:
    """Return the OCI runtime-spec of the container: what most containers have, so that crun does the same for it."""
    return {
        "ociVersion": "1.0.2",
        "process": {**_PROCESS, "args": ["busybox", "sleep", "60"]},
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
            "namespaces": [{"type": kind} for kind in ("ipc", "mount", "cgroup")],
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
