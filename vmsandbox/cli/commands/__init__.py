"""The commands, a module for one or a few of them, and what they share. A module is imported when its command is used.

So there is nothing to import from here: `cli.main` knows each command by its name.
"""
