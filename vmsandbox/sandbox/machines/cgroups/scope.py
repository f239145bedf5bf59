"""A scope below a slice: a unit of systemd for processes that others have started (systemd.scope(5)).

Where systemd runs, the cgroups of its slices are its own. It takes controllers from them, and so the limits of what is
below, that none of its units asks for; so a mere directory there would lose its limits some time. runc, CRI-O and
Kata Containers ask for a scope with `Delegate` instead, over D-Bus (org.freedesktop.systemd1(5), StartTransientUnit).
It is done so here, by busctl(1), a part of systemd. What is below a delegated unit is not touched by systemd. A scope
ends by itself, with its cgroup, when its last process has ended.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tenacity import AsyncRetrying, retry_if_result, stop_after_delay, wait_fixed

from vmsandbox.errors import FailedPrecondition, Unavailable, VmsandboxError
from vmsandbox.process import run

BOOTED = Path("/run/systemd/system")
"""The directory that is there where systemd runs as the first process (sd_booted(3))."""

_MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
_CALL_DEADLINE = 30.0
_START_DEADLINE = 30.0
"""Seconds in which systemd has moved the processes, after it has taken the order."""


async def start(unit: str, slice_: str, title: str, pids: Sequence[int], started: Callable[[], bool]) -> None:
    """Have systemd make a scope and move processes into it.

    Args:
        unit: its name.
        slice_: the unit of the slice below which it is.
        title: for people.
        pids: at least one process.
        started: tells whether the processes are there.

    Raises:
        FailedPrecondition: systemd refuses; what it said is the evidence.
        Unavailable: it does not get there.
    """
    try:
        order = ["busctl", "--system", "call", *_MANAGER, "StartTransientUnit"]
        await run([*order, *arguments(unit, slice_, title, pids)], timeout=_CALL_DEADLINE)
    except VmsandboxError as error:
        raise FailedPrecondition(
            f"systemd does not make {unit} below {slice_}: {error}",
            evidence=error.evidence,
            hint="the kubelet's cgroupDriver is systemd; `systemctl status` shows whether systemd answers",
        ) from None
    waiting = AsyncRetrying(
        retry=retry_if_result(lambda there: not there),
        wait=wait_fixed(0.02),
        stop=stop_after_delay(_START_DEADLINE),
        retry_error_callback=lambda _: False,
    )

    async def look() -> bool:
        return started()

    if not await waiting(look):
        raise Unavailable(f"systemd has not started {unit} within {_START_DEADLINE:g} s")


def arguments(unit: str, slice_: str, title: str, pids: Iterable[int]) -> list[str]:
    """The arguments of StartTransientUnit, as busctl(1) takes them: their types, and each of them."""
    processes = [str(pid) for pid in pids]
    properties = [
        ["Description", "s", title],
        ["Slice", "s", slice_],
        ["Delegate", "b", "true"],
        ["DefaultDependencies", "b", "false"],
        ["CollectMode", "s", "inactive-or-failed"],
        ["PIDs", "au", str(len(processes)), *processes],
    ]
    flat = [word for each in properties for word in each]
    return ["ssa(sv)a(sa(sv))", unit, "fail", str(len(properties)), *flat, "0"]
