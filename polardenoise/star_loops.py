"""The loops of STAR files, by the name that scripts know; they are read and written in `convert.star_loops`."""

from polardenoise.convert.star_loops import (
    format_loop_header,
    format_row,
    quote_token,
    read_loop,
)

__all__ = ["format_loop_header", "format_row", "quote_token", "read_loop"]
