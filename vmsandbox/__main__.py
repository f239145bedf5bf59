"""`vmsandbox`, and `python -m vmsandbox`."""

import signal


def main() -> None:
    """Run the command line; Ctrl-C before a command has begun its work ends the process without a word."""
    try:
        from vmsandbox.cli.main import main as command_line

        command_line()
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGINT) from None


if __name__ == "__main__":
    main()
