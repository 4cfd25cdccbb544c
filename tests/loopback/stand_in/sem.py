"""Stands for the module ``sem`` of TESCAN's Python client, which this project may not pass on.

The calls are those that the tests make, with the same names, arguments and results; what is sent is what
``PlainClient`` sends.
"""

# ruff: noqa: N802 - the names are TESCAN's

from __future__ import annotations

from tests.loopback.plain_client import ClosedError, PlainClient


class Sem:
    """A session."""

    def __init__(self) -> None:
        self._client: PlainClient | None = None

    @property
    def _connected(self) -> PlainClient:
        if self._client is None:
            raise RuntimeError("Connect comes first")
        return self._client

    def Connect(self, address: str, port: int) -> int:
        """Give 0, or -1 for any failure."""
        assert address == "127.0.0.1", address
        try:
            self._client = PlainClient(port, deadline_s=60.0)
        except (OSError, ClosedError):
            return -1
        return 0

    def Disconnect(self) -> None:
        self._connected.close()

    def SetWaitFlags(self, flags: int) -> None:
        self._connected.wait_conditions = flags

    def FetchImage(self, channel: int, size: int) -> bytes:
        return self._connected.fetch([channel], size)[0]

    def FetchImageEx(self, channel_list: list[int], pxl_size: int) -> list[bytes]:
        return self._connected.fetch(channel_list, pxl_size)

    def GetWD(self) -> float:
        return self._connected.number("GetWD")

    def SetWD(self, wd: float) -> None:
        self._connected.send("SetWD", wd)

    def SetViewField(self, vf: float) -> None:
        self._connected.send("SetViewField", vf)

    def StgMoveTo(self, *axes: float) -> None:
        self._connected.send("StgMoveTo", *axes)

    def StgIsBusy(self) -> int:
        return self._connected.whole("StgIsBusy")

    def StgGetPosition(self) -> list[float | str]:
        return self._connected.ask("StgGetPosition", "fffff")

    def DtSelect(self, channel: int, detector: int) -> None:
        self._connected.send("DtSelect", channel, detector)

    def DtEnable(self, channel: int, enable: int, bpp: int = -1) -> None:
        self._connected.send("DtEnable", channel, enable, *([] if bpp == -1 else [bpp]))

    def DtEnumDetectors(self) -> str:
        return self._connected.text("DtEnumDetectors")

    def ScScanXY(self, *numbers: int) -> int:
        return self._connected.whole("ScScanXY", *numbers)

    def ScStopScan(self) -> None:
        self._connected.send("ScStopScan")

    def GUISetScanning(self, enable: int) -> None:
        self._connected.send("GUISetScanning", enable)

    def GUIGetScanning(self) -> int:
        return self._connected.whole("GUIGetScanning")
