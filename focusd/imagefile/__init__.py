"""Images that reach focusd as bytes or files, and what their headers tell of the microscope.

``files``       ``read_image_file``: from a path
``decode``      ``decode_image``: PNG, TIFF, JPEG or BMP from bytes, told by content
``raw``         ``raw_format`` and ``raw_image``: bare pixels
``metadata``    ``ImageMetadata``: working distance, pixel size and the like
``claim`` ``directory`` ``chunks``  what a file claims, checked before anything is decoded
``tiff``        the first image of a TIFF
``vendors`` ``ome``  headers of ZEISS, Thermo Fisher and TESCAN; OME-XML
``quantities`` ``text``  numbers with units, names
"""

from focusd.imagefile.files import read_image

__all__ = ["read_image"]
