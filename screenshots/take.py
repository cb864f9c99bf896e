"""`make screenshots`: the plugin as a user sees it, photographed on a virtual screen.

A small workflow runs, Scipion's project window opens on it, and every form, viewer and wizard is opened and
photographed; which forms they show is noted beside them (`forms_shown.py`). Two runs are carried out with the mouse
alone: a set with junk is denoised (its box is double-clicked, *Execute* is clicked), and cleaned by the score that the
wand proposes; the project has to say that they finished. Then classes are picked. Exit code 1 if a picture is missing
or blank.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "demo"))

from clicks import (
    SUBSET,
    TABLE,
    answer_question,
    click_wand,
    execute_form,
    make_subset,
    open_gallery,
    open_protocol,
    open_run,
    pick_items,
    raise_project,
    select_run,
    wait_until_finished,
)
from forms_shown import record_forms
from headless import prepare_scipion
from screen import PACKAGES, Screen, find_missing, save_small
from window import Window

HERE = Path(__file__).resolve().parent

# Of the project's window, and of the tree of protocols in it, pixels.
SHAPE = {"width": 1280, "height": 820, "tree": 400}
# Protocol, short name of its pictures, and the run of the tour whose form is shown, with its inputs filled in.
FORMS = (
    ("ProtPolarSimulate", "simulate", "simulate"),
    ("ProtPolarTrain", "train", "train"),
    ("ProtPolarAdapt", "adapt", "adapt"),
    ("ProtPolarImportModel", "import_model", "import model"),
    ("ProtPolarDenoise", "denoise", "denoise"),
    ("ProtPolarSelect", "select", "select"),
    ("ProtPolarEvaluate", "evaluate", "evaluate"),
    ("ProtPolarReconstruct", "reconstruct", "reconstruct raw"),
)
# Run, picture, line of the viewer, title of the window that opens, fields of the viewer's form.
FIGURES: tuple[tuple[str, str, str, str, dict[str, Any]], ...] = (
    ("train", "curves", "showCurves", "Training", {}),
    ("simulate", "simulated", "showGallery", "Simulated particles", {"particleIds": "1-6"}),
    ("denoise", "gallery", "showGallery", "Particles before and after", {"particleIds": "1-6"}),
    ("evaluate", "frc", "showCurves", "FSC", {}),
    ("evaluate", "evaluation", "showPicture", "Evaluation", {}),
    ("reconstruct raw", "fsc_raw", "showFsc", "FSC", {}),
    ("reconstruct denoised", "fsc_denoised", "showFsc", "FSC", {}),
    ("reconstruct raw", "maps", "showMaps", "Map and half maps", {}),
    ("denoise", "neighbours", "showNeighbours", "Neighbours of", {"particleIds": "2"}),
    ("denoise", "scores", "showScores", "Scores", {}),
    ("denoise", "worst", "showWorst", "Particles before and after", {}),
    ("denoise", "classes", "showClasses", "Class averages", {}),
)
WIZARDS = (("ProtPolarEvaluate", "evaluate", "maskRadius", "wizard_mask_radius", "Wizard"),)
CLICKED, CLEANED = "denoise by clicks", "polardenoise - select particles"
# Classes that are picked in Scipion's viewer, by their ids.
PICKED = [1, 2, 3]


class Camera:
    """Takes the pictures and keeps count of them."""

    def __init__(self, screen: Screen, folder: Path) -> None:
        self.screen, self.folder = screen, folder
        self.taken: list[str] = []
        self.failures: list[str] = []

    def take(self, name: str, title: str) -> None:
        """Photograph the window with a title; what goes wrong is noted, and the tour goes on."""
        try:
            picture = self.screen.photograph(self.screen.wait_for_window(title))
            size = save_small(picture, self.folder / f"{name}.png")
            self.taken.append(name)
            print(
                f"{name}.png  {picture.width} x {picture.height}, {size / 1000:.0f} kB", flush=True
            )
        except (TimeoutError, ValueError) as error:
            self.failures.append(f"{name}: {error}")
            print(f"{name}: {error}", flush=True)


def photograph_all(window: Window, camera: Camera) -> None:
    """Go through tree, forms, viewers and wizards."""
    screen = camera.screen
    screen.wait_for_window(f"^{window_title()}")
    window.ask("arrange", **SHAPE)
    window.ask("select", label="denoise")
    if not window.ask("unfold", text="ProtPolar")["found"]:
        camera.failures.append("the tree shows no protocol of polardenoise")
    camera.take("project", f"^{window_title()}")
    for protocol, name, label in FORMS:
        window.ask("form", label=label, advanced=name == "denoise")
        title = f"{protocol}$"
        screen.wait_for_window(title)
        for place, _ in enumerate(window.ask("tabs")["tabs"]):
            window.ask("tab", place=place)
            camera.take(f"form_{name}" + (f"_{place + 1}" if place else ""), title)
        window.ask("close_forms")
        screen.wait_until_closed(title)
    for label, name, line, title, values in FIGURES:
        window.ask("viewer_of", label=label)
        form = "Protocol Viewer"
        screen.wait_for_window(form)
        if f"viewer_{label.split()[0]}" not in camera.taken:
            camera.take(f"viewer_{label.split()[0]}", form)
        window.ask("figure", name=line, **values)
        camera.take(f"figure_{name}", title)
        window.ask("close_forms")
        screen.wait_until_closed(form)
    window.ask("output", label="import model", name="outputModel")
    camera.take("figure_model", "^Model ")
    window.ask("close_forms")
    for protocol, label, field, name, title in WIZARDS:
        window.ask("form", label=label)
        screen.wait_for_window(f"{protocol}$")
        window.ask("wizard", name=field)
        camera.take(name, title)
        window.ask("close_forms")
        screen.wait_until_closed(title)


def window_title() -> str:
    """Return how the title of the project's window begins."""
    from tour import PROJECT

    return PROJECT


def run_by_clicks(window: Window, camera: Camera, project: Any) -> None:
    """Carry out the prepared run with the mouse: double-click its box, click *Execute*, wait for the project."""
    screen, title, start = camera.screen, "ProtPolarDenoise$", time.monotonic()
    raise_project(screen, window_title())
    open_run(window, screen, CLICKED, title)
    camera.take("clicks_form", title)
    execute_form(window, screen, title)
    run = wait_until_finished(project, CLICKED, 600)
    size = run.outputParticles.getSize()
    assert size == run.inputParticles.get().getSize(), size
    print(f"{CLICKED}: finished, {size} particles, {time.monotonic() - start:.0f} s", flush=True)
    window.ask("select", label=CLICKED)
    camera.take("clicks_finished", f"^{window_title()}")


def select_by_clicks(window: Window, camera: Camera, project: Any) -> None:
    """Clean the set with the mouse: by the score that the wand proposes; then pick classes in Scipion's viewer."""
    screen, title = camera.screen, "ProtPolarSelect$"
    raise_project(screen, window_title())
    select_run(window, screen, CLICKED)
    open_protocol(window, screen, "ProtPolarSelect")
    answer_question(window, screen, "useMinScore", "Yes")
    proposed = click_wand(window, screen, "minScore")
    camera.take("clicks_form_select", title)
    execute_form(window, screen, title)
    run = wait_until_finished(project, CLEANED, 120)
    size, given = run.outputParticles.getSize(), run.inputParticles.get().getSize()
    assert size < given, size
    print(f"{CLEANED}: {size} of {given} particles score at least {proposed}", flush=True)
    select_run(window, screen, CLEANED)
    camera.take("clicks_selected", f"^{window_title()}")
    select_run(window, screen, CLICKED)
    open_gallery(window, screen, "outputClasses")
    pick_items(window, screen, PICKED)
    camera.take("clicks_classes", TABLE)
    make_subset(window, screen, "Class2D")
    subset = wait_until_finished(project, SUBSET, 120)
    assert subset.outputClasses2D.getSize() == len(PICKED)


def main() -> int:
    """Make the project, take the pictures, say what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=HERE.parent / "docs" / "screenshots")
    parser.add_argument("--seconds", type=int, default=1800, help="give up after so long")
    parser.add_argument("--keep", action="store_true", help="keep the project and say where it is")
    arguments = parser.parse_args()
    missing = find_missing()
    if missing:
        print(f"missing: {', '.join(missing)} (Debian: {PACKAGES})", file=sys.stderr)
        return 1
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(arguments.seconds)
    output = arguments.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="polardenoise_screenshots_"))
    os.environ["OMP_NUM_THREADS"] = "1"
    prepare_scipion(work)
    try:
        failures = take_all(output)
    finally:
        if arguments.keep:
            print(f"the project is in {work}")
        else:
            os.chdir(output)
            shutil.rmtree(work, ignore_errors=True)
    for failure in failures:
        print(f"FAILED {failure}", file=sys.stderr)
    return 1 if failures else 0


def take_all(output: Path) -> list[str]:
    """Run the workflow, open the window, take all pictures into a folder; return what failed."""
    from tour import PROJECT, make_project, run_tour, start_training

    workflow = make_project()
    start_training(workflow)
    run_tour(workflow)
    with Screen() as screen:
        camera, window = Camera(screen, output), Window(screen, PROJECT)
        try:
            photograph_all(window, camera)
            run_by_clicks(window, camera, workflow.project)
            select_by_clicks(window, camera, workflow.project)
        finally:
            window.close()
    record_forms(output, camera.taken)
    return camera.failures


def give_up(*_: object) -> None:
    """Turn the alarm into an error, so that everything is cleaned up."""
    raise TimeoutError("the screenshots took too long")


if __name__ == "__main__":
    sys.exit(main())
