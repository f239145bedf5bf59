"""`vmsandbox image build-guest`: what is asked of the builder of guest images."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from vmsandbox.cli.commands.images import build_guest


@pytest.mark.parametrize(
    ("words", "kernel"), [((), ""), (("--kernel", "small"), "small"), (("--kernel", "debian"), "debian")]
)
def test_the_kernel_is_the_one_that_was_asked_for_and_else_the_builders_choice(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...], kernel: str
) -> None:
    asked: dict[str, Any] = {}

    async def build(**arguments: Any) -> SimpleNamespace:
        asked.update(arguments)
        return SimpleNamespace(directory=tmp_path)

    monkeypatch.setattr(build_guest, "build_guest_image", build)
    ended = CliRunner().invoke(build_guest.build_guest, ["--output", str(tmp_path), *words])
    assert (ended.exit_code, ended.stdout.strip()) == (0, str(tmp_path))
    assert asked["kernel"] == kernel


def test_a_kernel_that_there_is_not_is_refused() -> None:
    ended = CliRunner().invoke(build_guest.build_guest, ["--kernel", "large"])
    assert ended.exit_code == 2 and "'large' is not one of 'debian', 'small'" in ended.output


@pytest.mark.parametrize(
    ("kernel", "running", "started", "says"),
    [
        ("debian", None, True, "kill 77"),
        ("debian", 55, False, "kill 55"),
        ("small", None, False, "has the small kernel already"),
    ],
    ids=["Debian's", "one is being compiled", "small"],
)
def test_a_small_kernel_is_compiled_in_the_background_where_the_image_has_debians(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kernel: str, running: int | None, started: bool, says: str
) -> None:
    commands: list[Sequence[str]] = []

    async def start(command: Sequence[str], output: Path) -> SimpleNamespace:
        assert output == tmp_path
        commands.append(command)
        return SimpleNamespace(pid=77)

    monkeypatch.setattr(build_guest, "load_image", lambda directory: directory)
    monkeypatch.setattr(build_guest, "kernel_of", lambda image: kernel)
    monkeypatch.setattr(build_guest, "compiling", lambda output: running)
    monkeypatch.setattr(build_guest, "start_in_background", start)
    words = ["--small-in-background", "--output", str(tmp_path), "--mirror", "http://mirror.example/debian"]
    ended = CliRunner().invoke(build_guest.build_guest, words)
    assert (ended.exit_code, bool(commands)) == (0, started)
    assert says in ended.stderr
    for command in commands:
        parsed = build_guest.build_guest.make_context("build-guest", list(command[5:])).params
        assert command[1:5] == ["-m", "vmsandbox", "image", "build-guest"]
        assert (parsed["kernel"], parsed["directory"], parsed["mirror"]) == (
            "small",
            tmp_path,
            "http://mirror.example/debian",
        )
