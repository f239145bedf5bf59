"""TAB completes the names that the daemon knows, and is silent where none answers."""

import pytest
from click.shell_completion import ShellComplete

from tests.support.cri import IMAGE
from vmsandbox.cli.commands import names
from vmsandbox.cli.main import main


@pytest.fixture
def complete(vmsandbox, capfd):
    def completed(*words):
        shell = ShellComplete(main, {}, "vmsandbox", "_VMSANDBOX_COMPLETE")
        *given, incomplete = words
        arguments = ["--config", str(vmsandbox.directory / "config.yaml"), *given]
        found = [item.value for item in shell.get_completions(arguments, incomplete)]
        assert capfd.readouterr() == ("", "")
        return found

    vmsandbox.container(vmsandbox.pod("web"), "server")
    vmsandbox.pod("database")
    return completed


@pytest.mark.parametrize("command", ["stop", "rm", "kill", "logs", "exec", "attach", "stats"])
def test_pods_and_containers_are_completed(complete, command):
    assert complete(command, "") == ["database", "web", "web/server"]
    assert complete(command, "web/") == ["web/server"]


def test_a_name_is_not_offered_twice(complete):
    assert complete("stop", "web", "") == ["database", "web/server"]


def test_ports_are_of_pods_alone(complete):
    assert complete("port-forward", "w") == ["web"]


@pytest.mark.parametrize("words", [("rmi",), ("image", "inspect"), ("image", "rm"), ("pull",)])
def test_images_are_completed(complete, words):
    assert complete(*words, "") == [IMAGE.repo_tags[0]]


def test_run_completes_images_and_else_files(complete):
    assert complete("run", "registry") == [IMAGE.repo_tags[0]]
    assert complete("run", "no-such") == ["no-such"]
    assert complete("run", "pod.yaml", "") == [""]


def test_inspect_completes_all_kinds(complete):
    assert complete("inspect", "") == ["database", IMAGE.repo_tags[0], "web", "web/server"]


def test_without_a_daemon_nothing_is_offered_and_nothing_is_said(complete, vmsandbox):
    (vmsandbox.directory / "config.yaml").write_text(f"socket: {vmsandbox.directory}/absent\nrun_directory: /absent\n")
    assert complete("stop", "") == []
    (vmsandbox.directory / "config.yaml").write_text("socket: [")
    assert complete("stop", "") == []


def test_a_daemon_that_hangs_is_not_waited_for(complete, monkeypatch):
    async def hang(client):
        import asyncio

        await asyncio.Event().wait()

    monkeypatch.setattr(names, "DEADLINE", 0.05)
    monkeypatch.setitem(names._NAMES, "pod", hang)
    assert complete("stop", "") == []
