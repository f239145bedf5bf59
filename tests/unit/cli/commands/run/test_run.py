"""The command line of `run`: files and images are told apart, and what is wrong is said with what to do."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from vmsandbox.cli.commands.run.run_options import is_file
from vmsandbox.cli.main import main
from vmsandbox.pod.options import REFUSED

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: alpine}]}\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pod.yaml").write_text(POD)
    (tmp_path / "config.yaml").write_text(f"socket: {tmp_path}/absent.sock\nstate_directory: {tmp_path}/state\n")
    return tmp_path


def run(*words: str, stdin: str = "") -> Result:
    return CliRunner().invoke(main, ["--config", "config.yaml", "run", *words], input=stdin)


def said(capfd: pytest.CaptureFixture[str], ran: Result) -> str:
    return capfd.readouterr().err + ran.output


def test_a_file_is_dash_a_name_that_ends_as_manifests_do_or_what_exists(here: Path) -> None:
    (here / "manifest").touch()
    (here / "directory").mkdir()
    assert all(map(is_file, ("-", "absent.yaml", "absent.yml", "absent.json", "manifest")))
    assert not any(map(is_file, ("alpine", "directory", "docker.io/library/alpine:3.20")))


def test_a_dry_run_of_an_image_prints_a_pod_that_runs_as_a_file(capfd: pytest.CaptureFixture[str]) -> None:
    first = run("--dry-run", "--name", "web", "-e", "A=1", "alpine", "sh", "-c", "echo $A", "--dry-run")
    assert first.exit_code == 0, said(capfd, first)
    printed = first.output or capfd.readouterr().out
    again = run("--dry-run", "-", stdin=printed)
    assert (again.output or capfd.readouterr().out) == printed
    assert "- --dry-run" in printed


def test_a_dry_run_prints_json_too(capfd: pytest.CaptureFixture[str]) -> None:
    ran = run("pod.yaml", "--dry-run", "-o", "json")
    assert json.loads(ran.output or capfd.readouterr().out)["metadata"] == {"name": "p"}


def test_options_for_images_are_refused_with_files() -> None:
    ran = run("-e", "A=1", "--memory", "1g", "pod.yaml")
    assert ran.exit_code == 2
    assert "--env, --memory: for an IMAGE only" in ran.output


@pytest.mark.parametrize("words", [("pod.yml",), ("-f", "pd.yaml"), ("./pod",)])
def test_a_mistyped_file_gets_the_name_of_one_that_is_there(
    words: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    ran = run(*words)
    assert ran.exit_code == 125
    assert "did you mean the file pod.yaml?" in said(capfd, ran)


def test_an_image_whose_name_cannot_be_one_gets_the_hint_of_a_file(capfd: pytest.CaptureFixture[str]) -> None:
    ran = run("Pod.yaml:")
    assert ran.exit_code == 125
    assert "did you mean the file pod.yaml?" in said(capfd, ran)


def test_neither_a_file_nor_an_image_is_a_wrong_command_line() -> None:
    assert run().exit_code == 2


@pytest.mark.parametrize("name", REFUSED)
def test_an_option_of_podman_without_a_meaning_is_refused_with_the_reason(name: str) -> None:
    ran = run(name, "x", "alpine")
    assert ran.exit_code == 2
    assert f"{name} of podman run is not supported: {REFUSED[name]}" in " ".join(ran.output.split())


def test_help_shows_the_options_in_groups_and_not_those_that_are_refused() -> None:
    shown = run("--help").output
    assert shown.index("Files and images:") < shown.index("Storage of IMAGE:") < shown.index("Examples:")
    assert "--gpus" not in shown
