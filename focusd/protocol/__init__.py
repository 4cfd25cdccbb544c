"""Pure wire formats: bytes in, frozen messages out. No sockets, no clocks, no logs."""
