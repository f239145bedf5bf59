"""A daemon in front of the fakes for commands."""

import pytest

from tests.support.command_line import command_line


@pytest.fixture
def vmsandbox(tmp_path, capfd):
    """Run commands of the command line against a daemon."""
    with command_line(tmp_path, capfd) as it:
        yield it
