"""Curves of a training and cards of models: what is drawn and said is what their files hold."""

import csv
import json
import os
import shutil

import numpy as np

from polardenoise.tests import scipion_project  # isort: skip - before pwem

from pyworkflow.viewer import TextView

from polardenoise.convert.shipped_models import PRETRAINED_FOLDER
from polardenoise.objects import PolarModel
from polardenoise.tests.viewers.figures import get_texts, open_viewer, see
from polardenoise.tests.virtual_screen import display, see_window  # noqa: F401 - a fixture
from polardenoise.viewers import PolarModelViewer, PolarTrainViewer
from polardenoise.viewers.curves import TrainingCurves, read_history

COLUMNS = "step,seconds,images,learning_rate,training_loss,validation_relative_mse"


def test_curves_follow_a_training_that_runs(tmp_path):
    """Opened before the first line; lines are added, one is half written; the closed window stops looking."""
    path = tmp_path / "history.csv"
    curves = TrainingCurves(str(path), "Training")
    assert "Nothing yet" in get_texts(curves)
    lines = [COLUMNS, "10,60.0,320,1e-4,0.9,0.8", "20,120.0,640,2e-4,0.7,", "30,1"]
    path.write_text("\n".join(lines))
    os.utime(path, (1, 1))
    assert curves.refresh()
    loss, error, rate = (axis.lines[0] for axis in curves.figure.axes)
    np.testing.assert_array_equal(loss.get_xydata(), [[10, 0.9], [20, 0.7]])
    np.testing.assert_array_equal(error.get_xydata(), [[10, 0.8]])
    np.testing.assert_array_equal(rate.get_xydata(), [[10, 1e-4], [20, 2e-4]])
    path.write_text("\n".join([*lines[:3], "30,180.0,960,1e-4,0.5,0.25", ""]))
    assert curves.refresh()
    np.testing.assert_array_equal(error.get_xydata(), [[10, 0.8], [30, 0.25]])
    low, high = error.axes.get_ylim()
    assert low <= 0.25 < 0.8 <= high
    assert "step 30, 3.0 minutes, relative MSE 0.250" in get_texts(curves)
    curves.close()
    assert not curves.refresh()


# Opens the window, writes a line when it is there, and waits for the window to have drawn it.
LIVE = """
import os, sys
from pyworkflow.gui.plotter import Plotter
Plotter.setBackend("TkAgg")
from polardenoise.viewers import curves

curves.REFRESH_INTERVAL = 500
path, columns = sys.argv[1:]
window = curves.TrainingCurves(path, "Training")
window.show()
root = window.figure.canvas.get_tk_widget()

def write():
    open(path, "w").write(columns + "\\n5,60.0,320,1e-4,0.9,0.8\\n")

def look():
    drawn = window.lines["training_loss"].get_xydata().tolist()
    if drawn:
        print("SEEN", drawn, flush=True)
        os._exit(0)
    root.after(200, look)

root.after(1000, write)
root.after(1200, look)
root.mainloop()
"""


def test_an_open_window_draws_what_is_written(tmp_path, display):  # noqa: F811
    """On a screen: nobody calls refresh but the window's own timer."""
    seen = see_window(display, LIVE, str(tmp_path / "history.csv"), COLUMNS)
    assert seen == "[[5.0, 0.9]]"


def test_curves_of_a_training_are_its_history(project):
    run = scipion_project.get_training()
    (curves,) = see(open_viewer(PolarTrainViewer, run), "showCurves")
    with open(run.getTrainingPath("history.csv")) as file:
        rows = list(csv.DictReader(file))
    error = curves.figure.axes[1].lines[0].get_xydata()
    wanted = [(float(row["step"]), float(row["validation_relative_mse"])) for row in rows]
    np.testing.assert_array_equal(error, wanted)
    assert len(wanted)


def test_card_says_what_a_model_was_trained_on(project):
    run = scipion_project.get_training()
    (card,) = see(open_viewer(PolarTrainViewer, run), "showModel")
    text = get_texts(card)
    for words in ("polar-transformer", "32 px", "2 phantoms (1, 2)", "4 steps", "SHA-256"):
        assert words in text, words
    (axis,) = card.figure.axes
    history = read_history(run.getTrainingPath("history.csv"))
    np.testing.assert_array_equal(axis.lines[0].get_ydata(), history["validation_relative_mse"])


def test_shipped_model_with_its_card(project, tmp_path):
    folder = str(tmp_path / "base")
    shutil.copytree(os.path.join(PRETRAINED_FOLDER, "base"), folder)
    model = PolarModel(folder)
    model.readCard()
    card, text = PolarModelViewer(project=project)._visualize(model)
    assert isinstance(text, TextView)
    assert text.getFileList() == [os.path.join(folder, "CARD.rst")]
    written = get_texts(card)
    assert "120 phantoms (0 to 119); 50 structures or maps (1bxn" in written
    with open(os.path.join(PRETRAINED_FOLDER, "base", "model.json")) as file:
        steps = json.load(file)["trained_on"]["steps"]
    assert f"{steps} steps" in written
    shutil.rmtree(folder)
    (message,) = PolarModelViewer(project=project)._visualize(model)
    assert "not there" in message.getMessage()
