"""The SharkSEM relay: stands between acquisition software and microscope and looks at what passes.

``server`` listens and pairs connections; each client has a ``session`` with a connection of its own to
the microscope. A session's control connection has two ``lane``s, one for each direction; its image
connections are ``data`` paths. ``watch`` and ``frames`` look on: what they learn goes to the owner as
``events`` and frames. The one thing the relay ever does to a client is to let a new scan wait at the
``gate``.
"""
