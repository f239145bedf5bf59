"""--env and --env-file: the later one of a name wins, and --env wins over files."""

from collections.abc import Iterator, Mapping
from typing import Any

from vmsandbox.pod.options.run_options import OptionContext, RunOptions
from vmsandbox.pod.options.values import literal, wrong


def environment(options: RunOptions, context: OptionContext) -> list[dict[str, Any]]:
    """EnvVars. Raises InvalidArgument where a variable has no name."""
    values: dict[str, str] = {}
    for place, text in _assignments(options):
        values |= _assigned(place, text, context.environment)
    return [{"name": name, "value": literal(value)} for name, value in values.items()]


def _assignments(options: RunOptions) -> Iterator[tuple[str, str]]:
    """Each assignment and where it stands; a file has one in a line, and comments."""
    for file, text in options.env_file:
        for line, content in enumerate(text.splitlines(), start=1):
            if content.strip() and not content.lstrip().startswith("#"):
                yield f"{file}:{line}", content.lstrip()
    for given in options.env:
        yield "--env", given


def _assigned(place: str, text: str, ours: Mapping[str, str]) -> dict[str, str]:
    """One variable. `NAME` alone is handed on from our own environment, where it is set."""
    name, equals, value = text.partition("=")
    if not name.strip():
        raise wrong(place, f"{text[:80]!r} has no name", hint="NAME=VALUE, or NAME for the value that it has here")
    if equals:
        return {name: value}
    return {name: ours[name]} if name in ours else {}
