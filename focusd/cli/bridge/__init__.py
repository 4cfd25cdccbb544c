"""``focusd bridge``: for labs that write a bridge of their own."""
