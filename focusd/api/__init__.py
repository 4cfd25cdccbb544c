"""The HTTP control endpoint."""
