"""The kernel's random pool, made this machine's own: machines of one template begin with the same (docs/security.md).

The kernel reseeds itself where the hypervisor tells it of a new generation (vmgenid), but does so in an interrupt, some
time after the guest goes on. So the agent does it before it uses a random number or lets anybody else run.
"""

import fcntl
import hmac
import struct
from pathlib import Path

POOL = Path("/dev/urandom")
_RNDADDENTROPY, _RNDRESEEDCRNG = 0x40085203, 0x5207
"""Requests of ioctl(2) in linux/random.h."""


def seed_of(secret: bytes) -> bytes:
    """Return 32 bytes that only this machine and its host know, and that say nothing about the secret."""
    return hmac.digest(secret, b"vmsandbox seed", "sha256")


def reseed(secret: bytes) -> None:
    """Mix what only this machine has into the pool, and take all further random numbers from that. Raises OSError."""
    seed = seed_of(secret)
    with POOL.open("wb", buffering=0) as pool:
        fcntl.ioctl(pool, _RNDADDENTROPY, struct.pack(f"=ii{len(seed)}s", len(seed) * 8, len(seed), seed))
        fcntl.ioctl(pool, _RNDRESEEDCRNG)
