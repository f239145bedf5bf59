"""The version of vmsandbox: the wheel, the Debian package, the CRI and the command line take it from here."""

VERSION = "0.1.0"
"""A semantic version. A release begins with a new one, and with its section in CHANGELOG.md."""
