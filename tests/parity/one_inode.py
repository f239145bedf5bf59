"""Rows of the table: what several mounts of one directory show is one directory."""

from tests.parity.behaviour import Behaviour, Place

ROOT = {"run_as_user": {"value": 0}}

_TWICE = (Place("/a"), Place("/b"))
_PART_AND_WHOLE = (Place("/part", "sub"), Place("/whole"))
_READ_AND_WRITE = (Place("/reads", readonly=True), Place("/writes"))
_ITEM_1 = "issue 10, item 1"

ONE_INODE = (
    Behaviour(
        "a directory that is mounted twice is one", _ITEM_1,
        "for f in '' /file /page /sub; do [ /a$f -ef /b$f ] && echo one; done", places=_TWICE,
    ),
    Behaviour(
        "a Unix socket by another mount", f"{_ITEM_1} (php-fpm's and PostgreSQL's sockets in an emptyDir)",
        "meet listen /a/s >/tmp/said & sleep 1; cat /tmp/said; meet connect /b/s", places=_TWICE,
    ),
    Behaviour(
        "flock(2) by another mount", _ITEM_1,
        "meet hold-flock /a/page >/tmp/said & sleep 1; cat /tmp/said; meet try-flock /b/page", places=_TWICE,
    ),
    Behaviour(
        "fcntl(2) by another mount", f"{_ITEM_1} (SQLite, two writers)",
        "meet hold-fcntl /a/page >/tmp/said & sleep 1; cat /tmp/said; meet try-fcntl /b/page", places=_TWICE,
    ),
    Behaviour(
        "a shared mapping by another mount", f"{_ITEM_1} (SQLite's WAL index)",
        "meet map-write /a/page >/tmp/said & sleep 1; cat /tmp/said; meet map-read /b/page", places=_TWICE,
    ),
    Behaviour(
        "a FIFO by another mount", _ITEM_1, "mkfifo /a/p; echo through >/a/p & cat /b/p", places=_TWICE,
    ),
    Behaviour(
        "a lock in a part of a volume and in the whole", f"{_ITEM_1}, sub-paths",
        "[ /part -ef /whole/sub ] && echo one; meet hold-flock /part/page >/tmp/said & sleep 1; cat /tmp/said; "
        "meet try-flock /whole/sub/page", places=_PART_AND_WHOLE,
    ),
    Behaviour(
        "a socket in a part of a volume and in the whole", f"{_ITEM_1}, sub-paths",
        "meet listen /whole/sub/s >/tmp/said & sleep 1; cat /tmp/said; meet connect /part/s", places=_PART_AND_WHOLE,
    ),
    Behaviour(
        "a part of a volume is renamed and removed in the whole", f"{_ITEM_1}, sub-paths",
        "mv /whole/sub /whole/moved && echo x >/part/new && cat /whole/moved/new; rm -r /whole/moved && ls /whole",
        places=_PART_AND_WHOLE,
    ),
    Behaviour(
        "a file that is mounted by itself is replaced in the whole", f"{_ITEM_1}, sub-paths",
        "echo new >/whole/.new; mv /whole/.new /whole/file; cat /whole/file /f; echo in place >>/f; cat /whole/file",
        places=(Place("/f", "file"), Place("/whole")), security=ROOT,
    ),
    Behaviour(
        "a read-only mount of what another one writes", f"{_ITEM_1}, read-only and read-write mounts",
        "touch /reads/new; echo written >/writes/new; cat /reads/new; meet hold-flock /writes/page >/tmp/said & "
        "sleep 1; cat /tmp/said; [ /reads/page -ef /writes/page ] && echo one",
        places=_READ_AND_WRITE,
    ),
    Behaviour(
        "a rename from one mount to another", "rename(2): EXDEV",
        "mv /a/file /b/sub/file; ls /a /b/sub; ln /a/page /b/l", places=_TWICE, security=ROOT,
    ),
)  # fmt: skip
