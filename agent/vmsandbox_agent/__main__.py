"""PID 1 of the guest."""

import time

STARTED = time.clock_gettime(time.CLOCK_BOOTTIME)
"""Uptime in seconds, taken before the imports below, which are most of the agent's start."""

import gc  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402

if os.getpid() == 1:
    gc.disable()  # Imports make no garbage worth looking for.
    sys.modules["ssl"] = None  # type: ignore[assignment]
    # asyncio does without it, and importing it is a tenth of the agent's start.

import asyncio  # noqa: E402
import signal  # noqa: E402
import traceback  # noqa: E402
from pathlib import Path  # noqa: E402

from vmsandbox_agent import console  # noqa: E402
from vmsandbox_agent.control import GuestRequests, Server  # noqa: E402
from vmsandbox_agent.reaper import Reaper  # noqa: E402
from vmsandbox_agent.settings import Settings, build_id  # noqa: E402
from vmsandbox_agent.setup import (  # noqa: E402
    delegate_cgroups,
    make_directories,
    make_nodes,
    mount_all,
    read_secret,
)
from vmsandbox_agent.streams import announce_by_vsock, listen_vsock  # noqa: E402
from vmsandbox_agent.syscalls import power_off  # noqa: E402

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def main() -> None:
    """Set the machine up and serve the host for ever; whatever goes wrong is on the console, and ends the machine."""
    try:
        _boot()
        asyncio.run(_serve(Settings(build=build_id(), secret=read_secret())))
    except BaseException:
        console.error(f"the agent ends:\n{traceback.format_exc()}")
    finally:
        power_off()


def _boot() -> None:
    mount_all()
    make_nodes()
    Path("/proc/sys/kernel/printk_devkmsg").write_text("on\n")  # The kernel would drop lines that come fast.
    console.use_kernel_log()
    os.environ["PATH"] = _PATH
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    delegate_cgroups(Path("/sys/fs/cgroup"))
    make_directories(Settings())
    gc.freeze()
    gc.enable()


async def _serve(settings: Settings) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_report)
    reaper = Reaper()
    reaper.attach()
    await Server(GuestRequests(settings, reaper, power_off), STARTED).run(listen_vsock, announce_by_vsock)


def _report(_: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    error = context.get("exception")
    trace = "".join(traceback.format_exception(error)) if isinstance(error, BaseException) else ""
    console.error(f"{context.get('message')}\n{trace}")


if __name__ == "__main__":
    main()
