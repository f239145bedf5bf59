"""stats: what containers use, as a table and for programs."""

import json

import pytest

from vmsandbox.cli.commands.pods import stats
from vmsandbox.cli.commands.pods.stats import _cpu_percent
from vmsandbox.cri.client import Reading


@pytest.fixture
def web(vmsandbox, monkeypatch):
    monkeypatch.setattr(stats, "INTERVAL", 0.01)
    vmsandbox.container(vmsandbox.pod("web"), "server")
    vmsandbox.container(vmsandbox.pod("database"), "engine")
    return vmsandbox


def test_each_container_has_a_line(web):
    heading, first, second = web("stats", "--no-stream").out.splitlines()
    assert heading.split()[:4] == ["CONTAINER", "ID", "NAME", "CPU"]
    assert (first.split()[1], second.split()[1]) == ("database/engine", "web/server")
    assert "3.1kB / 8.2kB" in first
    assert "3.0kB / 2.0kB" in first


def test_programs_get_numbers(web):
    (shown,) = json.loads(web("stats", "-o", "json", "web").out)
    assert (shown["name"], shown["pod"], shown["cpuPercent"]) == ("server", "web", 0.0)
    assert (shown["memory"], shown["memoryLimit"], shown["memoryPercent"]) == (3072, 8192, 37.5)
    assert (shown["networkReceived"], shown["networkSent"], shown["processes"]) == (3000, 2000, 2)
    assert shown["blockRead"] is not None


def test_a_name_that_is_not_there_is_an_error(web):
    ran = web("stats", "nope")
    assert (ran.status, ran.out) == (1, "")
    assert "there is no container nope" in ran.err


def reading(at, cpu):
    return Reading("c", at, cpu, *[None] * 7)


@pytest.mark.parametrize(
    ("before", "after", "percent"),
    [
        (reading(0, 0), reading(10**9, 5 * 10**8), 50.0),
        (reading(0, 0), reading(10**9, 2 * 10**9), 200.0),
        (reading(0, 9), reading(10**9, 1), 0.0),
        (None, reading(10**9, 1), None),
        (reading(5, 0), reading(5, 9), None),
        (reading(0, None), reading(1, None), None),
    ],
)
def test_the_use_of_cpus_is_the_difference_of_two_readings(before, after, percent):
    assert _cpu_percent(before, after) == percent
