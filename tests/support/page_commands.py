"""The commands of a page, checked without being run: programs, options, files and modules that they name exist."""

import glob
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from tests.support.pages import CHECKOUT
from vmsandbox.cli.main import main

ELSEWHERE = {
    "aa-complain", "aa-enforce", "apparmor_parser", "apt", "apt-get", "crictl", "docker", "journalctl", "kubectl",
    "limactl", "podman", "ssh", "sudo", "systemctl", "systemd-sysusers", "systemd-tmpfiles", "vagrant", "virsh",
}  # fmt: skip
"""Programs that the machine which runs the tests need not have."""
BUILTINS = {".", "cd", "exec", "export", "for", "in", "do", "done", "source", "test", "true", "ulimit", "umask", "wait"}
PLACEHOLDER = re.compile(r"[A-Z][A-Z_]*(?:[:=/][A-Z_]+)*|.*[<…].*")
_ABSENT = re.compile(r"does not exist|No such file")
TREES = ("agent/", "docs/", "examples/", "guest-image/", "packaging/", "setup/", "tests/")


def simple_commands(line: str) -> Iterator[list[str]]:
    """Yield the simple commands of a line of shell: words without assignments, redirections, comments and brackets.

    Raises:
        ValueError: a quote is not closed.
    """
    lexer = shlex.shlex(re.sub(r"(?:\]| )+(?:\[| |$)", " ", line), posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split, lexer.commenters = True, "#"
    words: list[str] = []
    skipped = False
    for word in lexer:
        if set(word) <= set("<>&") and set(word) & set("<>"):
            skipped = True  # The file of a redirection follows.
        elif set(word) <= set("();<>|&"):
            yield words
            words = []
        elif skipped:
            skipped = False
        elif words or not re.match(r"\w+=", word):
            words.append(word)
    yield words


def complaints(line: str) -> Iterator[str]:
    """Yield what a line of shell names that does not exist."""
    for found in simple_commands(line):
        words = found[1:] if found[:1] == ["sudo"] else found
        if words:
            yield from _program(words[0], words[1:])
            yield from (f"there is no {word}" for word in words if word.startswith(TREES) and not _exists(word))


def _exists(word: str) -> bool:
    return bool(glob.glob(str(CHECKOUT / word.partition("::")[0])))


def _program(name: str, arguments: list[str]) -> Iterator[str]:
    base = Path(name).name
    if base == "vmsandbox":
        yield from misuse(arguments)
    elif base == "make":
        known = re.findall(r"^([a-z][\w-]*):", (CHECKOUT / "Makefile").read_text(), flags=re.M)
        yield from (f"make has no target {word}" for word in arguments if "=" not in word and word not in known)
    elif base.startswith("python") and arguments[:1] == ["-m"]:
        module = CHECKOUT / arguments[1].replace(".", "/")
        if not (module.is_dir() or module.with_suffix(".py").exists()):
            yield f"there is no module {arguments[1]}"
    elif not name.startswith(TREES) and not _is_known(name, base):
        yield f"there is no program {name}"


def _is_known(name: str, base: str) -> bool:
    """An installation has in its bin/ what the environment of this one has."""
    installed = name.startswith("/") and (Path(sys.executable).parent / base).exists()
    in_environment = name.startswith(".venv/bin/") and (CHECKOUT / name).exists()
    return installed or in_environment or base in ELSEWHERE | BUILTINS or shutil.which(base) is not None


def misuse(words: list[str]) -> Iterator[str]:
    """Yield why the command line `vmsandbox WORDS` is not valid. Words in capitals stand for any value."""
    context = click.Context(main, info_name="vmsandbox", **main.context_settings)
    try:
        _parse(main, context, words)
    except click.exceptions.Exit:
        pass
    except click.UsageError as error:
        yield f"vmsandbox {shlex.join(words)}: {error.format_message()}"


def _parse(command: click.Command, context: click.Context, words: list[str]) -> None:
    """Parse as the command does. A value in capitals has no type, and a file of the reader's need not exist.

    Raises:
        click.UsageError: an option or a command does not exist, a value is not valid, or a word is missing or too many.
    """
    if isinstance(command, click.Group):
        _, rest, _ = command.make_parser(context).parse_args(list(words))
        if rest and not PLACEHOLDER.fullmatch(rest[0]):
            name, below, remaining = command.resolve_command(context, rest)
            if below is not None:
                _parse(below, click.Context(below, context, name, **below.context_settings), remaining)
        return
    try:
        command.parse_args(context, list(words))
    except click.MissingParameter:
        raise
    except click.BadParameter as error:
        if not any(PLACEHOLDER.fullmatch(word) for word in words) and not _ABSENT.search(error.format_message()):
            raise
