"""The commands: the only readers of the command line and the environment.

``app`` holds the one table of commands; each command, or family of commands, is a small file. They import
what is heavy (numpy, OpenCV, SciPy, aiohttp, the daemon, the simulator) when they run, so that ``focusd
--help`` and the commands that only talk to a running daemon start at once.
"""

from focusd.cli.app import main

__all__ = ["main"]
