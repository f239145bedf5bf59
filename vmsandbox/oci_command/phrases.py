"""The phrases of runc in place of those of the guest's crun: docker and podman derive exit statuses from them."""

import re

_PHRASES = (
    (re.compile(r"(?:crun \w+: )?executable file `([^`]*)` not found in \$PATH(?:: No such file or directory)?"),
     r'exec: "\1": executable file not found in $PATH'),
    (re.compile(r"(?:crun \w+: )?executable file `([^`]*)` not found: No such file or directory"),
     r'exec: "\1": stat \1: no such file or directory'),
    (re.compile(r"(?:crun \w+: )?the path `([^`]*)` exists but it is not executable(?:: Operation not permitted)?"),
     r'exec: "\1": permission denied'),
    (re.compile(r"(?:crun \w+: )?chdir to `([^`]*)`: No such file or directory"),
     r'chdir to cwd ("\1") set in config.json failed: no such file or directory'),
)  # fmt: skip


def as_runc(text: str) -> str:
    """Return an error as runc says it; one that callers do not look for stays as it is."""
    for pattern, phrase in _PHRASES:
        if pattern.search(text):
            return f"unable to start container process: {pattern.sub(phrase, text)}"
    return text
