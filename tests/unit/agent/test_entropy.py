"""Machines that go on from one template have random numbers of their own."""

import fcntl
import struct
from pathlib import Path

import pytest

from vmsandbox_agent.setup import entropy


def test_a_seed_is_the_machines_own_and_does_not_tell_its_secret() -> None:
    one, other = bytes(32), bytes(31) + b"1"
    assert entropy.seed_of(one) == entropy.seed_of(one) != entropy.seed_of(other)
    assert len(entropy.seed_of(one)) == 32 and entropy.seed_of(one) != one


def test_the_seed_is_credited_and_used_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, bytes]] = []
    monkeypatch.setattr(entropy, "POOL", tmp_path / "urandom")
    monkeypatch.setattr(fcntl, "ioctl", lambda _, request, value=b"": asked.append((request, value)))
    entropy.reseed(b"secret")
    (adding, given), (reseeding, _) = asked
    assert (adding, reseeding) == (0x40085203, 0x5207), "RNDADDENTROPY, RNDRESEEDCRNG (linux/random.h)"
    assert struct.unpack("=ii32s", given) == (256, 32, entropy.seed_of(b"secret"))
