"""vmsandbox check: what this host can do, and what to do about what is missing."""

from collections.abc import AsyncIterator
from dataclasses import asdict

import click

from vmsandbox.cli import execution, terminal
from vmsandbox.cli.options import Global, output_option
from vmsandbox.config import Config
from vmsandbox.cri.delegation import look_at_delegate
from vmsandbox.model import Finding
from vmsandbox.node.check import Section, sections


@click.command()
@output_option
@click.pass_obj
def check(options: Global, output: str) -> None:
    """Look at this host: what machines need, and what is missing.

    Programs, vsock, guest image, network, libvirt; and a machine is booted under each accelerator.

    A note (section `host`) is advice: what the host could do better where pods do not trust each other.

    Exit status 1 when something is missing that pods need; a note is not a failure.
    """
    found = execution.run(_look(options.config("warning"), output))
    if output == "json":
        terminal.result_json([asdict(section) for section in found])
    if not all(finding.ok for section in found for finding in section.findings):
        raise SystemExit(execution.FAILED)


async def _look(config: Config, output: str) -> list[Section]:
    found = []
    with terminal.step("Checking this host") as update:
        async for section in _sections(config):
            update(section.title, 0, 0)
            found.append(section)
            if output == "text":
                _print(section)
    return found


async def _sections(config: Config) -> AsyncIterator[Section]:
    yield Section("delegate", await look_at_delegate(config.delegate))
    async for section in sections(config):
        yield section


def _print(section: Section) -> None:
    for finding in section.findings:
        said = terminal.OUT.shown(f"{section.title}: {finding.message}")
        terminal.OUT.line(f"{_mark(finding)} {said}")
        if finding.hint:
            terminal.result(f"       try: {finding.hint}")


def _mark(finding: Finding) -> str:
    if not finding.ok:
        return terminal.OUT.styled("FAILED", terminal.RED)
    style = terminal.YELLOW if finding.hint else terminal.GREEN
    return terminal.OUT.styled(" note " if finding.hint else "  ok  ", style)
