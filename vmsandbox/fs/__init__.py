"""Files: their modes, locks, replacing them whole, ways below what others may write, file systems that hang."""

from vmsandbox.fs.modes import PASSABLE, PRIVATE, USUAL, make_directory, make_missing, set_mode, touch

__all__ = ["PASSABLE", "PRIVATE", "USUAL", "make_directory", "make_missing", "set_mode", "touch"]
