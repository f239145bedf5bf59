"""stop, rm and kill: all names are dealt with, pods' grace periods are kept, and each failure is said."""

import pytest

GRACE = "io.kubernetes.pod.terminationGracePeriod"


@pytest.fixture
def web(vmsandbox):
    """A pod with two containers."""
    pod = vmsandbox.pod("web")
    vmsandbox.container(pod, "server", annotations={GRACE: "42"})
    vmsandbox.container(pod, "sidecar", annotations={GRACE: "42"})
    return pod


def calls(vmsandbox, *names):
    return [call for call in vmsandbox.served.runtime.calls if call[0] in names]


def test_stop_gives_all_containers_of_a_pod_its_grace_period_at_once(vmsandbox, web):
    ran = vmsandbox("stop", "web")
    assert (ran.status, ran.out, ran.err) == (0, "web\n", "")
    assert calls(vmsandbox, "end_pod", "stop_container") == [("end_pod", web, 42)]
    assert vmsandbox("pods", "--filter", "status=ready", "-q").out == ""


def test_stop_takes_the_timeout_of_the_command_line(vmsandbox, web):
    assert vmsandbox("stop", "--timeout", "3", "default/web").status == 0
    assert calls(vmsandbox, "end_pod") == [("end_pod", web, 3)]


def test_containers_of_an_unknown_grace_period_have_ten_seconds(vmsandbox):
    container = vmsandbox.container(vmsandbox.pod("old"))
    assert vmsandbox("stop", "old/main").status == 0
    assert calls(vmsandbox, "stop_container") == [("stop_container", container, 10)]


def test_stop_reaches_every_name_and_fails_for_those_that_are_not_there(vmsandbox, web):
    ran = vmsandbox("stop", "nope", "web")
    assert (ran.status, ran.out) == (1, "web\n")
    assert "there is no pod or container nope" in ran.err
    assert calls(vmsandbox, "end_pod") == [("end_pod", web, 42)]


@pytest.mark.parametrize("words", [("stop",), ("kill",), ("rm", "--force"), ("logs",), ("exec",)])
def test_an_empty_name_is_not_the_beginning_of_every_id(vmsandbox, words):
    vmsandbox.container(vmsandbox.pod("alone"))
    before = len(vmsandbox.served.runtime.calls)
    ran = vmsandbox(*words, "", *(["true"] if words == ("exec",) else []))
    if words != ("rm", "--force"):  # To which what is not there is no failure.
        assert ran.status in (1, 125) and "there is no " in ran.err and " ''" in ran.err
    assert not {name for name, *_ in vmsandbox.served.runtime.calls[before:]} - {
        "list_containers",
        "list_pod_sandboxes",
    }


def test_a_name_that_is_not_there_can_be_ignored(vmsandbox, web):
    ran = vmsandbox("stop", "--ignore", "nope", "web")
    assert (ran.status, ran.out, ran.err) == (0, "web\n", "")


def test_all_stops_the_pods_that_are_ready(vmsandbox, web):
    other = vmsandbox.pod("other")
    vmsandbox.call(vmsandbox.served.runtime.stop_pod_sandbox(vmsandbox.pod("ended")))
    assert vmsandbox("stop", "--all").out.split() == [web, other]
    assert vmsandbox("stop", "--all").out == ""


@pytest.mark.parametrize("command", ["stop", "rm", "kill"])
def test_names_and_all_exclude_each_other(vmsandbox, command):
    assert vmsandbox(command).status == 2
    assert vmsandbox(command, "--all", "web").status == 2


def test_stop_of_a_delegates_pod_asks_its_containers_together(vmsandbox, web):
    from vmsandbox.errors import NotFound

    vmsandbox.served.runtime.errors["end_pod"] = NotFound(f"there is no sandbox {web}")
    assert vmsandbox("stop", "web").status == 0
    assert [call[2] for call in calls(vmsandbox, "stop_container")] == [42, 42]
    assert calls(vmsandbox, "stop_pod_sandbox") == [("stop_pod_sandbox", web)]


def test_rm_removes_what_has_ended_and_says_what_runs(vmsandbox, web):
    ended = vmsandbox.pod("ended")
    vmsandbox("stop", "ended")
    ran = vmsandbox("rm", "web", "ended")
    assert (ran.status, ran.out) == (1, "ended\n")
    assert "error: web runs\ntry: `vmsandbox stop web` first, or --force" in ran.err
    assert calls(vmsandbox, "remove_pod_sandbox") == [("remove_pod_sandbox", ended)]


def test_rm_by_force_removes_what_runs_and_does_not_mind_what_is_not_there(vmsandbox, web):
    ran = vmsandbox("rm", "-f", "nope", "web")
    assert (ran.status, ran.out, ran.err) == (0, "web\n", "")
    assert vmsandbox("pods", "-q").out == ""


def test_rm_of_all_leaves_those_that_run(vmsandbox, web):
    ended = vmsandbox.pod("ended")
    vmsandbox("stop", "ended")
    assert vmsandbox("rm", "--all").out == f"{ended}\n"
    assert vmsandbox("rm", "--all", "--force").out == f"{web}\n"


def test_kill_ends_a_container_at_once(vmsandbox, web):
    assert vmsandbox("kill", "web/server").status == 0
    assert [call[2] for call in calls(vmsandbox, "stop_container")] == [0]


def test_kill_sends_a_signal_to_each_container_of_a_pod(vmsandbox, web):
    assert vmsandbox("kill", "-s", "HUP", "web").out == "web\n"
    assert [call[2] for call in calls(vmsandbox, "signal_container")] == ["HUP", "HUP"]


def test_a_signal_that_does_not_exist_is_an_error(vmsandbox, web):
    ran = vmsandbox("kill", "-s", "NOPE", "web/server")
    assert ran.status == 1
    assert "there is no signal 'NOPE'" in ran.err


def test_a_runtime_without_signals_is_said_with_what_else_to_try(vmsandbox, web):
    from vmsandbox.errors import NotFound

    vmsandbox.served.runtime.errors["signal_container"] = NotFound("there is no container")
    ran = vmsandbox("kill", "-s", "HUP", "web/server")
    assert ran.status == 1
    assert "vmsandbox exec server kill -s HUP 1" in ran.err
