"""vmsandbox lab: several hosts by ssh. `vmsandbox.lab` does the work; it is imported when a command runs."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vmsandbox.cli import execution, terminal
from vmsandbox.cli.commands.lab.laboratory import Laboratory, conclude, say
from vmsandbox.cli.options import output_option
from vmsandbox.errors import InvalidArgument, VmsandboxError

if TYPE_CHECKING:
    from vmsandbox.lab import Fleet, LabHost, Outcome


@click.command()
@click.option("--checkout", type=click.Path(path_type=Path, file_okay=False), help="By default the one that runs this.")
@click.pass_obj
def up(given: Laboratory, checkout: Path | None) -> None:
    """Install or upgrade vmsandbox on all hosts.

    The files that git tracks are copied, and then `make setup` runs there.
    """
    from vmsandbox import lab

    def work(fleet: "Fleet", hosts: "Sequence[LabHost]") -> "Sequence[Outcome[str]]":
        packed = lab.pack(checkout or lab.own_checkout())
        return fleet.on(hosts, lambda context: lab.install(context, packed))

    conclude(given.run(work))


@click.command()
@click.option("--caches", is_flag=True, help="Remove /var/cache/vmsandbox as well, which any vmsandbox there uses.")
@click.pass_obj
def down(given: Laboratory, caches: bool) -> None:
    """End the pods on all hosts, and remove what `up` installed.

    The pods are those of the laboratory; Debian packages stay.
    """
    from vmsandbox import lab

    given.on_each(lambda context: lab.uninstall(context, caches))


@click.command()
@output_option
@click.pass_obj
def check(given: Laboratory, output: str) -> None:
    """Print one table of all hosts: what works there.

    It is found out by booting machines.
    """
    from vmsandbox import lab

    outcomes = given.run(lambda fleet, hosts: fleet.on(hosts, lab.survey))
    if output == "json":
        terminal.result_json([_document(outcome) for outcome in outcomes])
    else:
        terminal.table(lab.COLUMNS, [lab.row(outcome) for outcome in outcomes])
    for outcome in outcomes:
        for line in outcome.value.missing if outcome.value else ():
            say(outcome.host.name, line)
    failed = [outcome for outcome in outcomes if outcome.error]
    conclude(failed)
    if any(outcome.value and outcome.value.missing for outcome in outcomes):
        raise SystemExit(execution.FAILED)


def _document(outcome: "Outcome[Any]") -> dict[str, object]:
    found = {} if outcome.value is None else asdict(outcome.value)
    return {"host": outcome.host.name, "error": str(outcome.error or ""), **found}


_INTO = click.option(
    "--into", type=click.Path(path_type=Path, file_okay=False), default="lab-reports", show_default=True,
    help="Local directory of the reports, a directory for each host.",
)  # fmt: skip
_PASSED_ON = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@click.command(context_settings=_PASSED_ON)
@_INTO
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def test(given: Laboratory, into: Path, arguments: tuple[str, ...]) -> None:
    """Run the tests on all hosts, and bring the reports back.

    ARGUMENTS are those of pytest.
    """
    from vmsandbox import lab

    given.on_each(lambda context: lab.run_tests(context, into, arguments))


@click.command(context_settings=_PASSED_ON)
@_INTO
@click.argument("name")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def bench(given: Laboratory, into: Path, name: str, arguments: tuple[str, ...]) -> None:
    """Run tests/performance/NAME.py with ARGUMENTS on all hosts.

    What it prints is brought back.
    """
    from vmsandbox import lab

    given.on_each(lambda context: lab.run_bench(context, into, name, arguments))


@click.command()
@click.option(
    "--into", type=click.Path(path_type=Path, dir_okay=False), default="lab-support.tar.gz", show_default=True,
    help="The archive to write.",
)  # fmt: skip
@click.pass_obj
def collect(given: Laboratory, into: Path) -> None:
    """Write a support bundle of all hosts, without secrets.

    It has versions, configuration, check, journal and domains.
    """
    from vmsandbox import lab

    outcomes = given.run(lambda fleet, hosts: fleet.on(hosts, lab.collect))
    files = {outcome.host.name: outcome.value or _why(outcome) for outcome in outcomes}
    try:
        lab.write_bundle(into, files)
    except VmsandboxError as error:
        execution.fail(error, execution.FAILED)
    terminal.result(str(into))
    conclude([outcome for outcome in outcomes if outcome.error])


def _why(outcome: "Outcome[Any]") -> Any:
    from vmsandbox import lab

    return (lab.Received("error.txt", f"{outcome.error}\n".encode()),)


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.File("rb"))
@click.pass_obj
def run(given: Laboratory, files: tuple[Any, ...]) -> None:
    """Run the Pod in FILES on one host, by -H or the least busy one.

    As `vmsandbox run` does here. Exit status: the pod's; 1 when no host could be asked. Ctrl-C ends the pod there.
    """
    from vmsandbox import lab

    manifest = b"\n---\n".join(file.read() for file in files)

    def work(fleet: "Fleet", hosts: "Sequence[LabHost]") -> "Outcome[int]":
        host = hosts[0] if len(hosts) == 1 else lab.least_busy(fleet, hosts)
        fleet.say(host.name, "running the pod")
        return lab.vmsandbox(fleet, host, ("run", "-"), _streams(), manifest)

    _end_as(given.run(work))


@click.command("exec", context_settings=_PASSED_ON)
@click.argument("name")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def exec_(given: Laboratory, name: str, command: tuple[str, ...]) -> None:
    """Run COMMAND in container NAME, on the host that has it.

    The command has no standard input and no terminal. For these, use ssh: ssh -t HOST vmsandbox exec -it NAME sh.
    """
    _on_pods_host(given, name, ("exec", name, *command))


@click.command()
@click.option("-f", "--follow", "following", is_flag=True, help="Follow the log until the container has ended.")
@click.option("-n", "--tail", type=click.IntRange(min=0), help="Show only the last N lines.")
@click.argument("name")
@click.pass_obj
def logs(given: Laboratory, following: bool, tail: int | None, name: str) -> None:
    """Print what container NAME has printed, on the host that has it."""
    options = (*(("--follow",) if following else ()), *(() if tail is None else ("--tail", str(tail))))
    _on_pods_host(given, name, ("logs", *options, name))


def _on_pods_host(given: Laboratory, name: str, arguments: tuple[str, ...]) -> None:
    from vmsandbox import lab

    if name.startswith("-"):
        execution.fail(InvalidArgument(f"{name} is not the name of a container"), execution.FAILED)

    def work(fleet: "Fleet", hosts: "Sequence[LabHost]") -> "Outcome[int]":
        return lab.vmsandbox(fleet, lab.host_of_pod(fleet, hosts, name), arguments, _streams())

    _end_as(given.run(work))


def _streams() -> Any:
    from vmsandbox import lab

    def write_to(stream: Any) -> Callable[[bytes], None]:
        return lambda piece: (stream.write(piece), stream.flush())[1]

    return lab.Streams(write_to(sys.stdout.buffer), write_to(sys.stderr.buffer))


def _end_as(outcome: "Outcome[int]") -> None:
    """End with the status of the command on the host."""
    if outcome.value is None:
        conclude([outcome])
    raise SystemExit(outcome.value)
