"""How lists are printed: a table for people, JSON or YAML for programs, names or ids for scripts."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from vmsandbox.cli import terminal
from vmsandbox.cli.commands.entries import Entry
from vmsandbox.protocol.codec import JSON

F = TypeVar("F", bound=Callable[..., Any])

FORMS = ("text", "wide", "json", "yaml", "name")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its heading, and its cell for an entry."""

    heading: str
    cell: Callable[[Entry], str]
    wide: bool = False
    """Shown with `-o wide` alone."""


def field(key: str) -> Callable[[Entry], str]:
    """Make the cell of a key."""
    return lambda entry: str(entry[key])


def pairs(key: str) -> Callable[[Entry], str]:
    """Make the cell of a key that holds labels."""
    return lambda entry: ",".join(f"{name}={value}" for name, value in sorted(entry[key].items())) or "<none>"


def list_options(command: F) -> F:
    """--output and --quiet, of every command that lists."""
    quiet = click.option("-q", "--quiet", is_flag=True, help="Print the ids alone.")
    return form_option(FORMS)(quiet(command))


def form_option(forms: Sequence[str], default: str = "text") -> Callable[[F], F]:
    """--output, with these forms."""
    help_text = "Form of the output: for people (text, wide), programs (json, yaml) or scripts (name)."
    if "name" not in forms:
        help_text = "Form of the output: for people (text) or programs (json, yaml)."
    if "text" not in forms:
        help_text = "Form of the output."
    return click.option("-o", "--output", type=click.Choice(forms), default=default, show_default=True, help=help_text)


def show(
    entries: Sequence[Entry], columns: Sequence[Column], name: Callable[[Entry], str], output: str, *, quiet: bool
) -> None:
    """Print a list in the form that was asked for.

    Args:
        entries: in the order of the table.
        columns: of the table.
        name: the word by which other commands take an entry.
        output: one of `FORMS`.
        quiet: ids alone.

    Raises:
        click.UsageError: --quiet and another form were both asked for.
    """
    if quiet:
        if output not in ("text", "name"):
            raise click.UsageError(f"--quiet and --output {output} exclude each other")
        show_lines(str(entry["id"]) for entry in entries)
    elif output == "name":
        show_lines(map(name, entries))
    elif output in ("json", "yaml"):
        show_document(list(entries), output)
    else:
        shown = [column for column in columns if output == "wide" or not column.wide]
        rows = [[column.cell(entry) for column in shown] for entry in entries]
        terminal.table([column.heading for column in shown], rows)


def show_lines(lines: Iterable[str]) -> None:
    """Print each once, in the order given."""
    for line in dict.fromkeys(lines):
        terminal.result(line)


def show_document(value: JSON, output: str) -> None:
    """Print a document as JSON or YAML; the keys are the same."""
    if output == "json":
        terminal.result_json(value)
        return
    import yaml

    terminal.result(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=False).rstrip("\n"))
