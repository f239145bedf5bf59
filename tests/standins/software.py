"""The layer with software that shares files, sockets and locks: SQLite, php-fpm behind nginx, PostgreSQL."""

import shutil
from pathlib import Path

from tests.standins.workshop import Workshop

_NGINX = """\
user www-data;
worker_processes 1;
pid /tmp/nginx.pid;
error_log /dev/stderr;
events { worker_connections 64; }
http {
    access_log off;
    server {
        listen 127.0.0.1:8080;
        location / {
            fastcgi_pass unix:/run/app/php.sock;
            fastcgi_param SCRIPT_FILENAME /srv/answer.php;
            fastcgi_param REQUEST_METHOD $request_method;
            fastcgi_param QUERY_STRING $query_string;
        }
    }
}
"""
_FPM = """\
[global]
daemonize = no
error_log = /dev/stderr
[www]
user = www-data
group = www-data
listen = /run/app/php.sock
listen.owner = www-data
listen.group = www-data
pm = static
pm.max_children = 1
"""
_POSTGRES = "usr/lib/postgresql/17"
_DATABASE = "srv/database"
_INITDB = (
    f"/{_POSTGRES}/bin/initdb", f"--pgdata=/{_DATABASE}", "--no-sync", "--username=postgres", "--auth=trust",
    "--no-locale", "--encoding=UTF8", "--wal-segsize=1", "--set=timezone=GMT", "--set=log_timezone=GMT",
    "--set=shared_buffers=16MB", "--set=dynamic_shared_memory_type=mmap", "--set=max_connections=10",
)  # fmt: skip
"""Small, and without what lies outside of the packages that are taken."""
OWNER = 1000
"""User and group of the database; PostgreSQL refuses to be root."""


def software(workshop: Workshop, tree: Path) -> None:
    """The programs, their configuration (/etc/nginx/php.conf, /etc/php-fpm.conf), and an empty database cluster."""
    for program in ("usr/bin/sqlite3", "usr/sbin/php-fpm8.4", f"{_POSTGRES}/bin/postgres", f"{_POSTGRES}/bin/psql"):
        workshop.take(program, tree)
    for library in ("plpgsql.so", "dict_snowball.so"):
        workshop.take(f"{_POSTGRES}/lib/{library}", tree)
    for name, content in {"etc/nginx/php.conf": _NGINX, "etc/php-fpm.conf": _FPM}.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(content)
    _make_database(workshop)
    for directory in (f"usr/share/{_POSTGRES.removeprefix('usr/lib/')}", _DATABASE):
        shutil.copytree(workshop.root / directory, tree / directory)
    (tree / "srv/answer.php").write_text("<?php echo 'php says ', 6 * 7, ' to ', $_SERVER['QUERY_STRING'], \"\\n\";\n")
    for path in (tree / _DATABASE, *(tree / _DATABASE).rglob("*")):
        shutil.chown(path, OWNER, OWNER)


def _make_database(workshop: Workshop) -> None:
    """Have initdb(1) make a cluster in the workshop; under an emulated CPU it would take a minute."""
    root = workshop.root
    (root / "usr/bin/sh").symlink_to("busybox")
    for name in ("tmp", "dev/shm"):
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name).chmod(0o1777)
    database = root / _DATABASE
    database.mkdir(parents=True)
    shutil.chown(database, OWNER, OWNER)
    (root / "etc/passwd").write_text(f"database:x:{OWNER}:{OWNER}::/:/bin/sh\n")
    workshop.run(*_INITDB, user=OWNER)
