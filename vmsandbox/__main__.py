"""`vmsandbox`, and `python -m vmsandbox`."""

from vmsandbox.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
