"""The page that `make demo` leaves is made like the engine's reports."""

from polardenoise.engine.report.html import (
    Section,
    make_caution,
    make_listing,
    make_picture,
    make_table,
    write_page,
)

__all__ = [
    "Section",
    "make_caution",
    "make_listing",
    "make_picture",
    "make_table",
    "write_page",
]
