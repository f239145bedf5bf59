"""The output of strace tells what the threads of one process have asked of the kernel."""

from tests.performance.daemon_work import read_trace

TRACE = """\
10 clone3({flags=CLONE_VM|CLONE_THREAD|CLONE_SETTID, stack=0x7f}, 88 <unfinished ...>
10 <... clone3 resumed> => {parent_tid=[11]}, 88) = 11
11 fcntl(7</s/state.db-shm>, F_SETLK, {l_type=F_WRLCK, l_whence=SEEK_SET, l_start=120, l_len=1}) = 0
11 fcntl(7</s/state.db-shm>, F_SETLK, {l_type=F_UNLCK, l_whence=SEEK_SET, l_start=120, l_len=1}) = 0
10 vfork( <unfinished ...>
12 execve("/bin/true", ...) = 0
10 <... vfork resumed>) = 12
12 fsync(3</tmp/other>) = 0
11 fsync(8</s/attachments/a.new>) = 0
11 fsync(9</run/vmsandbox-a.xml.new> <unfinished ...>
11 <... fsync resumed>) = 0
10 clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD) = 13
"""


def test_the_calls_of_all_threads_of_a_process_are_counted_and_those_of_its_children_are_not() -> None:
    work = read_trace(TRACE.splitlines(), [10])
    assert work.calls == {"clone3": 1, "fcntl": 2, "vfork": 1, "fsync": 2, "clone": 1}
    assert (work.transactions, work.forced, work.programs) == (1, ["a.new", "vmsandbox-a.xml.new"], 2)


def test_a_row_tells_what_libvirt_writes_through_from_what_is_ours() -> None:
    row = read_trace(TRACE.splitlines(), [10]).row("RunPodSandbox")
    assert row.startswith("| RunPodSandbox | 7 | 1 | 1 | 1 | 2 | fcntl 2, fsync 2,")
