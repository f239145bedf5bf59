"""The rights of an AppArmor profile and the actions of a program, for tests on machines without AppArmor.

`apparmor_parser --preprocess` flattens a profile's includes; of its rules those of files are read here (apparmor.d(5)).
What a program does is strace(1)'s to say.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from vmsandbox.process import Confinement

PROFILES = Path(__file__).parents[2] / "packaging/apparmor.d/vmsandbox"

_VARIABLE = re.compile(r"^(@\{\w+\})\s*\+?=\s*(.*)$")
_RULE = re.compile(r"^(?:owner )?(?P<path>(?:/|@\{)\S*)\s+(?P<permissions>[rwamkl]*(?:[pPcCiuU]*x)?)(?: ->.*)?,")
_KERNELS = {
    "@{pid}": "[1-9]*",
    "@{pids}": "[1-9]*",
    "@{tid}": "[1-9]*",
    "@{profile_name}": "",
    "@{multiarch}": "*-linux-gnu*",
}
_CALL = re.compile(r"^\d+ +(?P<call>\w+)\((?P<arguments>.*)\) += (?P<result>\d+)(?:<(?P<path>/.*)>)?$")


@dataclass(frozen=True)
class Profile:
    """The rules for files of one profile, and its capabilities."""

    name: str
    lines: Sequence[str]
    variables: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @cached_property
    def files(self) -> list[tuple[re.Pattern[str], str]]:
        """Patterns of paths, and the allowed actions."""
        rules = [rule for line in self.lines if (rule := _RULE.match(line))]
        return [
            (re.compile(_expression(path)), rule["permissions"])
            for rule in rules
            for path in _expanded(rule["path"], self.variables)
        ]

    @property
    def capabilities(self) -> set[str]:
        """The allowed capabilities."""
        lines = (line for line in self.lines if line.startswith("capability "))
        return {name for line in lines for name in line.removesuffix(",").split()[1:]}

    def allows(self, path: str, permission: str) -> bool:
        """Whether it may do to `path` what one letter of apparmor.d(5) says."""
        return any(permission in permissions and pattern.fullmatch(path) for pattern, permissions in self.files)


def profiles(**variables: Path) -> dict[str, Profile]:
    """The project's profiles by their names, with variables of theirs that have other values."""
    text = PROFILES.read_text()
    for name, value in variables.items():
        text = re.sub(rf"^@{{{name}}} = .*", f"@{{{name}}} = {value}", text, flags=re.MULTILINE)
    flat = subprocess.run(
        ["apparmor_parser", "--preprocess"], input=text, capture_output=True, text=True, check=True
    ).stdout
    lines = [line.strip() for line in flat.splitlines() if not line.strip().startswith("#")]
    values: dict[str, list[str]] = {}
    for line in lines:
        if found := _VARIABLE.match(line):
            values[found[1]] = [*values.get(found[1], []), *(word.strip('"') for word in found[2].split())]
    begins = [(index, line.split()[1]) for index, line in enumerate(lines) if line.startswith("profile vmsandbox-")]
    ends = [index for index, _ in begins[1:]] + [len(lines)]
    return {name: Profile(name, lines[start:end], values) for (start, name), end in zip(begins, ends, strict=True)}


def _expanded(path: str, variables: Mapping[str, Sequence[str]]) -> Iterator[str]:
    found = re.search(r"@\{\w+\}", path)
    if found is None:
        yield path
        return
    name = found[0]
    for value in [_KERNELS[name]] if name in _KERNELS else variables[name]:
        yield from _expanded(re.sub("/+", "/", path.replace(name, value, 1)), variables)


def _expression(path: str) -> str:
    """A path's pattern (apparmor.d(5), "Globbing") as a regular expression."""
    parts = re.split(r"(\*\*|\*|\?|\{|\}|,|\[[^\]]*\])", path)
    known = {"**": ".*", "*": "[^/]*", "?": "[^/]", "{": "(?:", "}": ")", ",": "|"}
    return "".join(known.get(part, part if part.startswith("[") else re.escape(part)) for part in parts)


def trace(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Have confined programs traced from now on; each writes into `directory`, which is open to everybody.

    The tracer is a grandchild (-D), so that programs keep their process ids.
    """
    directory.mkdir()
    directory.chmod(0o777)
    wrap = Confinement.wrap

    def traced(self: Confinement, command: Sequence[str]) -> Any:
        output = str(directory / f"{self.profile}.{len(list(directory.iterdir()))}")
        options = ["-D", "-f", "-qq", "-y", "-s", "4096", "-e", "trace=%file", "-o", output]
        # A tracer reads what a program that has changed its user opens by this capability alone.
        tracing = self if self.account else replace(self, capabilities=(*self.capabilities, "sys_ptrace"))
        return wrap(tracing, ["strace", *options, "--", *command])

    monkeypatch.setattr(Confinement, "wrap", traced)


def uses(directory: Path, profile: str) -> set[tuple[str, str]]:
    """Yield the uses of files by programs of this profile: paths, directories with a slash, and letters."""
    lines = [line for file in directory.glob(f"{profile}.*") for line in file.read_text(errors="replace").splitlines()]
    return {use for line in lines if (call := _CALL.match(line)) for use in _uses_of(call)}


def held(pid: int) -> set[tuple[str, str]]:
    """Yield the named files that a process has mapped and opened; letters like those of `uses`."""
    process = Path(f"/proc/{pid}")
    maps = [line.split(maxsplit=5) for line in (process / "maps").read_text().splitlines()]
    # What is written to a private mapping does not reach the file.
    letters = [
        (line[5], line[1] if line[1].endswith("s") else line[1].replace("w", "")) for line in maps if len(line) == 6
    ]
    mapped = {(path, letter) for path, permissions in letters for letter in permissions.replace("x", "m")}
    opened = {(str(path.readlink()), "r") for path in (process / "fd").iterdir()}
    found = {(path.removesuffix(" (deleted)"), letter) for path, letter in mapped | opened}
    return {(path, letter) for path, letter in found if path.startswith("/") and letter in "rwm"}


def _uses_of(call: re.Match[str]) -> Iterator[tuple[str, str]]:
    arguments = call["arguments"]
    if call["call"] in ("open", "openat", "openat2", "creat") and call["path"] and "O_PATH" not in arguments:
        path = call["path"] + ("/" if Path(call["path"]).is_dir() else "")
        read_only = not re.search("O_WRONLY|O_RDWR", arguments)
        yield from ((path, letter) for letter in ("r" if read_only else "w" if "O_WRONLY" in arguments else "rw"))
    elif call["call"] == "execve":
        yield str(Path(arguments.split('"')[1]).resolve()), "x"
    elif call["call"] in ("mkdir", "mkdirat", "unlink", "unlinkat", "rename", "renameat", "renameat2"):
        yield from ((path, "w") for path in re.findall(r'"(/[^"]*)"', arguments))
