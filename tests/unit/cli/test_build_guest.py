"""`vmsandbox image build-guest`: what is asked of the builder of guest images."""

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
