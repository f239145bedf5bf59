"""console: what a machine has printed, obeyed by nobody, once or until its end."""

import threading
import time
from dataclasses import replace

import pytest

from vmsandbox.cli.commands.pods import console
from vmsandbox.model import SandboxState


@pytest.fixture
def web(vmsandbox, monkeypatch):
    monkeypatch.setattr(console, "INTERVAL", 0.01)
    return vmsandbox, vmsandbox.pod("web")


def test_lines_are_printed_and_control_characters_shown(web):
    vmsandbox, pod = web
    vmsandbox.served.runtime.consoles[pod] = b"Linux version 6\r\n\x1b[31mred\x1b[0m \x1b[6n\nhalf"
    ran = vmsandbox("console", "web")
    assert (ran.status, ran.out) == (0, "Linux version 6\nred ^[[6n\nhalf\n")


def test_a_console_that_is_followed_ends_with_the_pod(web):
    vmsandbox, pod = web
    runtime = vmsandbox.served.runtime
    runtime.consoles[pod] = b"one\ntw"

    def go_on():
        time.sleep(0.3)
        runtime.consoles[pod] += b"o\nthree\n"
        time.sleep(0.3)
        runtime.sandboxes[pod] = replace(runtime.sandboxes[pod], state=SandboxState.NOTREADY)

    thread = threading.Thread(target=go_on)
    thread.start()
    ran = vmsandbox("console", "-f", "web")
    thread.join()
    assert (ran.status, ran.out) == (0, "one\ntwo\nthree\n")


def test_a_guest_that_has_printed_nothing_is_said_to(web):
    ran = web[0]("console", "web")
    assert (ran.status, ran.out) == (0, "")
    assert "the guest has printed nothing since the daemon watches it" in ran.err


def test_a_pod_that_is_not_there_is_an_error(web):
    ran = web[0]("console", "nope")
    assert (ran.status, ran.out) == (1, "")
    assert "there is no pod nope" in ran.err
