"""Write the manual pages: `python packaging/manual.py DIRECTORY`, in the .venv of a checkout.

vmsandbox(1) and a page for each command (vmsandbox-run(1), vmsandbox-image-pull(1)) from the texts of --help, and
vmsandbox-config(5) from examples/config.yaml. The form is man(7), which every system reads.
"""

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from vmsandbox.cli.main import main as command_line
from vmsandbox.cli.table import TABLE
from vmsandbox.version import VERSION

CHECKOUT = Path(__file__).parents[1]
_FILES = (
    ("/etc/vmsandbox/config.yaml", "The configuration: vmsandbox-config(5)."),
    ("/run/vmsandbox", "Sockets and mounts, which do not outlive a reboot."),
    ("/var/lib/vmsandbox", "Images, disks and records, which do."),
    ("/var/cache/vmsandbox/guest-image", "What machines boot from."),
)


def write_pages(directory: Path) -> None:
    """Write every page into `directory`, which exists."""
    _write(directory / "vmsandbox.1", _page("vmsandbox", command_line))
    for words, line in TABLE.items():
        if line.help:  # a second name of a command has no page
            _write(directory / f"vmsandbox-{words.replace(' ', '-')}.1", _page(f"vmsandbox {words}", _command(words)))
    _write(directory / "vmsandbox-config.5", _configuration())


def _command(words: str) -> click.Command:
    command: click.Command = command_line
    for word in words.split():
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None, words
        command = found
    return command


def _page(name: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=name, **command_line.context_settings)
    first, *rest = _paragraphs(command.help or "")
    yield from _title(name.replace(" ", "-"), 1)
    yield from (".SH NAME", f"{_text(name.replace(' ', '-'))} \\- {_text(first.rstrip('.'))}")
    yield from (".SH SYNOPSIS", f".B {_text(name)}", _text(" ".join(command.collect_usage_pieces(context))))
    yield from (".SH DESCRIPTION", *_body([first, *rest]))
    yield from _options(command, context)
    yield from _commands(name, command, context)
    if command.epilog:
        yield from (".SH EXIT STATUS", *_body(_paragraphs(command.epilog.replace("Exit status: ", ""))))
    if command is command_line:
        yield from (".SH FILES", *(line for path, text in _FILES for line in (".TP", f".I {_text(path)}", _text(text))))
        yield from (".SH SEE ALSO", r"\fBvmsandbox\-config\fR(5), \fBvirsh\fR(1), \fBcrictl\fR(1)")
    else:
        yield from (".SH SEE ALSO", r"\fBvmsandbox\fR(1), \fBvmsandbox\-config\fR(5)")


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    options = (parameter for parameter in command.get_params(context) if isinstance(parameter, click.Option))
    records = filter(None, (option.get_help_record(context) for option in options))
    listed = [line for names, text in records for line in (".TP", f".B {_text(names)}", _text(text))]
    if listed:
        yield from (".SH OPTIONS", *listed)


def _commands(name: str, command: click.Command, context: click.Context) -> Iterator[str]:
    if isinstance(command, click.Group):
        path = name.partition(" ")[2]
        yield ".SH COMMANDS"
        for child in command.list_commands(context):
            page = f"{name} {child}".replace(" ", "-")
            yield from (".TP", f"\\fB{_text(page)}\\fR(1)", _text(TABLE[f"{path} {child}".strip()].help + "."))


def _configuration() -> Iterator[str]:
    """Comments and settings as they are in the example: both say what they mean where they stand."""
    yield from _title("vmsandbox-config", 5)
    yield from (".SH NAME", r"vmsandbox\-config \- the configuration of vmsandbox, /etc/vmsandbox/config.yaml")
    yield from (".SH DESCRIPTION", "A YAML file. These are all settings, with their defaults:", ".PP", ".nf")
    for line in (CHECKOUT / "examples/config.yaml").read_text().splitlines():
        yield _text(line) or r"\&"
    yield from (".fi", ".SH SEE ALSO", r"\fBvmsandbox\fR(1)")


def _title(name: str, section: int) -> Iterator[str]:
    yield f'.TH {_text(name.upper())} {section} "" "vmsandbox {VERSION}" "vmsandbox"'
    yield from (".nh", ".ad l")


def _paragraphs(text: str) -> list[str]:
    return [paragraph for paragraph in inspect.cleandoc(text).split("\n\n") if paragraph.strip()]


def _body(paragraphs: list[str]) -> Iterator[str]:
    """A paragraph that begins with \\b keeps its lines, as in click."""
    for number, paragraph in enumerate(paragraphs):
        if number:
            yield ".PP"
        kept = paragraph.startswith("\b")
        lines = [_marked(line) for line in paragraph.removeprefix("\b").strip("\n").splitlines()]
        yield from (".nf", *lines, ".fi") if kept else lines


def _marked(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"\\fB\1\\fR", _text(text))


def _text(text: str) -> str:
    """Text as itself: a dash that can be copied, and no line that begins as a request does."""
    escaped = " ".join(text.split()) if "\n" in text else text
    escaped = escaped.replace("\\", r"\e").replace("-", r"\-").replace("~", r"\(ti").replace("^", r"\(ha")
    return rf"\&{escaped}" if escaped[:1] in (".", "'") else escaped


def _write(path: Path, lines: Iterator[str]) -> None:
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
