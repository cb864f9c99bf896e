"""What a user does with the mouse in Scipion's project window: forms opened and executed, runs waited for."""

from __future__ import annotations

from typing import Any

from screen import Screen, wait_for
from window import Window


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

    The window learns of outputs some seconds after the end; until then forms would offer *Schedule*, not *Execute*.
    """
    box = wait_for(lambda: window.ask("box", label=label), f"the box of {label!r}", 30)
    screen.click(box["x"], box["y"])

    def knows_outputs() -> bool:
        selected = window.ask("selected")
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


def wait_until_finished(project: Any, label: str, seconds: float) -> Any:
    """Wait for the end of a run, as the project has it by then.

    Parameters
    ----------
    project : Project
        Scipion's, in this process.
    label : str
        Of the run.
    seconds : float
        How long at most.

    Returns
    -------
    Protocol
        Finished.

    Raises
    ------
    RuntimeError
        If it failed.
    TimeoutError
        If it did not end.
    """

    def find_finished() -> Any:
        runs = [run for run in project.getRuns(refresh=True) if run.getObjLabel() == label]
        for run in runs:
            if run.isFailed() or run.isAborted():
                raise RuntimeError(f"{label!r} failed: {run.getErrorMessage()}")
        return runs[0] if runs and runs[0].isFinished() else None

    return wait_for(find_finished, f"the end of {label!r}", seconds)
