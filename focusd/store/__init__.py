"""What focusd remembers, in one SQLite file."""
