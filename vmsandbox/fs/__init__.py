"""Files: the modes they are made with, opening those that may be something else, and file systems that hang."""

from vmsandbox.fs.modes import PASSABLE, PRIVATE, USUAL, make_directory, make_missing, set_mode, touch

__all__ = ["PASSABLE", "PRIVATE", "USUAL", "make_directory", "make_missing", "set_mode", "touch"]
