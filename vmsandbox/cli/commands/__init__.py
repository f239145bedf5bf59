"""The commands in rooms, a module for one or a few of them, beside what they share. A module is imported when used.

So there is nothing to import from here: `cli.main` knows each command by its name.
"""
