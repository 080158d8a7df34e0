"""How a settlement file may come: as the body itself, or as a file of a multipart form."""

from __future__ import annotations

from zentra.api.parsers import RawParser


class CsvParser(RawParser):
    """The body is the file."""

    media_type = "text/csv"
