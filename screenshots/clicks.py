"""What a user does with the mouse in Scipion's project window: forms opened and executed, runs waited for."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

from screen import Screen, wait_for
from window import Window

# Title of Scipion's viewer of tables, and its button that shows the images alone.
TABLE, GALLERY = "^Metadata: ", "Go to GALLERY view"
# Name that the viewer gives to the run of a subset.
SUBSET = "create subset"


def raise_project(screen: Screen, title: str) -> None:
    """Bring the project's window to the front, where clicks reach it."""
    screen.run("xdotool", "windowraise", screen.wait_for_window(f"^{title}"))


def open_run(window: Window, screen: Screen, label: str, title: str) -> None:
    """Double-click the box of a run, and wait for its form."""
    box = wait_for(lambda: window.ask("box", label=label), f"the box of {label!r}", 30)
    screen.click(box["x"], box["y"], times=2)
    screen.wait_for_window(title)


def select_run(window: Window, screen: Screen, label: str) -> None:
    """Click the box of a finished run: forms opened afterwards take their inputs from it.

    Until the window knows of its outputs, forms would offer *Schedule*, not *Execute*; by itself the window looks ever
    more rarely, so *Refresh* is clicked before.

    Raises
    ------
    RuntimeError
        If the window has the run as failed.
    """
    button = window.ask("refresh_button")
    screen.click(button["x"], button["y"])
    box = wait_for(lambda: window.ask("box", label=label), f"the box of {label!r}", 30)
    screen.click(box["x"], box["y"])

    def knows_outputs() -> bool:
        selected = window.ask("selected")
        if selected["label"] == label and selected["failure"]:
            raise RuntimeError(f"the window has {label!r} as failed: {selected['failure']}")
        return selected["label"] == label and bool(selected["outputs"])

    wait_for(knows_outputs, f"the choice of {label!r}", 60)


def open_protocol(window: Window, screen: Screen, name: str) -> None:
    """Double-click a protocol in the tree on the left, and wait for its form."""
    leaf = wait_for(lambda: window.ask("leaf", name=name), f"{name} in the tree", 30)
    screen.click(leaf["x"], leaf["y"], times=2)
    screen.wait_for_window(f"{name}$")


def execute_form(window: Window, screen: Screen, title: str) -> None:
    """Click *Execute* in the newest form, and wait until it has closed."""
    click_execute(window, screen)
    screen.wait_until_closed(title)


def click_execute(window: Window, screen: Screen) -> None:
    """Click *Execute* in the newest form, whatever comes of it."""
    button = wait_for(lambda: window.ask("button", text="Execute"), "the button Execute", 30)
    screen.click(button["x"], button["y"])


def answer_question(window: Window, screen: Screen, name: str, text: str) -> None:
    """Click an answer, for example *Yes*, to a question of the newest form."""
    place = wait_for(lambda: window.ask("choice", name=name, text=text), f"{name}: {text}", 30)
    screen.click(place["x"], place["y"])
    wait_for(lambda: window.ask("value", name=name)["value"] == (text == "Yes"), f"{text!r}", 30)


def click_wand(window: Window, screen: Screen, name: str) -> Any:
    """Click the wand of a line of the newest form, and return what the line shows then.

    Raises
    ------
    TimeoutError
        If it shows the same as before.
    """
    before = window.ask("value", name=name)["value"]
    place = wait_for(lambda: window.ask("wand", name=name), f"the wand of {name}", 30)
    screen.click(place["x"], place["y"])

    def changed() -> Any:
        now = window.ask("value", name=name)["value"]
        return now if now != before else None

    return wait_for(changed, f"what the wand of {name} proposes", 30)


def choose_input(window: Window, screen: Screen, name: str, text: str) -> None:
    """Choose an input of the newest form from the list behind its magnifier."""
    place = wait_for(lambda: window.ask("magnifier", name=name), f"the list of {name}", 30)
    screen.click(place["x"], place["y"])
    entry = wait_for(lambda: window.ask("listed", text=text), f"{text!r} in the list", 30)
    screen.click(entry["x"], entry["y"], times=2)
    wait_for(lambda: window.ask("inputs")[name], f"{text!r} in the form", 30)


def open_gallery(window: Window, screen: Screen, output: str) -> None:
    """Double-click an output of the selected run; in the viewer of tables that opens, click *Go to GALLERY view*."""
    line = wait_for(lambda: window.ask("output_line", name=output), f"the line of {output}", 30)
    screen.click(line["x"], line["y"], times=2)
    screen.wait_for_window(TABLE)
    press(window, screen, GALLERY)


def pick_items(window: Window, screen: Screen, items: list[int]) -> None:
    """Click images of the gallery, by their ids, all but the first with the key *Ctrl* held down."""
    for place, item in enumerate(items):

        def find_image(number: int = item) -> dict[str, Any]:
            return window.ask("table", question="item", number=number)

        found = wait_for(find_image, f"image {item}", 30)
        screen.click(found["x"], found["y"], key="ctrl" if place else "")

    def are_picked() -> bool:
        return window.ask("table", question="picked")["ids"] == sorted(items)

    wait_for(are_picked, f"that {items} are picked", 30)


def make_subset(window: Window, screen: Screen, kind: str) -> None:
    """Press the button below the gallery that makes a subset of what is picked, agree, and close the viewer."""
    for text in (kind, "Accept", "Close"):
        press(window, screen, text)
    screen.wait_until_closed(TABLE)


def press(window: Window, screen: Screen, text: str) -> None:
    """Press a button of the viewer of tables."""
    button = wait_for(
        lambda: window.ask("table", question="button", text=text), f"the button {text!r}", 30
    )
    screen.click(button["x"], button["y"])


def read_runs(project: Any) -> list[Any]:
    """Read the runs of a project as its database has them.

    `project.getRuns(refresh=True)` would also write there what it believes of them, beside the window. A run that ends
    while either of the two looks at it is then marked as failed, although its log says *PROTOCOL FINISHED*.
    """
    from pyworkflow.protocol import Protocol

    return project.mapper.selectAllBatch(objectFilter=lambda one: isinstance(one, Protocol))


def read_own_status(run: Any) -> str:
    """Read the status that a run itself wrote last, in its own database; empty where there is none yet."""
    try:
        with closing(sqlite3.connect(f"file:{run.getDbPath()}?mode=ro", uri=True)) as database:
            found = database.execute(
                "SELECT value FROM Objects WHERE parent_id = ? AND name LIKE '%.status'",
                (run.getObjId(),),
            ).fetchone()
    except sqlite3.Error:  # not there, or not whole: it is copied when the run is launched
        return ""
    return found[0] if found else ""


def wait_until_finished(project: Any, label: str, seconds: float) -> Any:
    """Wait for the end of a run, as the run itself tells it.

    Parameters
    ----------
    project : Project
        Scipion's, in this process, whose folder is the working directory.
    label : str
        Of the run.
    seconds : float
        How long at most.

    Returns
    -------
    Protocol
        Finished, with all that its own database has.

    Raises
    ------
    RuntimeError
        If it failed, or died: the window says so, and its own database does not say that it finished.
    TimeoutError
        If it did not end.
    """
    from pyworkflow.protocol import getProtocolFromDb

    def find_finished() -> Any:
        for run in read_runs(project):
            if run.getObjLabel() != label:
                continue
            # The project's word is older than the run's: it is asked for after that.
            status = read_own_status(run)
            if status == "finished":
                return getProtocolFromDb(project.path, run.getDbPath(), run.getObjId())
            if status in ("failed", "aborted"):
                run = getProtocolFromDb(project.path, run.getDbPath(), run.getObjId())
            if run.isFailed() or run.isAborted():
                raise RuntimeError(f"{label!r} failed: {run.getErrorMessage()}")
        return None

    return wait_for(find_finished, f"the end of {label!r}", seconds)
