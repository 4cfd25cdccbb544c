"""The commands: the only readers of the command line and the environment."""


def main() -> None:
    """Run the ``focusd`` command."""
    raise SystemExit("focusd: no command yet")
