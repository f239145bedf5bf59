"""Runs the agent's real code on the test host: sockets in a directory, state on a tmpfs of its own mount namespace,
PID 1 of its own PID namespace.

    unshare --mount --pid --fork --mount-proc python3 -m tests.guest.agent_on_host DIRECTORY ROOTFS [FIRST_UID [SECRET]]

The image `image` is ROOTFS; with FIRST_UID the pod has a user namespace; SECRET is the machine's, in hexadecimal
digits. The host has cgroup v1 and few rights, hence no cgroup manager.
"""

import asyncio
import os
import socket
import sys
import time
from pathlib import Path

from vmsandbox.protocol.messages import ConfigureGuest, UserNamespaceMapping
from vmsandbox_agent.control import requests
from vmsandbox_agent.control.requests import GuestRequests
from vmsandbox_agent.control.server import Server
from vmsandbox_agent.reaper import Reaper
from vmsandbox_agent.settings import Settings
from vmsandbox_agent.setup.clock import KernelClock
from vmsandbox_agent.setup.mounts import make_directories
from vmsandbox_agent.syscalls import mount

MS_BIND = 4096


class FakeClock(KernelClock):
    """An hour behind the host's, which nobody sets here. What is to be slewed it takes the fifth part of at once."""

    def __init__(self) -> None:
        self.behind = 3600 * 10**9

    def read(self) -> int:
        return time.time_ns() - self.behind

    def adjust(self, nanoseconds: int, *, step: bool) -> None:
        self.behind -= nanoseconds if step else nanoseconds // 5


def main(directory: Path, rootfs: Path, first_uid: int = 0, secret: str = "") -> None:
    state = directory / "state"
    state.mkdir()
    mount("tmpfs", str(state), "tmpfs")
    settings = Settings(
        state=state,
        processors=_processors(directory / "cpus"),
        cgroups=directory / "no-cgroups",
        crun=("crun", "--cgroup-manager=disabled"),
        build="test-build",
        emulated=True,
        secret=bytes.fromhex(secret),
    )
    make_directories(settings)
    (settings.images / "image").mkdir()
    mount(str(rootfs), str(settings.images / "image"), "", MS_BIND)
    mount("cgroup2", "/sys/fs/cgroup", "cgroup2")  # crun refuses a mixture of v1 and v2.
    asyncio.run(_serve(settings, directory, first_uid))


def _processors(directory: Path) -> Path:
    """A directory as the kernel's, of two CPUs of which one is in use: those of the host stay as they are."""
    for name in ("cpu0", "cpu1", "cpufreq"):
        (directory / name).mkdir(parents=True)
    (directory / "cpu1/online").write_text("0\n")
    (directory / "online").write_text("0\n")
    return directory


async def _serve(settings: Settings, directory: Path, first_uid: int) -> None:
    def listen(port: int) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(str(directory / f"{port}.sock"))
        sock.listen(64)
        if port == 1025:
            os.write(1, b"ready\n")
        return sock

    requests.configure_guest = _leave_the_host_alone
    reaper = Reaper()
    reaper.attach()
    guest = GuestRequests(settings, reaper, power_off=lambda: os._exit(0), clock=FakeClock())
    if first_uid:
        guest.pod.users = UserNamespaceMapping(first_uid, 65536, first_uid, 65536)
    await Server(guest, time.clock_gettime(time.CLOCK_BOOTTIME)).run(listen)


async def _leave_the_host_alone(_: Settings, __: ConfigureGuest) -> None:
    """Do not give a host the name, the clock and the network of a pod."""


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:4]), *sys.argv[4:5])
