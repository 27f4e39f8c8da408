"""The command line, a module a command: ``add_arguments(parser)`` and ``run(args)``, which returns the exit code.

A module here imports nothing that takes time until ``run`` has looked at its arguments.
"""

from maxl_sr.commands.dispatch import COMMANDS, call, main

__all__ = ['COMMANDS', 'call', 'main']
