"""The fake host does what a host by ssh does."""

from collections.abc import Callable, Iterator

import pytest

from tests.fakes.lab import FakeConnection
from tests.fakes.lab_contract import ConnectionContract


class TestFakeConnection(ConnectionContract):
    @pytest.fixture
    def connection(self) -> Iterator[FakeConnection]:
        connection = FakeConnection()
        yield connection
        connection.close()

    @pytest.fixture
    def vanish(self, connection: FakeConnection) -> Callable[[], None]:
        return connection.vanish
