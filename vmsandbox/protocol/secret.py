"""The secret of a machine: how each end of a control connection proves that it knows it (docs/protocol.md, "Hello").

A proof is the HMAC-SHA256 (RFC 2104) of the proving end's name and of a nonce of each end. The secret itself never
crosses the connection. Standard library only: the agent imports this module.
"""

import enum
import hmac
import os

SECRET_BYTES = 32
PORT_NAME = "vmsandbox.secret"
"""The name of the virtio-serial port from which the guest reads its secret, once."""


class End(enum.Enum):
    """An end of the connection, named in its proof so that no end can give the other's proof back."""

    HOST = "host"
    AGENT = "agent"


def random_bytes() -> bytes:
    """Return a new secret, or a nonce."""
    return os.urandom(SECRET_BYTES)


def prove(secret: bytes, end: End, host_nonce: str, agent_nonce: str) -> str:
    """Return the proof of one end, in hexadecimal digits; the nonces are those of the two hellos."""
    text = f"vmsandbox {end.value} {host_nonce} {agent_nonce}"
    return hmac.digest(secret, text.encode(), "sha256").hex()


def proves(proof: str, secret: bytes, end: End, host_nonce: str, agent_nonce: str) -> bool:
    """Whether `proof` is that of `end`; takes the same time whatever is wrong with it."""
    return hmac.compare_digest(proof.encode(), prove(secret, end, host_nonce, agent_nonce).encode())
