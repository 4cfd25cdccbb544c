"""A microscope to test and demonstrate with: a simulated column behind the real TCP protocol."""
