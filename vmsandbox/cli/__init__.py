"""The command line: `main` is the group, `commands` has the commands; the rest is common to them."""
