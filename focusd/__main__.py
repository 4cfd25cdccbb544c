"""``python -m focusd`` is the ``focusd`` command."""

from focusd.cli import main

if __name__ == "__main__":
    main()
