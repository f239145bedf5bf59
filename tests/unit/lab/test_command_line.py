"""`vmsandbox lab`: what it imports, and how it ends."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.fakes.lab import host
from vmsandbox.cli.commands.lab.laboratory import conclude
from vmsandbox.cli.main import main
from vmsandbox.errors import Unavailable
from vmsandbox.lab import Outcome

_HELP = """
import sys
from click.testing import CliRunner
from vmsandbox.cli.main import main
for command in (["lab"], ["lab", "up"], ["lab", "run"]):
    assert "Usage" in CliRunner().invoke(main, [*command, "--help"]).output
print(sorted({"paramiko", "vmsandbox.lab", "tenacity"} & set(sys.modules)))
"""


def test_help_imports_nothing_of_ssh() -> None:
    ran = subprocess.run([sys.executable, "-c", _HELP], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_each_host_has_one_line_and_a_failure_is_in_the_exit_status(capfd: pytest.CaptureFixture[str]) -> None:
    alpha, beta = host("alpha", Path("/a/b")), host("beta", Path("/a/b"))
    conclude([Outcome(alpha, 2.4, "installed")])
    with pytest.raises(SystemExit) as ended:
        conclude(
            [Outcome(alpha, 2.4, "installed"), Outcome(beta, 0.1, error=Unavailable("it is gone\x1b[2J", hint="look"))]
        )
    assert ended.value.code == 1
    said = capfd.readouterr().err.splitlines()
    assert said == ["alpha: ok: installed (2 s)"] * 2 + ["beta: FAILED: it is gone; try: look"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check"], "there is no inventory lab.yaml"),
        (["-i", "wrong.yaml", "check"], "wrong.yaml:1: hosts.a.adress: there is no such field"),
        (["-i", "right.yaml", "-H", "beta", "check"], "the inventory has no host beta"),
        (["-i", "right.yaml", "up", "--checkout", "."], "is not a git checkout"),
        (["-i", "right.yaml", "logs", "--", "-x"], "-x is not the name of a container"),
    ],
)
def test_a_mistake_is_said_before_any_host_is_dialled(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("wrong.yaml").write_text("hosts: {a: {adress: 192.0.2.1}}")
    Path("right.yaml").write_text("hosts: {a: {address: 192.0.2.1}}")
    ran = CliRunner().invoke(main, ["lab", *arguments])
    assert ran.exit_code == 1
    assert said in capfd.readouterr().err + ran.output
