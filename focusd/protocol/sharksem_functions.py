"""What may be called over SharkSEM: names, argument types, answers and the version that brought each.

One letter per argument: ``i`` int32, ``u`` uint32, ``f`` float, ``s`` string, ``m`` map. Arguments in square
brackets may be left out from the right. A function without an answer is *void*: it is answered, with an
empty body, only when the request asks for it.

Source: TESCAN, SharkSEM Remote Control manual 2.0.25, and the C# library's manual 3.2.20 for later ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from focusd.errors import LocalProtocolError
from focusd.protocol.sharksem_body import BodyReader, StringSize, Value, encode_body

Version: TypeAlias = tuple[int, ...]

_VERSION: Final = re.compile(r"[0-9]+(?:\.[0-9]+)*", re.ASCII)


def parse_version(text: str) -> Version:
    """Read the digits and dots that ``text`` begins with; ``()`` if there are none.

    Source: servers append words of their own ("3.2.20 demo"), so only the beginning counts.
    """
    match = _VERSION.match(text.strip()[:64])
    return () if match is None else tuple(int(part) for part in match.group().split("."))


@dataclass(frozen=True, slots=True)
class Signature:
    """Types of a list of arguments; the first ``required`` of them must be there."""

    types: str
    required: int

    @classmethod
    def parse(cls, text: str) -> Signature:
        """Read ``"ff[i]"``."""
        required, _, optional = text.partition("[")
        return cls(required + optional.rstrip("]"), len(required))

    def encode(self, values: Sequence[Value], *, string_size: StringSize = StringSize.EXACT) -> bytes:
        """Encode ``values``, each as its type says.

        Raises:
            LocalProtocolError: too few or too many values, or one of another type.
        """
        if not self.required <= len(values) <= len(self.types):
            raise LocalProtocolError(f"{len(values)} arguments given, {self} expected")
        checked = [_checked(letter, value) for letter, value in zip(self.types, values, strict=False)]
        return encode_body(checked, string_size=string_size)

    def decode(self, body: bytes) -> list[int | float | str]:
        """Decode a body; optional arguments that are not there are left out, further ones ignored.

        A map is given as its text; see ``parse_map``.

        Raises:
            RemoteProtocolError: the body does not hold these arguments.
        """
        reader = BodyReader(body)
        values: list[int | float | str] = []
        for position, letter in enumerate(self.types):
            if position >= self.required and reader.at_end:
                break
            values.append(_read(reader, letter))
        return values

    def __str__(self) -> str:
        optional = self.types[self.required :]
        return self.types[: self.required] + (f"[{optional}]" if optional else "")


def _checked(letter: str, value: Value) -> Value:
    match letter, value:
        case "i", int() if -(2**31) <= value < 2**31:
            return value
        case "u", int() if 0 <= value < 2**32:
            return value
        case "f", int() | float():
            return float(value)
        case "s" | "m", str():
            return value
    raise LocalProtocolError(f"{value!r} is no argument of type {letter!r}")


def _read(reader: BodyReader, letter: str) -> int | float | str:
    match letter:
        case "i":
            return reader.int32()
        case "u":
            return reader.uint32()
        case "f":
            return reader.float_()
        case _:
            return reader.string()


@dataclass(frozen=True, slots=True)
class Function:
    """One remote function."""

    name: str
    request: Signature
    answer: Signature
    since: Version = ()

    @property
    def is_void(self) -> bool:
        """Whether it is answered only on request."""
        return not self.answer.types


def _table(text: str) -> dict[str, Function]:
    """Read lines ``name | request | answer | since``."""
    functions: dict[str, Function] = {}
    for line in text.strip().splitlines():
        name, request, answer, since = (cell.strip() for cell in line.split("|"))
        functions[name] = Function(
            name, Signature.parse(request), Signature.parse(answer), parse_version(since)
        )
    return functions


FUNCTIONS: Final[dict[str, Function]] = _table(
    """
    TcpRegDataPort   | u            | i            |
    TcpGetVersion    |              | s            | 1.0.5
    TcpGetSWVersion  |              | s            | 2.0.9
    TcpGetDevice     |              | s            | 2.0.3
    TcpGetModel      |              | s            | 3.2.20
    GetWD            |              | f            |
    SetWD            | f            |              |
    AutoWD           | i[ffu]       |              |
    AutoWDFine       | i[fff]       |              | 3.0.0
    AutoStigmators   | i[fff]       |              | 3.1.7
    GetViewField     |              | f            |
    SetViewField     | f            |              |
    GetBeamCurrent   |              | f            | 2.0.19
    SetBeamCurrent   | f            |              | 2.0.19
    GetIAbsorbed     | [i]          | f            |
    GetSpotSize      |              | f            |
    GetOptParams     |              | m            | 2.0.25
    EnumCenterings   |              | m            |
    GetCentering     | i            | ff           |
    SetCentering     | iff[i]       |              |
    EnumGeometries   |              | m            |
    GetGeometry      | i            | ff           |
    SetGeometry      | iff          |              |
    GetGeomLimits    | i            | iffff        | 2.0.22
    GetImageShift    |              | ff           |
    SetImageShift    | ff           |              |
    GetImageRot      |              | f            | 3.2.1
    SetImageRot      | f            |              | 3.2.1
    DtEnumDetectors  |              | m            |
    DtGetChannels    |              | i            |
    DtSelect         | ii           |              |
    DtGetSelected    | i            | i            |
    DtEnable         | ii[i]        |              |
    DtGetEnabled     | i            | ii           | 2.0.1
    DtGetGainBlack   | i            | ff           |
    DtSetGainBlack   | iff          |              |
    DtAutoSignal     | i[i]         |              |
    ScEnumSpeeds     |              | m            |
    ScGetSpeed       |              | i            |
    ScSetSpeed       | i            |              |
    ScScanXY         | uuuuuuui[uu] | i            |
    ScScanLine       | uuuuuuuuui   | i            |
    ScStopScan       |              |              |
    ScGetBlanker     | [i]          | i            |
    ScSetBlanker     | i[i]         |              |
    ScGetExternal    |              | i            |
    ScSetExternal    | i            |              |
    ScSetBeamPos     | ff           |              |
    ScLUTSrcGet      |              | i            |
    ScLUTSrcSet      | i            |              |
    ScLUTParGet      | i            | fff          |
    ScLUTParSet      | ifff         |              |
    ScGetTimeEstEx   | uuuuuuu[uu]  | f            | 3.0.0
    SMEnumModes      |              | m            |
    SMGetMode        |              | i            |
    SMSetMode        | i            |              |
    GUIGetScanning   |              | i            |
    GUISetScanning   | i            |              |
    HVGetVoltage     |              | f            |
    HVSetVoltage     | f[i]         |              |
    HVGetBeam        |              | i            |
    HVBeamOn         |              |              |
    HVBeamOff        |              |              |
    HVEnumIndexes    |              | m            |
    HVGetIndex       |              | i            |
    HVGetEmission    |              | f            |
    StgGetPosition   |              | fffff[f]     |
    StgMoveTo        | f[fffff]     |              |
    StgIsBusy        |              | i            |
    StgIsCalibrated  |              | i            |
    StgStop          |              |              |
    StgGetLimits     | i            | ffffffffff[ff] |
    StgGetMotorized  |              | iiiii[i]     |
    VacGetStatus     |              | i            |
    VacGetPressure   | i            | f            |
    IsBusy           | u            | i            | 2.0.9
    Delay            | i            |              |
    ChamberLed       | i            |              |
    GetDeviceParams  | u            | m            |
    IsLicenseValid   | s            | i            |
    ProgressShow     | ssiiii       |              |
    ProgressText     | s            |              |
    ProgressPerc     | i            |              |
    ProgressHide     |              |              |
    CameraEnable     | iffi         |              |
    CameraGetStatus  | i            | iffi         |
    CameraDisable    |              |              |
    """
)
