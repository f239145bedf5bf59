"""AppArmor profiles: packaging/apparmor.d has one for each kind of helper that parses what others send."""

from pathlib import Path

_PROFILES = Path("/sys/kernel/security/apparmor/profiles")
"""A line for each profile that the kernel has: its name, and its mode in brackets."""


def is_loaded(profile: str) -> bool:
    """Return whether the kernel has a profile of this name; no profile is loaded where AppArmor is off or absent."""
    try:
        lines = _PROFILES.read_text().splitlines()
    except OSError:
        return False
    return any(line.rpartition(" ")[0] == profile for line in lines)
