"""cp and top: how places are read, and what is said where an image has not what they need."""

import contextlib
import tarfile

import click
import pytest

from vmsandbox.cli.commands.pods.copying import Place, _Copy, _destination, _split, place
from vmsandbox.cri.client import CriClient
from vmsandbox.errors import FailedPrecondition, InvalidArgument, NotFound
from vmsandbox.model import ExecResult, Output
from vmsandbox.protocol.messages import Stream


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("web:/etc/hosts", Place("web", "/etc/hosts")),
        ("web/server:dir", Place("web/server", "dir")),
        ("plain", Place("", "plain")),
        ("./a:b", Place("", "./a:b")),
        ("/a:b", Place("", "/a:b")),
    ],
)
def test_a_colon_names_a_container(text, read):
    assert place(text) == read


@pytest.mark.parametrize("text", ["web:", ":/etc"])
def test_half_a_place_is_refused(text):
    with pytest.raises(click.BadParameter):
        place(text)


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("/etc/hosts", ("/etc", "hosts")),
        ("/etc/", ("/", "etc")),
        ("file", (".", "file")),
        ("/", ("/", ".")),
        ("/srv/.", ("/srv/.", ".")),
    ],
)
def test_a_path_in_a_container_has_a_directory_and_a_name(path, parts):
    assert _split(path) == parts


def test_a_path_without_a_name_is_refused():
    with pytest.raises(InvalidArgument):
        _split("/srv/..")


def test_a_destination_is_a_directory_or_a_new_name(tmp_path):
    there, new = _destination(tmp_path, "x"), _destination(tmp_path / "y", "x")
    assert (there.directory, there.name) == (tmp_path, "x")
    assert (new.directory, new.name) == (tmp_path, "y")
    with pytest.raises(NotFound):
        _destination(tmp_path / "none" / "y", "x")


@pytest.mark.parametrize("words", [("a", "b"), ("web:a", "web:b")])
def test_one_end_is_a_container_and_the_other_is_not(vmsandbox, words):
    refused = vmsandbox("cp", *words)
    assert refused.status == 2
    assert "one of SOURCE and DESTINATION is in a container" in " ".join(refused.err.split())


@pytest.mark.parametrize(("kind", "target"), [(tarfile.FIFOTYPE, ""), (tarfile.SYMTYPE, "/etc/passwd")])
def test_a_copy_of_which_all_is_left_out_has_failed(vmsandbox, monkeypatch, tmp_path, kind, target):
    class Tar:
        exit_code = 0

        async def output(self):
            member = tarfile.TarInfo("odd")
            member.type, member.linkname = kind, target
            yield Output(Stream.STDOUT, member.tobuf() + bytes(10240))

    @contextlib.asynccontextmanager
    async def run(copy, command, *, stdin):
        yield Tar()

    monkeypatch.setattr(_Copy, "_run", run)
    vmsandbox.container(vmsandbox.pod("web"), "server")
    ran = vmsandbox("cp", "web:/odd", str(tmp_path / "here"))
    assert (ran.status, (tmp_path / "here").exists()) == (1, False)
    assert "is left out" in ran.err and "error: nothing of /odd was copied" in ran.err


@pytest.mark.parametrize(("path", "said"), [("/etc", "it is exited"), ("/\udcff", r"\udcff': it is not text in UTF-8")])
def test_a_copy_that_does_not_begin_ends(vmsandbox, monkeypatch, tmp_path, path, said):
    async def exec_url(client, request):
        request.command[-1].encode()
        raise FailedPrecondition("cannot run a command in container server: it is exited")

    monkeypatch.setattr(CriClient, "exec_url", exec_url)
    vmsandbox.container(vmsandbox.pod("web"), "server")
    ran = vmsandbox("cp", f"web:{path}", str(tmp_path / "here"))
    assert (ran.status, (tmp_path / "here").exists()) == (1, False)
    assert said in ran.err


@pytest.fixture
def printing(vmsandbox, monkeypatch):
    """A container whose ps prints what a test says."""

    def prints(stdout, code=0, stderr=b""):
        async def exec_sync(container_id, command, timeout):
            assert command[0] == "ps"
            return ExecResult(stdout, stderr, code)

        monkeypatch.setattr(vmsandbox.served.runtime, "exec_sync", exec_sync)

    vmsandbox.container(vmsandbox.pod("web"), "server")
    return prints


PS = b"""USER     PID PPID TT RSS STAT COMMAND
root       1    0 ?  2.1m S    nginx: master \x1b[6n
1000      10    1 ?  900 S    worker one
root      44    0 ?  300 R    ps -e -o user,pid,ppid,tty,rss,stat,args
"""


def test_processes_are_listed_without_ps_itself(vmsandbox, printing):
    import json

    printing(PS)
    first, second = json.loads(vmsandbox("top", "web", "-o", "json").out)
    assert (first["container"], first["pid"], first["command"]) == ("web/server", 1, "nginx: master ^[[6n")
    assert (second["user"], second["command"]) == ("1000", "worker one")
    assert vmsandbox("top", "web").out.splitlines()[0].split()[:3] == ["CONTAINER", "USER", "PID"]


def test_an_image_without_ps_is_said(vmsandbox, printing):
    printing(b"", 127)
    ran = vmsandbox("top", "web")
    assert ran.status == 1
    assert "the image of container web/server has no ps" in ran.err


def test_what_a_failed_ps_says_is_shown(vmsandbox, printing):
    printing(b"", 1, b"bad option")
    assert "bad option" in vmsandbox("top", "web").err
