"""The small pictures of a report and their HTML."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polardenoise.engine.html_page import make_panel
from polardenoise.engine.report_figures import GreyRange, choose_grey_range, write_picture


@dataclass(frozen=True)
class Pictures:
    """Writes small pictures into a folder and gives their HTML."""

    folder: Path

    def add(
        self, name: str, image: np.ndarray, caption: str, grey_range: GreyRange | None = None
    ) -> str:
        """Write `NAME.png` of an image `(N, N)`; the caption ends with its black and white values."""
        black, white = grey_range or choose_grey_range(image)
        write_picture(self.folder / f"{name}.png", image, (black, white))
        return make_panel(f"{name}.png", f"{caption}\nblack {black:.3g}, white {white:.3g}")
