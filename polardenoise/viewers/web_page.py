"""A page of the engine, shown in the browser of the desktop."""

import os
import webbrowser
from urllib.request import pathname2url

from pyworkflow.viewer import View


class PageView(View):
    """A page on the disk.

    Parameters
    ----------
    path : str
        The page.
    """

    def __init__(self, path):
        self.path = os.path.abspath(path)

    def show(self):
        """Open the page."""
        webbrowser.open("file:" + pathname2url(self.path))
