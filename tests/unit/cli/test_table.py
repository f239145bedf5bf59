"""The table of commands: what it says of them is so, and listing them imports none of them."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from vmsandbox.cli.main import main
from vmsandbox.cli.table import TABLE, TableGroup

HEAVY = {
    "grpc", "google.protobuf", "cri_api", "rich", "paramiko", "yaml", "libvirt", "pyroute2", "asyncio",
    "vmsandbox.config", "vmsandbox.model", "vmsandbox.service", "vmsandbox.sandbox", "vmsandbox.hypervisor",
    "vmsandbox.cri", "vmsandbox.node", "vmsandbox.pod", "vmsandbox.images", "vmsandbox.lab",
}  # fmt: skip


def command_of(words: str) -> click.Command:
    command: click.Command = main
    for word in words.split():
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None, words
        command = found
    return command


@pytest.mark.parametrize("words", TABLE)
def test_a_line_is_the_first_sentence_of_the_commands_help_and_fits_a_terminal(words: str) -> None:
    line, command = TABLE[words].help, command_of(words)
    if line:  # a second name has none
        assert line == command.get_short_help_str(limit=1000).removesuffix(".")
        assert len(line) <= 62, "nothing of it is cut off at 80 columns"


@pytest.mark.parametrize("words", [words for words in TABLE if TABLE[words].help])
def test_a_command_has_the_name_that_the_table_gives_it(words: str) -> None:
    assert command_of(words).name == words.rpartition(" ")[2]


@pytest.mark.parametrize("words", sorted({words.rpartition(" ")[0] for words in TABLE}))
def test_a_group_takes_its_commands_from_the_table(words: str) -> None:
    group = command_of(words)
    assert isinstance(group, TableGroup)
    assert group.list_commands(click.Context(group)) == sorted(group.list_commands(click.Context(group)))


@pytest.mark.parametrize(
    ("words", "meant"),
    [(["rnu"], " Did you mean run?"), (["volume", "lst"], " Did you mean list or ls?"), (["no-such-command"], "")],
)
def test_a_mistyped_command_is_told_with_what_it_may_mean(words: list[str], meant: str) -> None:
    ran = CliRunner().invoke(main, words)
    assert ran.exit_code == 2
    assert ran.output.endswith(f"No such command '{words[-1]}'.{meant}\n")


LISTING = [
    (["--help"], "port-forward"),
    (["--version"], "version"),
    (["image", "--help"], "build-guest"),
    (["lab", "--help"], "collect"),
    (["completion", "bash"], "_VMSANDBOX_COMPLETE"),
    (["no-such-command"], ""),
]
COMPLETING = [
    ("vmsandbox r", 1, "plain,run"),
    ("vmsandbox image p", 2, "plain,pull"),
    ("vmsandbox lab --i", 2, "--inv"),
]


RUN = """
import sys
from vmsandbox.__main__ import main
from vmsandbox.cli import standard
def leave(status, end=standard.leave):
    print(*sys.modules, file=sys.__stderr__)
    end(status)
standard.leave, sys.argv[0] = leave, "vmsandbox"
main()
"""


def imported(arguments: list[str], environment: dict[str, str]) -> tuple[str, set[str]]:
    """Return the output of a command line, and the modules that it has imported at its end."""
    line = [sys.executable, "-c", RUN, *arguments]
    ran = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    return ran.stdout, set(ran.stderr.splitlines()[-1].split())


def heavy(modules: set[str]) -> list[str]:
    return sorted(module for module in modules if _under(module, HEAVY))


def _under(module: str, packages: set[str]) -> bool:
    return any(f"{module}.".startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize(("arguments", "shown"), LISTING)
def test_help_imports_no_command(arguments: list[str], shown: str) -> None:
    printed, modules = imported(arguments, {"PATH": "/usr/bin:/bin"})
    assert shown in printed
    assert "vmsandbox.cli.table" in modules
    assert not heavy(modules)


@pytest.mark.parametrize(("line", "word", "offered"), COMPLETING)
def test_completing_a_commands_name_imports_no_command(line: str, word: int, offered: str) -> None:
    variables = {"COMP_WORDS": line, "COMP_CWORD": str(word), "_VMSANDBOX_COMPLETE": "bash_complete"}
    printed, modules = imported([], {"PATH": "/usr/bin:/bin", **variables})
    assert offered in printed
    assert "vmsandbox.cli.table" in modules
    assert not heavy(modules)


NEEDED_TO_ASK = {"vmsandbox.cri", "vmsandbox.cri.client", "vmsandbox.model", "vmsandbox.config", "vmsandbox.node"}
CONTACT = {"grpc", "google.protobuf", "cri_api", "asyncio"}
TOO_MUCH = (HEAVY - NEEDED_TO_ASK - CONTACT) | {
    "vmsandbox.cri.server", "vmsandbox.cri.servicer", "vmsandbox.cri.convert.usage", "vmsandbox.streaming", "difflib",
    "vmsandbox.node.host", "vmsandbox.node.check", "vmsandbox.typed_yaml.reader", "vmsandbox.protocol.messages.streams",
    "vmsandbox.protocol.messages.containers", "vmsandbox.protocol.messages.measures",
}  # fmt: skip


@pytest.mark.parametrize("command", ["ps", "pods", "events"])
def test_asking_the_daemon_imports_its_client_alone(command: str) -> None:
    ran = imported([command], {"PATH": "/usr/bin:/bin", "VMSANDBOX_CONFIG": ""})
    assert "vmsandbox.cri.client.dialling" in ran[1]
    assert not sorted(module for module in ran[1] if _under(module, TOO_MUCH))


@pytest.mark.parametrize("words", [["ps"], ["pods"], ["images"], ["image", "list"]])
def test_a_list_of_one_daemon_takes_neither_grpc_nor_asyncio_nor_protobuf(vmsandbox, words: list[str]) -> None:
    vmsandbox.container(vmsandbox.pod("web"))
    config = str(vmsandbox.directory / "config.yaml")
    printed, modules = imported(words, {"PATH": "/usr/bin:/bin", "VMSANDBOX_CONFIG": config})
    assert ("registry.example/app" in printed) or ("web" in printed)
    assert not sorted(module for module in modules if _under(module, CONTACT | {"vmsandbox.cri.client"}))


def test_completing_a_name_takes_neither_grpc_nor_protobuf(vmsandbox) -> None:
    vmsandbox.pod("web")
    config = str(vmsandbox.directory / "config.yaml")
    variables = {"COMP_WORDS": "vmsandbox stop w", "COMP_CWORD": "2", "_VMSANDBOX_COMPLETE": "bash_complete"}
    printed, modules = imported([], {"PATH": "/usr/bin:/bin", "VMSANDBOX_CONFIG": config, **variables})
    assert "plain,web" in printed
    assert not sorted(module for module in modules if _under(module, CONTACT - {"asyncio"} | {"vmsandbox.cri.client"}))
