"""``focusd demo``: simulator, daemon and a specimen scan that loses focus, on this computer over real TCP."""
