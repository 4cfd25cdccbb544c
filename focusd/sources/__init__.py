"""Where the frames that focusd judges come from."""
