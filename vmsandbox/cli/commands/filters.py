"""--filter of commands that list: KEY=VALUE, as for podman."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import click

from vmsandbox.cli.commands.entries import Entry

F = TypeVar("F", bound=Callable[..., Any])
Filters = Mapping[str, Sequence[str]]
Test = Callable[[Entry, str], bool]


def filter_option(tests: Mapping[str, Test]) -> Callable[[F], F]:
    """--filter with the keys of `tests`; the command gets the values by their keys."""

    def parse(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> Filters:
        return parsed(texts, tests)

    return click.option(
        "--filter",
        "filters",
        multiple=True,
        callback=parse,
        metavar="KEY=VALUE",
        help=f"Show only entries that match; KEY is one of {', '.join(tests)}. May be repeated.",
    )


def parsed(texts: Sequence[str], tests: Mapping[str, Test]) -> Filters:
    """Return the values of filters by their keys. Raises click.BadParameter for a key that is not known."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for text in texts:
        key, equals, value = text.partition("=")
        if key not in tests or not equals or not value:
            raise click.BadParameter(f"{text!r} is not a filter: write KEY=VALUE; KEY is one of {', '.join(tests)}")
        found[key].append(value)
    return dict(found)


def passes(entry: Entry, filters: Filters, tests: Mapping[str, Test]) -> bool:
    """Whether an entry has one of the values of each key; of labels it has to have all."""
    return all(
        (all if key == "label" else any)(tests[key](entry, value) for value in values)
        for key, values in filters.items()
    )


def like(*keys: str) -> Test:
    """Make the test of a shell pattern on one of these keys."""
    return lambda entry, value: any(fnmatchcase(str(entry[key]), value) for key in keys)


def begins(key: str) -> Test:
    """Make the test of an id's beginning."""
    return lambda entry, value: str(entry[key]).removeprefix("sha256:").startswith(value.removeprefix("sha256:"))


def has_state(entry: Entry, value: str) -> bool:
    """Test a state, in capitals or not."""
    return bool(entry["state"] == value.upper())


def has_label(entry: Entry, value: str) -> bool:
    """Test a label: NAME, or NAME=VALUE."""
    name, equals, wanted = value.partition("=")
    labels = entry["labels"]
    return name in labels and (not equals or labels[name] == wanted)
