"""What becomes an error answer. The first five are an instrument's to raise, the others the bridge's."""

from __future__ import annotations


class BridgeError(Exception):
    """What becomes an error answer; its text is shown to the operator."""

    code = -32010


class InstrumentError(BridgeError):
    """The instrument or its software failed. Any other exception of an instrument is taken for this."""


class BusyError(BridgeError):
    """The instrument is doing something else."""

    code = -32001


class OutOfRangeError(BridgeError):
    """A value that the instrument cannot take; nothing was changed."""

    code = -32002


class BeamOffError(BridgeError):
    """There is no beam, or no light."""

    code = -32003


class InterlockError(BridgeError):
    """The instrument's own protection forbids it."""

    code = -32004


class ParamsError(BridgeError):
    """A parameter is missing or is not what it must be."""

    code = -32602


class RequestError(BridgeError):
    """A message that is no request."""

    code = -32600


class MethodError(BridgeError):
    """There is no such method."""

    code = -32601


class GarbageError(BridgeError):
    """Bytes that are no message: the connection has to go."""

    code = -32700
