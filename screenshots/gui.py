"""Scipion's project window, as `scipion project NAME` opens it, which also answers questions about itself.

Commands come as JSON, one a line, on standard input; answers go, one a line, to standard output. What a user would
do with the mouse is done with the mouse, by the other process: it asks here only where things are. `FormWindow` comes
through the module that uses it, since its own cannot be imported first.
"""

import json
import os
import queue
import subprocess
import sys
import threading
import tkinter as tk
import traceback
from pathlib import Path
from tkinter import ttk
from types import SimpleNamespace

from pwem.viewers.mdviewer import viewer as table_views
from pyworkflow.gui.dialog import ListDialog
from pyworkflow.gui.project import ProjectWindow
from pyworkflow.gui.project.constants import ACTION_REFRESH
from pyworkflow.gui.project.viewprotocols import FormWindow
from pyworkflow.project import Manager
from pyworkflow.protocol import LEVEL_ADVANCED, PointerParam
from pyworkflow.utils import Message
from pyworkflow.viewer import DESKTOP_TKINTER, ProtocolViewer

# How often the window looks for commands, milliseconds.
INTERVAL = 100
# Goes along with Scipion's viewer of tables, and answers questions about it.
TABLE_PROBE = str(Path(__file__).resolve().parent / "table_probe.py")


class Probe:
    """Carries out commands inside the window's own event loop.

    Parameters
    ----------
    window : ProjectWindow
        The project's.
    """

    def __init__(self, window):
        self.window = window
        self.forms = []
        self.viewer = None
        self.table_viewer = None
        self.commands = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()
        self.keep_forms()
        self.keep_table_viewer()
        window.root.after(INTERVAL, self.poll)

    def keep_forms(self):
        """Remember every form that is opened: Scipion itself keeps no list of them."""
        create = FormWindow._createGUI

        def create_and_remember(form):
            self.forms.append(form)
            create(form)

        FormWindow._createGUI = create_and_remember

    def keep_table_viewer(self):
        """Start Scipion's viewer of tables, a process of its own, together with a probe."""

        def start_with_probe(command, **options):
            command[command.index("--extensionpath") + 1] = TABLE_PROBE
            self.table_viewer = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
            )
            return self.table_viewer

        table_views.subprocess = SimpleNamespace(Popen=start_with_probe)

    def read(self):
        """Take commands from standard input; the window ends with it."""
        for line in sys.stdin:
            self.commands.put(json.loads(line))
        self.commands.put({"do": "quit"})

    def poll(self):
        """Carry out what has come. The next look is arranged first: forms bring event loops of their own."""
        self.window.root.after(INTERVAL, self.poll)
        if self.commands.empty():
            return
        command = self.commands.get()
        try:
            answer = getattr(self, command.pop("do"))(**command)
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)

    # --------------------------- where things are ------------------------------------------
    def box(self, label):
        """Answer where the box of a run is on the screen; null where there is none yet."""
        canvas = self.window.getViewWidget().runsGraphCanvas
        canvas.update_idletasks()
        for item in canvas.items.values():
            if hasattr(item, "node") and item.node.run and item.node.run.getObjLabel() == label:
                left, top, right, bottom = item.getCorners()
                x, y = (
                    (left + right) / 2 - canvas.canvasx(0),
                    (top + bottom) / 2 - canvas.canvasy(0),
                )
                return {"x": int(canvas.winfo_rootx() + x), "y": int(canvas.winfo_rooty() + y)}
        return {}

    def refresh_button(self):
        """Answer where the button *Refresh* of the window is."""
        return middle_of(self.window.getViewWidget().viewButtons[ACTION_REFRESH])

    def leaf(self, name):
        """Answer where a protocol is in the tree on the left, its branches opened; null where it is not drawn."""
        tree = self.window.getViewWidget().protTree
        self.unfold(name)
        (item,) = [item for item in walk_tree(tree) if str(item).split(".")[-1] == name]
        tree.see(item)
        tree.update()
        return place_item(tree, item)

    def selected(self):
        """Answer the label of the run that is selected, why it failed, and the outputs that the window knows of."""
        run = self.window.getViewWidget().getSelectedProtocol()
        if run is None:
            return {"label": "", "failure": "", "outputs": []}
        return {
            "label": run.getObjLabel(),
            "failure": run.getErrorMessage() if run.isFailed() else "",
            "outputs": [name for name, _ in run.iterOutputAttributes()],
        }

    def inputs(self):
        """Answer what the newest form has in its inputs that are shown, as it shows them."""
        form = self.forms[-1]
        return {
            name: pointer.getUniqueId() if pointer.hasValue() else ""
            for name, param in form.protocol.getDefinition().iterParams()
            if isinstance(param, PointerParam) and form.protocol.evalParamCondition(name)
            for pointer in [form.widgetDict[name].get()]
        }

    def button(self, text):
        """Answer where a button of the newest form is."""
        return find_button(self.forms[-1].root, text)

    def choice(self, name, text):
        """Answer where one of the answers to a line of the newest form is; null where the line is not shown."""
        return find_button(self.forms[-1].widgetDict[name].content, text)

    def wand(self, name):
        """Answer where the wand of a line of the newest form is; null where the line is not shown."""
        return find_button(self.forms[-1].widgetDict[name].btnFrame, Message.LABEL_BUTTON_WIZ)

    def magnifier(self, name):
        """Answer where the button is that lists what an input of the newest form may be."""
        return find_button(self.forms[-1].widgetDict[name].btnFrame, "Select")

    def listed(self, text):
        """Answer where an entry of the list that was opened from the newest form is; null where it is not drawn."""
        for widget in walk(self.forms[-1].root):
            if isinstance(widget, ListDialog) and widget.winfo_viewable():
                for item in walk_tree(widget.tree):
                    if widget.tree.item(item, "text") == text:
                        return place_item(widget.tree, item)
        return {}

    def value(self, name):
        """Answer what a line of the newest form shows."""
        return {"value": self.forms[-1].widgetDict[name].get()}

    def output_line(self, name):
        """Answer where an output of the selected run is in the list above its summary; null where it is not drawn."""
        tree = self.window.getViewWidget().infoTree
        # Its `update` is Scipion's, and fills it anew.
        tree.update_idletasks()
        for item in walk_tree(tree):
            if tree.item(item, "text").split(" ")[-1] == name:
                return place_item(tree, item)
        return {}

    def table(self, question, **words):
        """Ask the probe of Scipion's viewer of tables, and pass its answer on; null where none was opened."""
        if self.table_viewer is None:
            return {}
        print(json.dumps({"do": question, **words}), file=self.table_viewer.stdin, flush=True)
        for line in self.table_viewer.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError("the viewer of tables ended")

    # --------------------------- what is shown ---------------------------------------------
    def arrange(self, width, height, tree):
        """Give the window its size, and the tree of protocols its width, pixels."""
        root = self.window.root
        root.geometry(f"{width}x{height}+0+0")
        root.update()
        panes = [
            widget for widget in walk(root) if isinstance(widget, (tk.PanedWindow, ttk.PanedWindow))
        ]
        for pane in panes:
            horizontal = str(pane.cget("orient")) == "horizontal"
            place = tree if horizontal else height // 3
            if isinstance(pane, ttk.PanedWindow):
                pane.sashpos(0, place)
            else:
                pane.sash_place(0, place, place)
            root.update()
        return {}

    def select(self, label):
        """Select a run, so that its summary is shown."""
        view = self.window.getViewWidget()
        view._selection.clear()
        view._selection.append(find_run(self.window.project, label).getObjId())
        view.updateRunsGraph(refresh=True, checkPids=True)
        view._updateSelection()
        return {}

    def unfold(self, text):
        """Open the branches of the tree of protocols that lead to those whose class has `text` in its name."""
        tree = self.window.getViewWidget().protTree
        found = [item for item in walk_tree(tree) if text in str(item)]
        for item in found:
            parent = tree.parent(item)
            while parent:
                tree.item(parent, open=True)
                parent = tree.parent(parent)
        if found:
            tree.see(found[-1])
            tree.see(found[0])
        return {"found": len(found)}

    def form(self, label=None, name=None, advanced=False):
        """Open the form of a run, or an empty one of a protocol, its expert level unfolded on request."""
        project = self.window.project
        if label is not None:
            protocol = find_run(project, label)
        else:
            protocol = project.newProtocol(project.getDomain().findClass(name))
        if advanced:
            protocol.expertLevel.set(LEVEL_ADVANCED)
        self.window.root.after(1, self.window.getViewWidget()._openProtocolForm, protocol)
        return {}

    def tabs(self):
        """Answer the names of the tabs of the newest form."""
        notebook = find_notebook(self.forms[-1])
        return {"tabs": [notebook.tab(tab, "text") for tab in notebook.tabs()]}

    def tab(self, place):
        """Turn the newest form to one of its tabs."""
        find_notebook(self.forms[-1]).select(place)
        return {}

    def viewer_of(self, label):
        """Open what *Analyze results* opens for a run."""
        protocol = find_run(self.window.project, label)
        viewer = self.window.project.getDomain().findViewers(protocol, DESKTOP_TKINTER)[0]
        self.viewer = viewer(project=self.window.project, protocol=protocol, parent=self.window)
        assert isinstance(self.viewer, ProtocolViewer)
        self.window.root.after(1, lambda: self.viewer.visualize(protocol, windows=self.window))
        return {}

    def figure(self, name, **values):
        """Click the eye of one line of the viewer that is open, with other fields of its form filled in."""
        for field, value in values.items():
            self.viewer.formWindow.setVar(field, value)
            self.viewer.formWindow.setParamFromVar(field)
        self.window.root.after(1, self.viewer._visualizeParam, name)
        return {}

    def output(self, label, name):
        """Open the first viewer of an output."""
        protocol = find_run(self.window.project, label)
        item = getattr(protocol, name)
        viewer = self.window.project.getDomain().findViewers(item, DESKTOP_TKINTER)[0]
        viewer = viewer(project=self.window.project, protocol=protocol, parent=self.window)
        self.window.root.after(1, viewer.visualize, item)
        return {}

    def wizard(self, name):
        """Click the wand of a line of the newest form."""
        self.window.root.after(1, self.forms[-1].widgetDict[name]._showWizard)
        return {}

    def close_forms(self):
        """Close every form and figure, so that the next window is the only one."""
        import matplotlib.pyplot as plt

        plt.close("all")
        # A figure that is being closed goes with the next turn of the event loop.
        root = self.window.root
        root.update()
        # Tooltips, which have no frame, belong to Scipion.
        opened = [
            child
            for child in walk(root)
            if isinstance(child, tk.Toplevel)
            and child is not root
            and not child.wm_overrideredirect()
        ]
        self.forms.clear()
        for window in opened:
            if window.winfo_exists():
                window.destroy()
        return {}

    def quit(self):
        """End the process, and the viewer of tables with it; nothing is asked."""
        if self.table_viewer is not None:
            self.table_viewer.kill()
        os._exit(0)


def find_button(within, text):
    """Find the middle of a button or radio button by its text; nothing where it is not shown."""
    kinds = (tk.Button, ttk.Button, tk.Radiobutton)
    for widget in walk(within):
        if (
            isinstance(widget, kinds)
            and str(widget.cget("text")) == text
            and widget.winfo_viewable()
        ):
            return middle_of(widget)
    return {}


def middle_of(widget):
    """Give the middle of a widget on the screen."""
    x = widget.winfo_rootx() + widget.winfo_width() // 2
    y = widget.winfo_rooty() + widget.winfo_height() // 2
    return {"x": x, "y": y}


def place_item(tree, item):
    """Find the place of an item of a tree on the screen; nothing where it is not drawn."""
    place = tree.bbox(item)
    if not place:
        return {}
    # Near the left end of its text: a click on the column's far side would hit the frame.
    x, y = place[0] + min(place[2] // 2, 60), place[1] + place[3] // 2
    return {"x": tree.winfo_rootx() + x, "y": tree.winfo_rooty() + y}


def walk(widget):
    """Yield a widget and all that it contains."""
    yield widget
    for child in widget.winfo_children():
        yield from walk(child)


def find_notebook(form):
    """Return the widget that holds the tabs of a form."""
    return next(widget for widget in walk(form.root) if isinstance(widget, ttk.Notebook))


def walk_tree(tree, parent=""):
    """Yield all items of a tree."""
    for item in tree.get_children(parent):
        yield item
        yield from walk_tree(tree, item)


def find_run(project, label):
    """Return the run with a label, as the project has it by now."""
    return next(run for run in project.getRuns(refresh=True) if run.getObjLabel() == label)


def main():
    """Open the project named on the command line."""
    window = ProjectWindow(Manager().getProjectPath(sys.argv[1]))
    Probe(window)
    print(json.dumps({"ready": True}), flush=True)
    window.show()


if __name__ == "__main__":
    main()
