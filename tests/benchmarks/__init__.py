"""focusd measured against its peers on its own simulator: ``python -m tests.benchmarks --help``."""
