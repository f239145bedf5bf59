"""The CPUs of the machine that the kernel uses: it finds all of them at its boot, and starts as many as it is told."""

from pathlib import Path

from vmsandbox_agent.errors import AgentError


def use_processors(directory: Path, count: int) -> int:
    """Have the kernel use that many CPUs, the first ones, and return how many it uses then. Blocks meanwhile.

    Args:
        directory: that of the CPUs in sysfs (Documentation/admin-guide/cputopology.rst). The first one has no file
            `online`: it is always used.
        count: of CPUs; 0 changes nothing.

    Raises:
        AgentError: the machine has fewer, or the kernel refuses one; those before it have changed.
    """
    cpus = sorted(directory.glob("cpu[0-9]*"), key=lambda cpu: int(cpu.name.removeprefix("cpu")))
    if count > len(cpus):
        raise AgentError("failed_precondition", f"the machine has {len(cpus)} CPUs, and cannot use {count}")
    if count:
        for number, cpu in enumerate(cpus[1:], 1):
            _switch(cpu, on=number < count)
    return 1 + sum(_is_on(cpu) for cpu in cpus[1:])


def _switch(cpu: Path, *, on: bool) -> None:
    if _is_on(cpu) != on:
        try:
            (cpu / "online").write_text("1" if on else "0")
        except OSError as error:
            action = "start" if on else "stop"
            raise AgentError(
                "failed_precondition", f"the kernel does not {action} {cpu.name}: {error.strerror}"
            ) from None


def _is_on(cpu: Path) -> bool:
    return (cpu / "online").read_text().strip() != "0"
