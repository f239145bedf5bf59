"""The rules that tools can check: types, style, layers, and how large a module may become."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
LONGEST_MODULE = 350
"""Lines; about 120 is the aim. The longest module is that of a sandbox."""


def _run(*command: str, **environment: str) -> None:
    ran = subprocess.run(
        command, cwd=CHECKOUT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, f"{command[0]} says:\n{ran.stdout[-8000:]}{ran.stderr[-2000:]}"


@pytest.mark.lint
@pytest.mark.timeout(600)
def test_types_hold() -> None:
    _run(str(BIN / "mypy"))


@pytest.mark.lint
def test_style_holds() -> None:
    _run(str(BIN / "ruff"), "check", ".")


@pytest.mark.lint
def test_code_is_formatted() -> None:
    _run(str(BIN / "ruff"), "format", "--check", ".")


@pytest.mark.lint
@pytest.mark.skipif(not (BIN / "vulture").exists(), reason="needs vulture: `make setup`")
def test_nothing_is_there_that_nobody_uses() -> None:
    _run(str(BIN / "vulture"))


@pytest.mark.lint
def test_imports_point_one_way() -> None:
    _run(str(BIN / "lint-imports"), PYTHONPATH="agent")


def test_the_files_that_newcomers_are_sent_to_exist() -> None:
    named = re.findall(
        r"`((?:agent|docs|examples|tests|vmsandbox)/[\w./-]+)`", (CHECKOUT / "CONTRIBUTING.md").read_text()
    )
    assert len(named) > 20
    assert [path for path in named if not (CHECKOUT / path).exists()] == ["vmsandbox/cli/commands/ROOM/NAME.py"]


@pytest.mark.parametrize("package", ["vmsandbox", "agent"])
def test_no_module_is_a_god(package: str) -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in (CHECKOUT / package).rglob("*.py")}
    assert {str(path): lines for path, lines in lengths.items() if lines > LONGEST_MODULE} == {}


def test_the_agent_can_be_imported_without_side_effects() -> None:
    _run(sys.executable, "-c", "import vmsandbox_agent.__main__", PYTHONPATH="agent")
