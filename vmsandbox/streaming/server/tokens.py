"""The tokens in streaming URLs: each is unguessable, serves once, and expires after a minute."""

import asyncio
import secrets
from dataclasses import dataclass
from typing import Generic, TypeVar

from vmsandbox.errors import ResourceExhausted

LIFETIME = 60.0
"""Seconds in which a token has to be used."""
MAX_TOKENS = 1000
"""Tokens that wait to be used, as in the kubelet's streaming library."""

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _IssuedToken(Generic[R]):
    request: R
    expires: float


class Tokens(Generic[R]):
    """The requests for which tokens were given out."""

    def __init__(self, lifetime: float = LIFETIME, maximum: int = MAX_TOKENS) -> None:
        """Begin without any."""
        self._lifetime = lifetime
        self._maximum = maximum
        self._issued: dict[str, _IssuedToken[R]] = {}

    def give(self, request: R) -> str:
        """Make a token of 128 random bits, safe in a URL, for a request.

        Raises:
            ResourceExhausted: too many wait to be used.
        """
        self._forget_expired()
        if len(self._issued) >= self._maximum:
            raise ResourceExhausted(f"{self._maximum} streaming URLs wait to be used", hint="try again within a minute")
        token = secrets.token_urlsafe(16)
        self._issued[token] = _IssuedToken(request, self._now() + self._lifetime)
        return token

    def look(self, token: str) -> R | None:
        """Return the request of a token; None for one that was used, has expired, or never was."""
        self._forget_expired()
        issued = self._issued.get(token)
        return None if issued is None else issued.request

    def take(self, token: str) -> R | None:
        """Look a token up and use it up."""
        request = self.look(token)
        self._issued.pop(token, None)
        return request

    def _forget_expired(self) -> None:
        now = self._now()
        for token, issued in tuple(self._issued.items()):  # Oldest first: all live equally long.
            if issued.expires > now:
                return
            del self._issued[token]

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
