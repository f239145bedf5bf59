"""How often a guest under emulation panics while it boots, and what two vCPUs and mitigations are worth.

    python -m tests.performance.boots SETTING [BOOTS]      boots, two machines side by side
    python -m tests.performance.boots work [RUNS]          loops and system calls in a guest that runs nothing else

A SETTING is `two` (two vCPUs in threads of their own), `one` (one vCPU), `single` (two vCPUs in one thread) or
`unmitigated` (one vCPU, mitigations=off). Machines are those of QEMU's command line, as libvirt cannot say
`thread=single`.
"""

import asyncio
import itertools
import statistics
import sys
import time
from pathlib import Path

from tests.support.qemu import Emulation, machine
from tests.support.vsock import vsock_daemon
from vmsandbox.errors import VmsandboxError
from vmsandbox.guest.session import Session
from vmsandbox.protocol.messages import Event

DEADLINE = 120
LONGEST = 200
"""Seconds in which boots begin: others wait for the machine."""
SETTINGS = {
    "two": (Emulation(vcpus=2, accelerator="tcg,thread=multi"), ""),
    "one": (Emulation(vcpus=1), ""),
    "single": (Emulation(vcpus=2, accelerator="tcg,thread=single"), ""),
    "unmitigated": (Emulation(vcpus=1), "mitigations=off"),
}
"""How vCPUs are emulated, and what the kernel's command line has beside the image's."""
_LOOP = "(i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done)"
_CALLS = "(i=0; while [ $i -lt 20000 ]; do [ -e / ]; [ -e / ]; [ -e / ]; i=$((i+1)); done)"
_WORK = {"one loop": _LOOP, "two loops": f"{_LOOP} & {_LOOP}; wait", "system calls": _CALLS}


async def boots(setting: str, count: int) -> None:
    """Print what came of `count` boots, or of those that began within `LONGEST`."""
    begin = time.monotonic()
    numbers = itertools.takewhile(lambda _: time.monotonic() < begin + LONGEST, iter(range(count)))

    async def one_after_another(cid: int) -> list[float | str]:
        return [await _boot(*SETTINGS[setting], cid) for _ in numbers]

    both = await asyncio.gather(one_after_another(90), one_after_another(91))
    outcomes = [outcome for each in both for outcome in each]
    seconds = [outcome for outcome in outcomes if isinstance(outcome, float)]
    failures = [outcome for outcome in outcomes if isinstance(outcome, str)]
    panicked = sum("Kernel panic" in failure for failure in failures)
    sys.stdout.write(
        f"{setting}: {len(outcomes)} boots, {len(seconds)} answered after {statistics.median(seconds):.1f} s (median), "
        f"{panicked} panicked, {len(failures) - panicked} failed otherwise\n"
    )
    for failure in failures:
        sys.stdout.write(f"---- a failure\n{failure[-1500:]}\n")


async def _boot(emulation: Emulation, parameters: str, cid: int) -> float | str:
    """Seconds to the agent's answer, or why there was none."""
    async with vsock_daemon(cid) as (device, directory):
        begin = time.monotonic()
        started = machine(device.device, directory / "console", emulation=emulation, kernel_parameters=parameters)
        with started as qemu:
            async with Session(device, "boot", _ignore) as session:
                try:
                    await qemu.unless_ended(session.connect(DEADLINE))
                except VmsandboxError as error:
                    return str(error)
                return time.monotonic() - begin


async def work(count: int) -> None:
    """Print how long loops take in the guest, relative to one vCPU."""
    took: dict[tuple[str, str], list[float]] = {}
    for _ in range(count):
        for setting, (emulation, parameters) in SETTINGS.items():
            for name, script in _WORK.items():
                took.setdefault((setting, name), []).append(await _run(emulation, parameters, script))
    for (setting, name), seconds in took.items():
        sys.stdout.write(f"{setting}, {name}: {min(seconds) / min(took['one', name]):.2f} of one\n")


async def _run(emulation: Emulation, parameters: str, script: str) -> float:
    """Seconds that a script takes in the guest, which runs nothing else; its end is a panic."""
    parameters = f'{parameters} rdinit=/bin/busybox -- sh -c "echo begin; {script}; echo end"'
    async with vsock_daemon(90) as (device, directory):
        console = directory / "console"
        with machine(device.device, console, emulation=emulation, kernel_parameters=parameters) as qemu:
            await qemu.unless_ended(_printed(console, "begin"))
            begin = time.monotonic()
            await qemu.unless_ended(_printed(console, "end"))
            return time.monotonic() - begin


async def _printed(console: Path, word: str) -> None:
    while not console.exists() or word not in console.read_text(errors="replace").split():
        await asyncio.sleep(0.01)


async def _ignore(_: Event) -> None:
    return


if __name__ == "__main__":
    number = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    asyncio.run(work(number) if sys.argv[1] == "work" else boots(sys.argv[1], number))
