"""Moments as text, as the CRI's logs and the command line write them."""

import time


def rfc3339(nanoseconds: int) -> str:
    """Write a time since the epoch in UTC, to the nanosecond (RFC 3339)."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"
