"""vmsandbox check: what this host can do, and what to do about what is missing."""

from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path

import click

from vmsandbox.cli import execution, terminal
from vmsandbox.cli.options import Global, output_option
from vmsandbox.config import Config, read_file
from vmsandbox.cri.delegation import look_at_delegate
from vmsandbox.model import Finding
from vmsandbox.node.check import Section, sections
from vmsandbox.node.settings import mistakes_of_host


@click.command()
@output_option
@click.pass_obj
def check(options: Global, output: str) -> None:
    """Look at this host: what machines need, and what is missing.

    Programs, vsock, guest image, network, socket, the libvirt that `serve` opens; and a machine is booted under each
    accelerator. The last line says whether `serve` can start.

    A note (section `host`) is advice: what the host could do better where pods do not trust each other.

    Exit status 1 when something is missing that pods need; a note is not a failure.
    """
    config = options.config("warning")
    found = execution.run(_look(config, options.config_file, output))
    if output == "json":
        terminal.result_json([asdict(section) for section in found])
    else:
        terminal.result(_conclusion(found))
    if _missing(found):
        raise SystemExit(execution.FAILED)


def _missing(found: list[Section]) -> list[str]:
    return list(dict.fromkeys(each.title for each in found if not all(finding.ok for finding in each.findings)))


def _conclusion(found: list[Section]) -> str:
    missing = _missing(found)
    return f"serve cannot start; what is missing: {', '.join(missing)}" if missing else "serve can start"


async def _look(config: Config, file: Path | None, output: str) -> list[Section]:
    found = []
    with terminal.step("Checking this host") as update:
        async for section in _sections(config, file):
            update(section.title, 0, 0)
            found.append(section)
            if output == "text":
                _print(section)
    return found


async def _sections(config: Config, file: Path | None) -> AsyncIterator[Section]:
    wrong = await mistakes_of_host(read_file(file))
    valid = (Finding(True, "all settings are possible on this host"),)
    yield Section("configuration", tuple(Finding(False, str(each), each.hint) for each in wrong) or valid)
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
