"""The keys that let go of a container's terminal, `ctrl-p,ctrl-q` by default, found among what a person types."""

from vmsandbox.errors import InvalidArgument

DEFAULT = "ctrl-p,ctrl-q"
_CONTROL = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


def parse_keys(text: str) -> bytes:
    """The bytes of `--detach-keys`: keys with commas between them, each a character or `ctrl-` and a character.

    An empty text means that no keys detach.

    Raises:
        InvalidArgument: it is not a list of keys.
    """
    return bytes(_key(key) for key in text.split(",")) if text else b""


def _key(text: str) -> int:
    name = text.removeprefix("ctrl-")
    if len(name) == 1 and name.isascii():
        if name == text:
            return ord(name)
        if name.isalpha():
            return ord(name.lower()) - ord("a") + 1
        if name in _CONTROL:
            return _CONTROL[name]
    raise InvalidArgument(
        f"--detach-keys: {text[:20]!r} is not a key", hint="ctrl-p,ctrl-q: a letter, or ctrl- and a letter or @[\\]^_"
    )


class DetachKeys:
    """Looks for the keys in what is typed. The beginning of them is held back until it is clear what it is."""

    def __init__(self, keys: bytes) -> None:
        """`keys` are as `parse_keys` has them."""
        self._keys = keys
        self._held = b""
        self.found = False
        """Whether the keys were typed."""

    def feed(self, typed: bytes) -> bytes:
        """Return what is for the container; of what follows the keys, nothing is."""
        if not self._keys:
            return typed
        data, self._held = self._held + typed, b""
        before, keys, _ = data.partition(self._keys)
        if keys:
            self.found = True
            return before
        for length in range(min(len(self._keys) - 1, len(data)), 0, -1):
            if data.endswith(self._keys[:length]):
                data, self._held = data[:-length], data[-length:]
                break
        return data
