"""`vmsandbox config`: every mistake of a file, and the configuration as it takes effect."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from vmsandbox import config
from vmsandbox.cli.main import main
from vmsandbox.config import ConfigFile
from vmsandbox.errors import FailedPrecondition, VmsandboxError
from vmsandbox.node import settings


def shown(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    ran = CliRunner().invoke(main, words)
    printed = capfd.readouterr()
    return ran.exit_code, printed.out + ran.stdout, printed.err + ran.stderr


@pytest.fixture(autouse=True)
def host_that_has_all(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(file: ConfigFile) -> list[VmsandboxError]:
        return []

    monkeypatch.setattr(settings, "mistakes_of_host", nothing)


def test_a_valid_file_is_told_to_be_valid(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("log_level: debug")
    assert shown(capfd, "config", "check", str(file)) == (0, f"{file} is valid\n", "")
    assert shown(capfd, "--config", str(file), "config", "check") == (0, f"{file} is valid\n", "")


def test_all_mistakes_of_the_file_and_of_the_host_are_printed_by_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lacking(file: ConfigFile) -> list[VmsandboxError]:
        at = file.at("qemu_group")
        assert at is not None
        return [at.error("the group x does not exist", "make it"), FailedPrecondition("the default of a: b")]

    monkeypatch.setattr(settings, "mistakes_of_host", lacking)
    file = tmp_path / "c.yaml"
    file.write_text("log_level: loud\nqemu_group: x\nstreaming: {port: 99999}\n")
    assert shown(capfd, "config", "check", str(file)) == (
        1,
        "",
        f"error: 4 mistakes:\n"
        f"  the default of a: b\n"
        f"  {file}:1: log_level: 'loud' is not one of 'debug', 'info', 'warning', 'error'\n"
        f"  {file}:2: qemu_group: the group x does not exist (make it)\n"
        f"  {file}:3: streaming.port: 99999 is not a port: a number from 0 to 65535\n",
    )


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for words in (["config", "check", f"{tmp_path}/none"], ["--config", f"{tmp_path}/none", "config", "show"]):
        assert shown(capfd, *words) == (1, "", f"error: there is no configuration file {tmp_path}/none\n")


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_what_is_shown_is_a_configuration_file_itself(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], form: str
) -> None:
    file, again = tmp_path / "c.yaml", tmp_path / "again.yaml"
    file.write_text("handlers: {large: {memory: 4Gi}}\nlog_level: debug")
    status, printed, _ = shown(capfd, "--config", str(file), "config", "show", "-o", form)
    again.write_text(printed)
    assert status == 0
    assert config.load(again) == config.load(file)
    assert shown(capfd, "--config", str(again), "config", "show", "-o", form) == (0, printed, "")


def test_defaults_are_shown_whatever_the_file_says(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("log_level: debug")
    status, printed, _ = shown(capfd, "--config", str(file), "config", "show", "--defaults", "-o", "json")
    assert status == 0
    assert json.loads(printed) == config.as_document(config.Config())
