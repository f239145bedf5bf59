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

from vmsandbox_agent import dataclass_code  # noqa: E402

with dataclass_code.prepared():
    import asyncio
    import signal
    import traceback
    from dataclasses import replace
    from pathlib import Path

    from vmsandbox_agent import console, oom_scores
    from vmsandbox_agent.containers import boots_for_nobody, warm_up_at_boot
    from vmsandbox_agent.control import GuestRequests, Server
    from vmsandbox_agent.emulation import is_emulated
    from vmsandbox_agent.reaper import Reaper
    from vmsandbox_agent.settings import Settings, build_id
    from vmsandbox_agent.setup import (
        delegate_cgroups,
        drop_leftovers,
        make_directories,
        make_nodes,
        mount_all,
        read_secret,
        reseed,
    )
    from vmsandbox_agent.streams import announce_by_vsock, listen_vsock
    from vmsandbox_agent.syscalls import power_off

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def main() -> None:
    """Set the machine up and serve the host for ever; whatever goes wrong is on the console, and ends the machine."""
    try:
        _boot()
        settings = Settings(build=build_id(), emulated=is_emulated())
        if boots_for_nobody():
            warm_up_at_boot(settings)
        asyncio.run(_serve(_claimed(settings)))
    except BaseException:
        console.error(f"the agent ends:\n{traceback.format_exc()}")
    finally:
        power_off()


def _boot() -> None:
    mount_all()
    make_nodes()
    Path("/proc/sys/kernel/printk_devkmsg").write_text("on\n")  # The kernel would drop lines that come fast.
    Path("/proc/sys/vm/oom_dump_tasks").write_text("0\n")  # A line for each of thousands takes the kernel minutes.
    console.use_kernel_log()
    os.environ["PATH"] = _PATH
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    oom_scores.protect()
    delegate_cgroups(Path("/sys/fs/cgroup"))
    make_directories(Settings())
    dataclass_code.CODE.clear()
    gc.freeze()
    gc.enable()
    drop_leftovers()


def _claimed(settings: Settings) -> Settings:
    """Wait until the machine is somebody's, and make its random numbers its own, before any of them is used."""
    settings = replace(settings, secret=read_secret())
    if settings.secret:
        reseed(settings.secret)
    return settings


async def _serve(settings: Settings) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_report)
    reaper = Reaper()
    reaper.attach()
    server = Server(GuestRequests(settings, reaper, power_off), STARTED)
    await server.run(listen_vsock, announce_by_vsock)


def _report(_: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    error = context.get("exception")
    trace = "".join(traceback.format_exception(error)) if isinstance(error, BaseException) else ""
    console.error(f"{context.get('message')}\n{trace}")


if __name__ == "__main__":
    main()
