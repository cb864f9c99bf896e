"""Answers questions about Scipion's viewer of tables, inside of it: where items and buttons are, what is picked.

The viewer takes this module as an extension, in place of pwem's, which is passed on. Questions come as JSON, one a
line, on standard input; answers go, one a line, to standard output. Clicks are made with the mouse, by another process.
"""

import json
import sys
import threading

from pwem.viewers.mdviewer import readers
from PyQt5.QtCore import QObject, pyqtSignal
from PyQt5.QtWidgets import QAbstractButton, QApplication


class Probe(QObject):
    """Answers inside the viewer's own event loop."""

    asked = pyqtSignal(str)

    def __init__(self):
        QObject.__init__(self)
        self.asked.connect(self.answer)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        """Take questions from standard input."""
        for line in sys.stdin:
            self.asked.emit(line)

    def answer(self, line):
        """Answer one question."""
        question = json.loads(line)
        try:
            answer = getattr(self, question.pop("do"))(**question)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)

    def item(self, number):
        """Answer where the picture of an item is, by its id, in the gallery of images; null where it is not drawn."""
        view = find_window().gallery
        for row in range(view.rowCount()):
            for column in range(view.columnCount()):
                cell = view.cellWidget(row, column)
                if cell is not None and cell.getId() == number and is_seen(cell):
                    return place_widget(cell)
        return {}

    def picked(self):
        """Answer the ids of the items that are picked."""
        selection = find_window().table.getTable().getSelection().getSelection()
        return {"ids": sorted(int(number) for number in selection)}

    def button(self, text):
        """Answer where a button is, by its text or its tooltip; null where it is not shown."""
        for widget in QApplication.allWidgets():
            known = isinstance(widget, QAbstractButton) and text in (
                widget.text(),
                widget.toolTip(),
            )
            if known and is_seen(widget):
                return place_widget(widget)
        return {}


def find_window():
    """Return the window of the viewer."""
    return next(one for one in QApplication.topLevelWidgets() if hasattr(one, "gallery"))


def is_seen(widget):
    """Tell whether the middle of a widget is drawn: it is shown, and not scrolled away."""
    return widget.isVisible() and widget.visibleRegion().contains(widget.rect().center())


def place_widget(widget):
    """Find the middle of a widget on the screen."""
    middle = widget.mapToGlobal(widget.rect().center())
    return {"x": middle.x(), "y": middle.y()}


def extendMDViewer(manager):  # noqa: N802 - the viewer looks for this name
    """Start the probe, and do what the extension of pwem does."""
    manager.probe = Probe()
    readers.extendMDViewer(manager)
