"""logs: which lines, of which containers, and where they go."""

import re
from dataclasses import replace

import click
import pytest

from vmsandbox.cli.commands.pods.logs import moment
from vmsandbox.model import ContainerMetadata
from vmsandbox.moments import rfc3339

HOUR = 3600 * 10**9
BEGIN = 1_700_000_000 * 10**9


def log_of(vmsandbox, container, *lines):
    """Write a container's log: a line for each hour, of `stdout text`, or `stdout- text` for a piece of one."""
    path = vmsandbox.directory / "logs" / container / "0.log"
    path.parent.mkdir(parents=True)
    entries = []
    for hour, line in enumerate(lines):
        stream, _, text = line.partition(" ")
        tag = "P" if stream.endswith("-") else "F"
        entries.append(f"{rfc3339(BEGIN + hour * HOUR)} {stream.rstrip('-')} {tag} {text}\n")
    path.write_text("".join(entries))
    runtime = vmsandbox.served.runtime
    runtime.containers[container] = replace(runtime.containers[container], log_path=str(path))
    return path


@pytest.fixture
def web(vmsandbox):
    pod = vmsandbox.pod("web")
    log_of(vmsandbox, vmsandbox.container(pod, "server"), "stdout one", "stdout- tw", "stdout o", "stderr three")
    return pod


def test_streams_stay_apart_and_pieces_become_lines(vmsandbox, web):
    shown = vmsandbox("logs", "web")
    assert (shown.status, shown.out, shown.err) == (0, "one\ntwo\n", "three\n")


@pytest.mark.parametrize(("tail", "out", "err"), [("0", "", ""), ("1", "", "three\n"), ("2", "two\n", "three\n")])
def test_tail_counts_lines(vmsandbox, web, tail, out, err):
    shown = vmsandbox("logs", "--tail", tail, "web")
    assert (shown.out, shown.err) == (out, err)


def test_since_leaves_out_what_is_older(vmsandbox, web):
    shown = vmsandbox("logs", "--since", rfc3339(BEGIN + 3 * HOUR), "--tail", "5", "web")
    assert (shown.out, shown.err) == ("", "three\n")


def test_timestamps_are_those_of_the_log(vmsandbox, web):
    assert vmsandbox("logs", "-t", "--tail", "1", "web").err == f"{rfc3339(BEGIN + 3 * HOUR)} three\n"


def test_a_pod_with_several_containers_shows_all_with_their_names(vmsandbox, web):
    log_of(vmsandbox, vmsandbox.container(web, "db"), "stdout- be", "stdout gun", "stdout- no end")
    shown = vmsandbox("logs", "web")
    assert (shown.status, shown.err) == (0, "web/server | three\n")
    assert shown.out.splitlines() == [
        "web/server | one",
        "web/server | two",
        "web/db     | begun",
        "web/db     | no end",
    ]


def test_each_name_that_has_a_log_is_shown(vmsandbox, web):
    vmsandbox.container(vmsandbox.pod("silent"), "main")
    shown = vmsandbox("logs", "nope", "silent", "web")
    assert shown.status == 1
    assert "there is no container nope" in shown.err
    assert "container silent/main has no log" in shown.err
    assert "one" in shown.out


def test_the_previous_attempt_is_that_before_the_last_restart(vmsandbox, web):
    runtime = vmsandbox.served.runtime
    (first,) = runtime.containers
    runtime.end(first, 1)
    second = vmsandbox.container(web, "server", metadata=ContainerMetadata("server", 1))
    log_of(vmsandbox, second, "stdout second attempt")
    assert vmsandbox("logs", "web").out == "second attempt\n"
    assert vmsandbox("logs", "-p", "web").out == "one\ntwo\n"


def test_the_previous_log_of_a_removed_attempt_is_found_beside_the_present_one(vmsandbox, web):
    runtime = vmsandbox.served.runtime
    (first,) = runtime.containers
    old = log_of(vmsandbox, vmsandbox.container(vmsandbox.pod("x"), "y"), "stdout old")
    runtime.change(first, config=replace(runtime.containers[first].config, metadata=ContainerMetadata("server", 1)))
    runtime.change(first, log_path=str(old.with_name("1.log")))
    assert vmsandbox("logs", "--previous", "web").out == "old\n"
    old.unlink()
    assert "the previous log of container web/server is gone" in vmsandbox("logs", "--previous", "web").err


def test_a_container_that_was_never_restarted_has_no_previous_log(vmsandbox, web):
    refused = vmsandbox("logs", "-p", "web")
    assert refused.status == 1
    assert "has not been restarted" in refused.err


def test_of_attempts_that_ended_a_name_means_the_last(vmsandbox, web):
    runtime = vmsandbox.served.runtime
    second = vmsandbox.container(web, "server", metadata=ContainerMetadata("server", 1))
    for container in list(runtime.containers):
        runtime.end(container, 1)
    log_of(vmsandbox, second, "stdout last")
    assert vmsandbox("logs", "web").out == "last\n"


@pytest.mark.parametrize(("text", "seconds"), [("10s", 10), ("1h30m", 5400), ("1.5m", 90), ("2d", 172_800)])
def test_a_duration_is_counted_from_now(text, seconds):
    earliest = moment(f"{seconds + 5}s")
    assert earliest < moment(text) < moment(f"{seconds - 5}s")


@pytest.mark.parametrize("text", ["2023-11-14T22:13:20Z", "2023-11-14T23:13:20+01:00", "2023-11-14T22:13:20.0Z"])
def test_a_time_is_read_in_any_zone(text):
    assert moment(text) == "2023-11-14T22:13:20.000000000Z"


@pytest.mark.parametrize("text", ["", "yesterday", "10", "10x", "-5m", "2023-13-01T00:00:00Z"])
def test_what_is_neither_is_refused(text):
    with pytest.raises(click.BadParameter, match=re.escape(repr(text))):
        moment(text)
