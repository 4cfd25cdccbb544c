"""What focusd does: judge frames, refocus, put back, report."""
