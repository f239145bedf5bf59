"""Software that meets over the files of a volume: SQLite, nginx with php-fpm, PostgreSQL; here and under containerd.

One pod here and one of the judge's hold the containers of all tests. VMSANDBOX_SQLITE_SECONDS is how long two writers
share one database.
"""

import logging
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.standins.images import SOFTWARE
from tests.standins.software import OWNER
from tests.support.conformance_client import Container, Pod, eventually
from tests.support.judged import judged_pods

log = logging.getLogger(__name__)

MIB = 1024 * 1024
SECONDS = int(os.environ.get("VMSANDBOX_SQLITE_SECONDS", "6"))
GROUP = 2001
DATABASE_USER = {"run_as_user": {"value": OWNER}, "run_as_group": {"value": OWNER}}

WRITER = """
cd /data
statements() {
    number=0
    # The comment keeps the pipe from holding more than some tens of them when time is up.
    while [ ! -e stop ]; do
        number=$((number + 1))
        printf "insert into row values('$1', $number); select $number; --%900s\n" x
    done
}
{ echo .timeout 60000; statements $1; } | sqlite3 -bail database >acknowledged.$1
"""


@dataclass(frozen=True)
class Side:
    """A pod, and the directory for its volumes."""

    pod: Pod
    directory: Path

    def volume(self, name: str, mode: int = 0o777, group: int = 0) -> Path:
        """A volume, as a kubelet makes it."""
        volume = self.directory / name
        volume.mkdir()
        os.chown(volume, 0, group)
        volume.chmod(mode)
        return volume

    def start(self, *command: str, volume: Path, path: str, user: dict[str, object] | None = None) -> Container:
        """A container with one volume."""
        mounts = [{"container_path": path, "host_path": str(volume)}]
        return self.pod.start(*command, image=SOFTWARE, mounts=mounts, security=user or {})


@pytest.fixture(scope="module")
def pods() -> Iterator[dict[str, Side]]:
    config = {"linux": {"resources": {"memory_limit_in_bytes": 256 * MIB}}}
    with judged_pods(config) as (ours, theirs, directory):
        (directory / "here").mkdir()
        (directory / "judge").mkdir()
        yield {"vmsandbox": Side(ours, directory / "here"), "containerd": Side(theirs, directory / "judge")}


@pytest.fixture(params=["vmsandbox", "containerd"])
def side(request: pytest.FixtureRequest, pods: dict[str, Side]) -> Side:
    return pods[request.param]


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_every_commit_of_two_writers_of_one_sqlite_database_is_there(side: Side, journal: str) -> None:
    volume = side.volume(f"sqlite-{journal}")
    first, second = (side.start(volume=volume, path="/data") for _ in range(2))
    schema = f"pragma journal_mode={journal}; create table row(writer, n);"
    assert first.output("sqlite3", "/data/database", schema).strip() == journal
    with ThreadPoolExecutor(2) as together:
        writers = [together.submit(_write, *each) for each in ((first, "a"), (second, "b"))]
        time.sleep(SECONDS)
        (volume / "stop").touch()
        commits = [writer.result() for writer in writers]
    assert second.output("sqlite3", "/data/database", "pragma integrity_check").strip() == "ok"
    for writer in ("a", "b"):
        query = f"select n from row where writer = '{writer}' order by n"
        assert first.output("sqlite3", "/data/database", query) == (volume / f"acknowledged.{writer}").read_text()
    log.info("%s: %s commits in %d s", journal, commits, SECONDS)
    assert min(commits) > 1


def _write(container: Container, writer: str) -> int:
    done = container.exec("sh", "-c", WRITER, "sh", writer, timeout=SECONDS + 120)
    assert (done.exit_code, done.stderr) == (0, b"")
    return int(container.output("sh", "-c", f"wc -l </data/acknowledged.{writer}"))


def test_nginx_reaches_php_fpm_over_a_socket_in_a_volume(side: Side) -> None:
    volume = side.volume("php")
    side.start("php-fpm8.4", "-n", "-y", "/etc/php-fpm.conf", volume=volume, path="/run/app")
    eventually((volume / "php.sock").is_socket)
    server = side.start("nginx", "-c", "/etc/nginx/php.conf", "-g", "daemon off;", volume=volume, path="/run/app")
    ask = ("wget", "-q", "-O", "-", "http://127.0.0.1:8080/?everyone")
    eventually(lambda: server.exec(*ask).exit_code == 0)
    assert server.output(*ask) == "php says 42 to everyone\n"


def test_a_client_reaches_postgresql_over_a_socket_in_a_volume(side: Side) -> None:
    volume = side.volume("postgres")
    postgres = ("/usr/lib/postgresql/17/bin/postgres", "-D", "/srv/database", "-k", "/run/app", "-h", "")
    side.start(*postgres, volume=volume, path="/run/app", user=DATABASE_USER)
    client = side.start(volume=volume, path="/run/app")
    psql = ("/usr/lib/postgresql/17/bin/psql", "-h", "/run/app", "-U", "postgres", "-qtA", "-c")
    eventually(lambda: client.exec(*psql, "select 1").exit_code == 0)
    made = "create table t as select generate_series(1, 100) as n; select sum(n) from t"
    assert client.output(*psql, made) == "5050\n"


def test_a_user_of_the_volume_s_group_keeps_a_database_in_it(side: Side) -> None:
    """Model a StatefulSet with fsGroup that is not root; its second container finds the data of the first."""
    volume = side.volume("stateful", 0o2770, GROUP)
    user = {"run_as_user": {"value": 2002}, "run_as_group": {"value": 2002}, "supplemental_groups": [GROUP]}
    first = side.start(volume=volume, path="/data", user=user)
    first.output("sqlite3", "/data/database", "create table kept(n); insert into kept values(42);")
    first.output("sh", "-c", "cd /data; mkdir d; touch d/f; mkfifo p; ln -s d/f l; ln d/f h")
    first.remove()
    second = side.start(volume=volume, path="/data", user=user)
    assert second.output("sqlite3", "/data/database", "select n from kept") == "42\n"
    listed = second.output("sh", "-c", "cd /data; stat -c '%n %u:%g %F' database d d/f p l h")
    kinds = {"database": "regular file", "d": "directory", "d/f": "regular empty file", "p": "fifo"}
    kinds |= {"l": "symbolic link", "h": "regular empty file"}
    assert listed.splitlines() == [f"{name} 2002:{GROUP} {kind}" for name, kind in kinds.items()]
