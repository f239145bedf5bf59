"""Command lines of callers, recorded in front of runc, and what is wrong with others."""

import pytest

from vmsandbox.oci_command.arguments import parse, usage
from vmsandbox.oci_command.errors import CommandError

RECORDED = {
    "--log-format=json --log F create --bundle B --pid-file P ID": ("create", {"bundle": "B", "pid-file": "P"}, ["ID"]),
    "--log-format=json --log F create --bundle B --console-socket S --no-pivot ID": (
        "create",
        {"bundle": "B", "console-socket": "S", "no-pivot": ""},
        ["ID"],
    ),
    "start ID": ("start", {}, ["ID"]),
    "kill ID 15": ("kill", {}, ["ID", "15"]),
    "kill --all ID 9": ("kill", {"all": ""}, ["ID", "9"]),
    "delete --force ID": ("delete", {"force": ""}, ["ID"]),
    "exec --pid-file P --process F --detach --tty --console-socket S ID": (
        "exec",
        {"process": "F", "detach": "", "tty": "", "console-socket": "S"},
        ["ID"],
    ),
    "--root R --log F --log-format json create --bundle B --pid-file B/init.pid ID": (
        "create",
        {"bundle": "B"},
        ["ID"],
    ),
    "--root R state ID": ("state", {}, ["ID"]),
    "features": ("features", {}, []),
    "pause ID": ("pause", {}, ["ID"]),
    "resume ID": ("resume", {}, ["ID"]),
    "update --resources=FILE ID": ("update", {"resources": "FILE"}, ["ID"]),
    "--root R update --resources - ID": ("update", {"resources": "-"}, ["ID"]),
    "--root R ps --format json ID": ("ps", {"format": "json"}, ["ID"]),
    "--systemd-cgroup --log-format=json --log F create --bundle B ID": ("create", {"bundle": "B"}, ["ID"]),
    "-root=R exec -e A=1 -e B=2 ID sh -c -x": ("exec", {"env": "B=2"}, ["ID", "sh", "-c", "-x"]),
    "delete -f=false ID": ("delete", {}, ["ID"]),
}
"""Arguments with what is read of them: the command, its options, its operands."""


@pytest.mark.parametrize("line", RECORDED)
def test_what_callers_write_is_understood(line: str) -> None:
    command, options, operands = RECORDED[line]
    found = parse(line.split())
    assert (found.command, found.operands) == (command, operands)
    assert {name: found.own.get(name, "missing") for name in options} == options
    assert ("force" in found.own) is ("force" in options)


def test_an_option_can_be_repeated() -> None:
    assert parse(["exec", "-e", "A=1", "--env", "B=2", "ID", "sh"]).own.repeated("env") == ["A=1", "B=2"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--nothing start ID", "flag provided but not defined: -nothing"),
        ("create --nothing ID", "flag provided but not defined: -nothing"),
        ("create --bundle", "flag needs an argument: -bundle"),
        ("dance", "No help topic for 'dance'"),
        ("checkpoint ID", "does not have the command 'checkpoint'"),
    ],
)
def test_what_cannot_be_understood_is_an_error(line: str, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        parse(line.split())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("start", '"start" requires exactly 1 argument'),
        ("start a b", '"start" requires exactly 1 argument'),
        ("kill", '"kill" requires a minimum of 1 argument'),
        ("kill a b c", '"kill" requires a maximum of 2 argument'),
        ("list a", '"list" requires exactly 0 argument'),
    ],
)
def test_a_command_with_another_number_of_operands_says_so(line: str, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        parse(line.split())


def test_a_command_without_the_name_of_its_container_says_so() -> None:
    with pytest.raises(CommandError, match="container id cannot be empty"):
        parse(["start", ""]).container_id  # noqa: B018


def test_help_needs_no_operands() -> None:
    assert "help" in parse(["create", "--help"]).own
    assert "--bundle (-b)" in usage("create") and "<container-id>" in usage("create")
    assert "ps " in usage("")


def test_a_short_form_belongs_to_its_command() -> None:
    assert "force" in parse(["delete", "-f", "ID"]).own
    assert parse(["ps", "-f", "json", "ID"]).own.get("format") == "json"
