"""Tokens: unguessable, for one use, for a minute."""

import pytest

from vmsandbox.errors import ResourceExhausted
from vmsandbox.streaming.server.tokens import Tokens


async def test_a_token_serves_once() -> None:
    tokens: Tokens[str] = Tokens()
    token = tokens.give("request")
    assert tokens.look(token) == "request"
    assert tokens.take(token) == "request"
    assert tokens.take(token) is None
    assert tokens.look(token) is None


async def test_a_token_expires() -> None:
    tokens: Tokens[str] = Tokens(lifetime=0)
    assert tokens.take(tokens.give("request")) is None


async def test_tokens_are_bounded_and_expired_ones_make_room() -> None:
    tokens: Tokens[int] = Tokens(maximum=2)
    assert len({tokens.give(1), tokens.give(2)}) == 2
    with pytest.raises(ResourceExhausted):
        tokens.give(3)
    brief: Tokens[int] = Tokens(lifetime=0, maximum=2)
    for number in range(10):
        brief.give(number)
