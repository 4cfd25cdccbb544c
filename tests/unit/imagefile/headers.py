"""Headers as microscopes write them, made up for the tests, and what is to be read of each."""

from __future__ import annotations

from datetime import datetime

from focusd.frame import StagePosition
from focusd.imagefile.metadata import ImageMetadata

ZEISS = (
    "\r\n0\r\n1.5e-008\r\nAP_WD\r\nWD =  5.012 mm\r\nAP_PIXEL_SIZE\r\nPixel Size = 99.9 nm\r\n"
    "AP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 558.2 pm\r\nDP_DWELL_TIME\r\nDwell time = 100 ns\r\n"
    "AP_ACTUALKV\r\nEHT =  1.50 kV\r\nDP_DETECTOR_CHANNEL\r\nSignal A = InLens\r\n"
    "DP_FROZEN\r\nFrozen = Yes\r\nAP_STAGE_AT_X\r\nStage at X =  50.0753 mm\r\n"
    "AP_STAGE_AT_Y\r\nStage at Y =  -49.0 mm\r\n"
    "AP_STAGE_AT_Z\r\nStage at Z =  250 µm\r\nAP_STAGE_AT_R\r\nStage at R =  90.0 °\r\n"
    "AP_STAGE_AT_T\r\nStage at T =  -0.1 °\r\nAP_DATE\r\nDate :22 Jan 2026\r\nAP_TIME\r\nTime :21:48:36\r\n"
).encode("cp1252")

ZEISS_METADATA = ImageMetadata(
    source="ZEISS",
    working_distance_mm=5.012,
    pixel_size_nm=0.5582,
    dwell_time_us=0.1,
    accelerating_voltage_kv=1.5,
    detector="InLens",
    stage_position=StagePosition(50.0753, -49.0, 0.25, 90.0, -0.1),
    acquired_at=datetime(2026, 1, 22, 21, 48, 36),  # noqa: DTZ001 - SmartSEM names no zone
)

THERMO = (
    b"[User]\r\nDate=03/12/2019\r\nTime=10:22:13 AM\r\n[System]\r\nSystemType=Helios G4 UX\r\n"
    b"[Beam]\r\nHV=5000\r\nBeam=EBeam\r\nScan=EScan\r\n[EBeam]\r\nHV=5000\r\nWD=0.00412\r\nBeamMode=\r\n"
    b"[IBeam]\r\nHV=30000\r\nWD=0.0165\r\n[Scan]\r\nDwelltime=3e-006\r\nPixelWidth=2.0345e-009\r\n"
    b"PixelHeight=2.0345e-009\r\n[EScan]\r\nDwell=3e-006\r\n[Stage]\r\nStageX=0.0123\r\nStageY=-0.002\r\n"
    b"StageZ=0.004\r\nStageR=1.5707963267948966\r\nStageT=-0.017453292519943295\r\n"
    b"[Detectors]\r\nNumber=1\r\nName=TLD\r\nMode=SE\r\n"
    b"[PrivateFei]\r\nTimeOfCreation=12.03.2019 10:22:13\r\n"
)

THERMO_METADATA = ImageMetadata(
    source="Thermo",
    working_distance_mm=4.12,
    pixel_size_nm=2.0345,
    dwell_time_us=3.0,
    accelerating_voltage_kv=5.0,
    detector="TLD",
    stage_position=StagePosition(12.3, -2.0, 4.0, 90.0, -1.0),
    acquired_at=datetime(2019, 3, 12, 10, 22, 13),  # noqa: DTZ001 - nor does Thermo Fisher
)


def _block(kind: int, body: bytes) -> bytes:
    return (len(body) + 2).to_bytes(4, "little") + kind.to_bytes(2, "little") + body


TESCAN = (
    _block(1, b"\xff\xd8\xff\xe0" + bytes(range(256)) + b"\xff\xd9")
    + _block(
        2,
        b"Date=2021-08-03\r\nDevice=TESCAN\r\nPixelSizeX=1.25e-008\r\nPixelSizeY=1.25e-008\r\nTime=10:11:12\r\n",
    )
    + _block(
        3,
        b"Detector=SE\r\nDwellTime=1e-006\r\nHV=10000.0\r\nStageRotation=-12.5\r\nStageTilt=1.5\r\n"
        b"StageX=0.0012\r\nStageY=-0.02\r\nStageZ=0.006\r\nWD=0.0091234\r\n",
    )
    + _block(5, b"HV=30000.0\r\nWD=0.012\r\n")
    + _block(0, b"")
)

TESCAN_METADATA = ImageMetadata(
    source="TESCAN",
    working_distance_mm=9.1234,
    pixel_size_nm=12.5,
    dwell_time_us=1.0,
    accelerating_voltage_kv=10.0,
    detector="SE",
    stage_position=StagePosition(1.2, -20.0, 6.0, -12.5, 1.5),
    acquired_at=datetime(2021, 8, 3, 10, 11, 12),  # noqa: DTZ001 - nor does TESCAN
)
