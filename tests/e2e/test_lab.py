"""The laboratory by ssh: three sshd in network namespaces, with a stand-in for what `make setup` makes there."""

import json
import os
import re
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.fakes.lab_contract import ConnectionContract
from tests.support.lab_checkout import SETUP, make_checkout
from tests.support.ssh_hosts import SshHost, SshHosts, ssh_hosts
from tests.support.waiting import eventually
from vmsandbox.lab import COLUMNS, Connection, Hop, HostKeys, LabHost, Reach, dial

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshHosts]:
    with ssh_hosts(tmp_path_factory.mktemp("lab")) as hosts:
        yield hosts


@pytest.fixture(scope="module")
def by_jump_host(hosts: SshHosts) -> Iterator[Connection]:
    beta, gamma = (Hop(each.name, each.address, 22, "root", hosts.key) for each in (hosts.beta, hosts.gamma))
    reach = Reach(hosts.known_hosts, HostKeys.STRICT, 10, 20)
    connection = dial(LabHost(gamma, beta, False, "/nowhere/lab", ()), reach)
    yield connection
    connection.close()


class TestSsh(ConnectionContract):
    """The host is killed while the connection to its jump host stays, which is the harder way to lose it."""

    @pytest.fixture
    def connection(self, by_jump_host: Connection) -> Connection:
        return by_jump_host

    @pytest.fixture
    def vanish(self, hosts: SshHosts) -> Iterator[Callable[[], None]]:
        yield hosts.gamma.end_sshd
        hosts.gamma.serve()


@dataclass(frozen=True, slots=True)
class Lab:
    """The command line of a laboratory."""

    directory: Path
    hosts: SshHosts

    def of(self, host: SshHost) -> Path:
        """The directory of a host that `up` installs in."""
        return self.directory / host.name / "lab"

    def write(self, **settings: object) -> None:
        """Write the inventory."""
        entries = {
            host.name: {"address": host.address, "directory": str(self.of(host))}
            for host in (self.hosts.alpha, self.hosts.beta, self.hosts.gamma)
        }
        entries["gamma"]["jump"] = "gate"
        document = {
            "known_hosts": str(self.hosts.known_hosts),
            "defaults": {"key": str(self.hosts.key), "setup": list(SETUP)},
            "jump_hosts": {"gate": {"address": self.hosts.beta.address}},
            "hosts": entries,
        } | settings
        (self.directory / "lab.yaml").write_text(yaml.safe_dump(document))

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a command; the caller waits for it."""
        return subprocess.Popen(
            [sys.executable, "-m", "vmsandbox", "lab", "-i", "lab.yaml", *arguments], cwd=self.directory,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT), "SSH_AUTH_SOCK": ""},
        )  # fmt: skip

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return done(self.start(*arguments))


def done(process: "subprocess.Popen[str]") -> "subprocess.CompletedProcess[str]":
    """Wait for a command's end."""
    stdout, stderr = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


@pytest.fixture(scope="module")
def lab(hosts: SshHosts, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    directory = tmp_path_factory.mktemp("client")
    make_checkout(directory / "checkout")
    lab = Lab(directory, hosts)
    lab.write()
    return lab


@pytest.fixture
def full(lab: Lab) -> Iterator[Path]:
    """The directory of beta, on a disk with too little room. sshd sees the mounts that there are when it starts."""
    beta, directory = lab.hosts.beta, lab.of(lab.hosts.beta)
    directory.mkdir(parents=True)
    beta.end_sshd()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "lab-full", str(directory)], check=True)
    beta.serve()
    yield directory
    beta.end_sshd()
    subprocess.run(["umount", str(directory)], check=True)
    beta.serve()


def test_a_host_with_a_full_disk_and_one_that_vanishes_do_not_hold_up_the_others(lab: Lab, full: Path) -> None:
    """And a second `up` finishes what they have begun."""
    alpha, gamma = lab.of(lab.hosts.alpha), lab.of(lab.hosts.gamma)
    gamma.mkdir(parents=True)
    (gamma / "vmsandbox-lab").touch()
    (gamma / "hold").touch()
    (lab.directory / "checkout/ballast").write_bytes(os.urandom(600_000))
    subprocess.run(["git", "-C", str(lab.directory / "checkout"), "add", "ballast"], check=True)
    up = lab.start("up", "--checkout", "checkout")
    eventually((gamma / "held").exists)
    eventually((alpha / "current/.lab-ready").exists)  # the others go on, whatever gamma does
    lab.hosts.gamma.kill()
    failed = done(up)
    assert failed.returncode == 1
    lines = {line.split(": ")[0]: line for line in failed.stderr.splitlines() if re.search(": (ok|FAILED): ", line)}
    assert re.search(r": ok: \w{16} installed", lines["alpha"])
    assert re.search("beta: FAILED: the checkout could not be unpacked: .*No space left on device", lines["beta"])
    assert "gamma: FAILED: the connection was lost" in lines["gamma"]
    subprocess.run(["mount", "-o", "remount,size=8m", str(full)], check=True)
    (gamma / "hold").unlink()
    lab.hosts.gamma.serve()
    again = lab.run("up", "--checkout", "checkout")
    assert again.returncode == 0, again.stderr
    assert "was installed; set up again" in again.stderr  # alpha
    assert all((each / "current/.lab-ready").exists() for each in (alpha, full, gamma))


def test_one_table_shows_all_hosts(lab: Lab) -> None:
    assert lab.run("up", "--checkout", "checkout").returncode == 0
    checked = lab.run("check")
    assert checked.returncode == 0, checked.stderr
    heading, *rows = checked.stdout.splitlines()
    assert heading.split() == list(COLUMNS)
    assert [row.split()[0] for row in rows] == ["alpha", "beta", "gamma"]
    assert all(re.search(r" ok +TCG 9\.5s ", row) and os.uname().release in row for row in rows)


def test_whatever_is_wrong_with_a_host_has_one_clear_line(lab: Lab) -> None:
    alpha, beta = lab.hosts.alpha, lab.hosts.beta
    known = lab.directory / "other_known_hosts"
    known.write_text(f"{alpha.address} {alpha.key}\n[{alpha.address}]:2 {alpha.key}\n127.0.0.1 {alpha.key}\n")
    strange = lab.directory / "strange_known_hosts"
    hosts = {
        "good": {"address": alpha.address},
        "unknown": {"address": beta.address},
        "refused": {"address": alpha.address, "port": 2},
        "nobody": {"address": "no.such.host.invalid"},
        "stranger": {"address": alpha.address, "key": str(lab.hosts.stranger)},
        "keyless": {"address": alpha.address, "key": str(lab.directory / "absent")},
    }
    for each in hosts.values():
        each["directory"] = "/nowhere/lab"
    try:
        lab.write(hosts=hosts, known_hosts=str(known), jump_hosts={})
        checked = lab.run("check")
        assert checked.returncode == 1
        lines = dict(line.split(": FAILED: ") for line in checked.stderr.splitlines() if ": FAILED: " in line)
        assert "the key of root@" in lines["unknown"] and "is not known: ssh-ed25519 SHA256:" in lines["unknown"]
        assert "ssh-keyscan" in lines["unknown"]
        assert "cannot be reached: Connection refused" in lines["refused"]
        assert "the name is not known" in lines["nobody"]
        assert f"does not accept the key {lab.hosts.stranger}" in lines["stranger"]
        assert "is not there" in lines["keyless"]
        assert len(lines) == 5 and "good" not in lines
        assert [row.split()[:2] for row in checked.stdout.splitlines()[1:2]] == [["good", "none"]]
        lab.write(hosts={"beta": hosts["unknown"]}, known_hosts=str(strange), host_keys="accept-new", jump_hosts={})
        assert lab.run("check").returncode == 0
        assert strange.read_text() == f"{beta.address} {beta.key}\n"
        strange.write_text(f"{beta.address} {alpha.key}\n")
        changed = lab.run("check")
        assert changed.returncode == 1 and "differs from the one in" in changed.stderr
        assert "Traceback" not in checked.stderr + changed.stderr
    finally:
        lab.write()


def test_a_host_whose_cable_is_pulled_counts_as_gone_soon(lab: Lab) -> None:
    lab.write(silence_timeout=2, connect_timeout=2)
    (lab.directory / "pod.yaml").write_text("sleep")
    running = lab.start("-H", "alpha", "run", "pod.yaml")
    try:
        assert running.stdout is not None and running.stdout.readline() == "ran 5 characters\n"
        lab.hosts.alpha.cable("down")
        ended = done(running)
        assert ended.returncode == 1
        assert "alpha: FAILED: the connection was lost: the host has not answered for 2 s" in ended.stderr
        unreachable = lab.run("-H", "alpha", "check").stderr
        assert re.search("alpha: FAILED: .* cannot be reached: (no answer within 2 s|No route to host)", unreachable)
    finally:
        lab.hosts.alpha.cable("up")
        lab.write()


def test_a_pod_runs_there_and_ctrl_c_stops_it_there(lab: Lab) -> None:
    (lab.directory / "pod.yaml").write_text("sleep: SECRET=hunter2")
    running = lab.start("-H", "gamma", "run", "pod.yaml")
    assert running.stdout is not None and running.stdout.readline() == "ran 21 characters\n"
    running.send_signal(signal.SIGINT)
    ended = done(running)
    assert (ended.returncode, ended.stdout) == (130, "the pod ends\n"), ended.stderr
    assert "to stderr\n" in ended.stderr
    assert "hunter2" not in (lab.of(lab.hosts.gamma) / "calls").read_text()
    (lab.directory / "pod.yaml").write_text("short")
    short = lab.run("run", "pod.yaml")  # on the least busy one
    assert (short.returncode, short.stdout) == (3, "ran 5 characters\n")
    assert re.search("^(alpha|beta|gamma): running the pod$", short.stderr, re.M)


def test_ctrl_c_ends_what_runs_on_all_hosts_and_each_has_its_line(lab: Lab) -> None:
    gamma = lab.of(lab.hosts.gamma)
    (gamma / "held").unlink(missing_ok=True)
    (gamma / "hold").touch()
    up = lab.start("-H", "gamma", "up", "--checkout", "checkout")
    eventually((gamma / "held").exists)
    up.send_signal(signal.SIGINT)
    ended = done(up)
    (gamma / "hold").unlink()
    assert ended.returncode == 130
    assert ended.stderr.endswith("gamma: FAILED: stopped\n"), ended.stderr


def test_exec_and_logs_find_the_host_that_has_the_pod(lab: Lab) -> None:
    (lab.of(lab.hosts.beta) / "pods").mkdir()
    (lab.of(lab.hosts.beta) / "pods/web").touch()
    ran = lab.run("exec", "web", "false", "a b; $(id)", "--help")
    assert (ran.returncode, ran.stdout) == (5, "of beta exec web false a b; $(id) --help\n")
    assert lab.run("logs", "-n", "3", "web").stdout == "of beta logs --tail 3 web\n"
    absent = lab.run("logs", "absent")
    assert absent.returncode == 1 and "no host of the laboratory has a pod or container absent" in absent.stderr


def test_reports_come_back_also_where_tests_fail(lab: Lab) -> None:
    tested = lab.run("-H", "alpha", "-H", "beta", "test", "--into", "reports", "-k", "fail")
    assert tested.returncode == 1, tested.stderr
    assert tested.stderr.count("FAILED: ended with status 1 (2 passed, 1 failed); see reports/") == 2
    for name in ("alpha", "beta"):
        assert (lab.directory / "reports" / name / "junit.xml").read_text() == "<testsuites/>"
        assert "2 passed" in (lab.directory / "reports" / name / "test.log").read_text()
    measured = lab.run("-H", "gamma", "bench", "--into", "reports", "boots", "one", "12")
    assert measured.returncode == 0 and "gamma: ok: 12 boots, 1.0 s each" in measured.stderr
    assert "12 boots" in (lab.directory / "reports/gamma/bench-boots.log").read_text()
    assert json.loads((lab.directory / "reports/gamma/facts.json").read_text())["kernel"] == os.uname().release
    assert not list((lab.of(lab.hosts.gamma) / "reports").iterdir())


def test_down_removes_what_up_installed_and_a_bundle_says_who_was_missing(lab: Lab) -> None:
    lab.hosts.gamma.end_sshd()
    collected = lab.run("collect", "--into", "bundle.tar.gz")
    assert collected.returncode == 1 and "gamma: FAILED: " in collected.stderr
    with tarfile.open(lab.directory / "bundle.tar.gz") as tar:
        assert {"bundle/alpha/check.txt", "bundle/beta/versions.txt", "bundle/gamma/error.txt"} <= {*tar.getnames()}
    lab.hosts.gamma.serve()
    assert lab.run("down").returncode == 0
    assert not any(lab.of(host).exists() for host in (lab.hosts.alpha, lab.hosts.beta, lab.hosts.gamma))
