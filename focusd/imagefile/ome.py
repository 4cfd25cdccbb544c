"""OME-XML, the header of OME-TIFF files.

Source: the OME schema of 2016-06, elements ``Image/AcquisitionDate``, ``Pixels`` and ``Plane``.
"""

from __future__ import annotations

from datetime import datetime
from xml.parsers import expat

from focusd.imagefile.metadata import ImageMetadata, stage
from focusd.imagefile.quantities import positive, quantity
from focusd.imagefile.text import text_of

DESCRIPTION_TAG = 270
_MAX_DATE_CHARS = 64


def read_description(data: bytes) -> ImageMetadata | None:
    """Read the description of an image; ``None`` if it is anything else than OME-XML."""
    text = text_of(data)
    is_ome = text.lstrip("\ufeff \t\r\n").startswith("<") and "<OME" in text[:4096]
    return read_ome(text) if is_ome else None


def read_ome(text: str) -> ImageMetadata:
    """Read pixel size, stage position and time of the first plane of the first image.

    The document type declaration, and with it every entity, is refused: OME-XML has none, and entities
    that multiply or name files are the ways to do harm with XML. Nothing is built in memory, however
    deep or long the document is, and nothing is read after the first plane.
    """
    reader = _Reader()
    try:
        reader.read(text)
    except expat.ExpatError as error:
        return reader.metadata(f"OME-XML is not well-formed: {error}")
    except _ForbiddenError:
        return reader.metadata("OME-XML with a document type declaration is not read")
    return reader.metadata()


class _ForbiddenError(Exception):
    """There is a document type declaration."""


class _EnoughError(Exception):
    """The first plane has been read."""


class _Reader:
    """Keeps the attributes of the first ``Pixels`` and ``Plane`` and the first ``AcquisitionDate``."""

    def __init__(self) -> None:
        self.pixels: dict[str, str] = {}
        self.plane: dict[str, str] = {}
        self.date = ""
        self._in_date = False

    def read(self, text: str) -> None:
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        try:
            parser.Parse(text, True)
        except _EnoughError:
            return

    def _doctype(self, *_: object) -> None:
        raise _ForbiddenError

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        element = tag.rpartition(" ")[2]
        if element == "Pixels":
            self.pixels = attributes
        elif element == "Plane":
            self.plane = attributes
            raise _EnoughError
        self._in_date = element == "AcquisitionDate"

    def _end(self, tag: str) -> None:
        self._in_date = False
        if tag.rpartition(" ")[2] == "Pixels":
            raise _EnoughError

    def _text(self, text: str) -> None:
        if self._in_date and len(self.date) < _MAX_DATE_CHARS:
            self.date += text[:_MAX_DATE_CHARS]

    def metadata(self, *problems: str) -> ImageMetadata:
        def axis_mm(axis: str) -> float | None:
            # Without a unit, a position is in a "reference frame" of its own: no length.
            return quantity(
                self.plane.get(f"Position{axis}", "") + self.plane.get(f"Position{axis}Unit", ""), "mm"
            )

        size = self.pixels.get("PhysicalSizeX", "") + self.pixels.get("PhysicalSizeXUnit", "um")
        return ImageMetadata(
            source="OME",
            pixel_size_nm=positive(quantity(size, "nm")),
            stage_position=stage(x_mm=axis_mm("X"), y_mm=axis_mm("Y"), z_mm=axis_mm("Z")),
            acquired_at=_date(self.date),
            problems=problems,
        )


def _date(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        return None
