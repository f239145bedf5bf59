"""The log of a container, in the CRI's format."""

from cri_api.v1 import api_pb2 as pb

from tests.support.conformance_client import Cri, Pod, eventually, texts
from tests.support.cri_log import read_log


def test_both_streams_are_logged_in_order(pod: Pod) -> None:
    ended = pod.run("sh", "-c", "for i in 1 2 3; do echo out $i; done; echo error >&2")
    assert texts(ended.log) == ["out 1", "out 2", "out 3"]
    assert texts(ended.log, "stderr") == ["error"]
    assert [line.time for line in ended.log] == sorted(line.time for line in ended.log)


def test_a_line_without_an_end_is_logged(pod: Pod) -> None:
    assert pod.run("printf", "no newline").stdout.rstrip("\n") == "no newline"


def test_a_long_line_is_logged_in_parts_that_make_it_up(pod: Pod) -> None:
    ended = pod.run("sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x; echo; echo short")
    assert ended.stdout == "x" * 100_000 + "\nshort\n"
    assert [line.full for line in ended.log[-2:]] == [True, True]
    assert not all(line.full for line in ended.log)


def test_a_terminal_has_one_stream(pod: Pod) -> None:
    ended = pod.run("sh", "-c", "[ -t 1 ] && echo terminal; echo error >&2", tty=True)
    assert ended.stdout.replace("\r", "") == "terminal\nerror\n"


def test_much_output_at_once_is_logged_whole(pod: Pod) -> None:
    ended = pod.run("seq", "1", "50000")
    assert texts(ended.log) == [str(number) for number in range(1, 50_001)]


def test_a_log_that_was_moved_away_is_begun_anew_when_asked(cri: Cri, pod: Pod) -> None:
    container = pod.start("sh", "-c", "i=0; while :; do echo $((i += 1)); sleep 0.05; done")
    moved = container.log_file.with_suffix(".1")
    eventually(lambda: container.log_file.exists() and read_log(container.log_file))
    container.log_file.rename(moved)
    cri.runtime.ReopenContainerLog(pb.ReopenContainerLogRequest(container_id=container.id))
    assert container.log_file.exists()
    eventually(lambda: read_log(container.log_file))
    first = texts(read_log(moved))
    container.stop(timeout=0)
    lines = first + texts(container.wait().log)
    assert texts(read_log(moved)) == first
    assert lines == [str(number) for number in range(1, len(lines) + 1)]
    container.remove()


def test_a_container_without_a_log_path_is_not_logged(pod: Pod) -> None:
    container = pod.start("echo", "unheard", log_path="")
    assert container.wait().status.log_path == ""
    container.remove()
