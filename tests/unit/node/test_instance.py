"""The directories of processes that run pods."""

from vmsandbox.node.instance import claim, run_sockets


def test_the_sockets_of_runs_are_found_by_their_number(tmp_path):
    run, state = tmp_path / "run", tmp_path / "state"
    assert run_sockets(run) == ()
    with claim(run, state) as first, claim(run, state) as second:
        assert run_sockets(run) == ()
        first.socket.touch()
        second.socket.touch()
        assert run_sockets(run) == (first.socket, second.socket)
