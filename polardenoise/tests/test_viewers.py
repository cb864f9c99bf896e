"""The viewers: what they plot is what the files hold. Headless; no window is opened."""

import csv
import json
import os
import shutil
import subprocess
import sys

import mrcfile
import numpy as np
import pytest

from polardenoise.tests import scipion_project  # isort: skip - before pwem

from pyworkflow.viewer import DESKTOP_TKINTER, MessageView, TextView, View

from polardenoise.convert.chunks import read_chunks
from polardenoise.convert.shipped_models import PRETRAINED_FOLDER
from polardenoise.objects import PolarModel
from polardenoise.protocols.denoise_form import GROUP_RANDOM
from polardenoise.tests.scipion_project import read_stack
from polardenoise.tests.virtual_screen import display  # noqa: F401 - a fixture
from polardenoise.viewers import (
    PolarDenoiseViewer,
    PolarEvaluateViewer,
    PolarModelViewer,
    PolarReconstructViewer,
    PolarSimulateViewer,
    PolarTrainViewer,
)
from polardenoise.viewers.curves import TrainingCurves, read_history
from polardenoise.viewers.fsc_figure import (
    describe_crossing,
    draw_fsc,
    find_crossing,
    get_threshold,
)
from polardenoise.viewers.images import get_grey_range, rotate_image, smooth_image
from polardenoise.viewers.neighbours import read_neighbourhood

COLUMNS = "step,seconds,images,learning_rate,training_loss,validation_relative_mse"


@pytest.fixture(autouse=True)
def close_figures():
    """Figures of pyplot live until they are closed."""
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


def open_viewer(viewer_class, run, **fields):
    """Make a viewer as Scipion does, with its form filled in."""
    viewer = viewer_class(project=scipion_project.get_project(), protocol=run)
    viewer.setProtocol(run)
    for name, value in fields.items():
        getattr(viewer, name).set(value)
    return viewer


def see(viewer, name):
    """Click the eye of a line of the viewer's form."""
    views = viewer._getVisualizeDict()[name]()
    assert views
    assert all(isinstance(view, View) for view in views)
    return views


def get_images(plotter):
    """List the images of a figure with their titles, grey ranges and the labels of their rows."""
    return [
        (
            np.asarray(axis.images[0].get_array()),
            axis.get_title(),
            axis.images[0].get_clim(),
            axis.get_ylabel(),
        )
        for axis in plotter.figure.axes
    ]


def get_texts(plotter):
    """Return all that is written on a figure, titles and labels of axes included."""
    figure = plotter.figure
    texts = [text.get_text() for text in figure.findobj(lambda one: hasattr(one, "get_text"))]
    return "\n".join(texts)


@pytest.fixture(scope="module")
def denoised():
    """A run on small images of four views, in two chunks, whose truth the project knows."""
    from polardenoise.protocols import ProtPolarDenoise

    before = os.getcwd()
    project = scipion_project.get_project()
    os.chdir(project.path)
    run = scipion_project.run_protocol(
        project,
        ProtPolarDenoise,
        {
            "inputParticles": (scipion_project.get_views(), "outputParticles"),
            "inputModel": (scipion_project.get_training(), "outputModel"),
        },
        modelSource=1,
        particlesPerChunk=32,
        grouping=GROUP_RANDOM,
        useGpu=False,
        numberOfThreads=1,
    )
    os.chdir(before)
    return run


def test_the_report_of_a_particles_chunk_opens_in_the_browser(project, denoised, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    viewer = open_viewer(PolarDenoiseViewer, denoised)
    last = max(denoised.outputParticles.getIdSet())
    for chosen, folder in ("", "report"), (str(last), "report_00002"):
        viewer.particleIds.set(chosen)
        (view,) = see(viewer, "showReport")
        view.show()
        page = opened[-1].replace("file://", "").replace("file:", "")
        assert page.endswith(f"extra/{folder}/index.html")
        with open(page) as file:
            text = file.read()
        assert '<p class="verdict' in text
        assert "32 particles denoised by" in text


@pytest.fixture
def matched(project, denoised):
    """The same run with what the engine writes about neighbours: two chunks of 32, made up."""
    random = np.random.default_rng(7)
    written = {}
    for chunk in read_chunks(denoised._getExtraPath()):
        count = len(chunk.ids)
        neighbours = (np.arange(count)[:, None] + [1, 2, 3]) % count
        neighbours[:, 2] = -1
        arrays = {
            "neighbours": neighbours,
            "weights": np.tile(np.float32([0.25, 0.5, 0.0]), (count, 1)),
            "in_plane_degrees": np.tile(np.float32([90, -30, 0]), (count, 1)),
            "half": np.arange(count) % 2 + 1,
            "class_number": np.arange(count) % 3 + 1,
            "class_in_plane_degrees": np.zeros(count, np.float32),
            "score": random.random(count).astype(np.float32),
            "class_averages": random.normal(size=(3, 32, 32)).astype(np.float32),
            "class_half": np.array([1, 2, 1]),
            "class_size": np.array([10, 12, 10]) + 5 * chunk.number,
            "class_twin": np.array([2, 1, 0]),
            "pixel_size": 3.0,
        }
        path = denoised.getChunkPath("matches.npz", chunk.number)
        np.savez(path, **arrays)
        written[path] = {**arrays, "ids": chunk.ids}
    assert len(written) == 2
    yield denoised, written
    for path in written:
        os.remove(path)


def test_every_protocol_and_the_model_have_their_viewer(project):
    runs = (
        (scipion_project.get_views(), PolarSimulateViewer),
        (scipion_project.get_training(), PolarTrainViewer),
        (scipion_project.get_training().outputModel, PolarModelViewer),
    )
    for target, viewer in runs:
        assert project.getDomain().findViewers(target, DESKTOP_TKINTER)[0] is viewer


def test_lines_of_the_forms_are_those_that_are_handled(project, denoised):
    for viewer_class in (PolarDenoiseViewer, PolarSimulateViewer):
        viewer = open_viewer(viewer_class, denoised)
        assert all(viewer.getParam(name) is not None for name in viewer._getVisualizeDict())


# --------------------------- galleries -----------------------------------------------------
def test_gallery_shows_the_files_pixels(project, denoised):
    (plotter,) = see(
        open_viewer(PolarDenoiseViewer, denoised, particleIds="5, 2, 40"), "showGallery"
    )
    images = get_images(plotter)
    assert len(images) == 12
    noisy = read_stack(denoised.inputParticles.get())[[4, 1, 39]]
    estimate = read_stack(denoised.outputParticles)[[4, 1, 39]]
    truth = read_stack(scipion_project.get_views().outputClean)[[4, 1, 39]]
    expected = [*noisy, *estimate, *(noisy - estimate), *truth]
    for (shown, *_), wanted in zip(images, expected, strict=True):
        np.testing.assert_array_equal(shown, wanted)
    assert [title for _, title, *_ in images[:3]] == ["particle 5", "particle 2", "particle 40"]
    labels = [label for *_, label in images[::3]]
    assert "noisy" in labels[0]
    assert "estimate" in labels[1]
    assert "not data" in labels[1].replace("\n", " ")
    assert "truth" in labels[3]
    assert "not data" in get_texts(plotter)


def test_greys_are_honest(project, denoised):
    """Each panel has its own range, written under it; the residual is in that of its noisy image."""
    (plotter,) = see(open_viewer(PolarDenoiseViewer, denoised, particleIds="1-3"), "showGallery")
    images = get_images(plotter)
    for place, (image, _, limits, _) in enumerate(images):
        of = images[place - 6][0] if 6 <= place < 9 else image
        assert limits == pytest.approx(np.percentile(of, (1, 99)))
        written = plotter.figure.axes[place].get_xlabel()
        assert written == f"{limits[0]:.3g} … {limits[1]:.3g}"


def test_random_pick_is_of_the_set_and_changes(project, denoised):
    viewer = open_viewer(PolarDenoiseViewer, denoised, howMany=4)
    picks = set()
    for _ in range(4):
        (plotter,) = see(viewer, "showGallery")
        titles = tuple(title for _, title, *_ in get_images(plotter)[:4])
        numbers = [int(title.split()[1]) for title in titles]
        assert numbers == sorted(set(numbers))
        assert set(numbers) <= denoised.outputParticles.getIdSet()
        picks.add(titles)
    assert len(picks) > 1


def test_wrong_ids_are_said(project, denoised):
    for text, said in (("999", "no particle 999"), ("a-b", "no list of ids")):
        (message,) = see(open_viewer(PolarDenoiseViewer, denoised, particleIds=text), "showGallery")
        assert isinstance(message, MessageView)
        assert said in message.getMessage()


def test_images_that_are_gone_are_named(project, denoised):
    """A stack moved away: a message with its name, no traceback in the graphical interface."""
    stack = denoised.outputParticles.getFirstItem().getFileName()
    os.rename(stack, stack + ".away")
    try:
        (message,) = see(open_viewer(PolarDenoiseViewer, denoised, particleIds="1"), "showGallery")
    finally:
        os.rename(stack + ".away", stack)
    assert isinstance(message, MessageView)
    assert stack in message.getMessage()


def test_gallery_of_a_subset_follows_ids_to_the_truth(project, denoised):
    """The truth is found by id through a subset, whose particles are not in places 1..N."""
    from pwem.protocols import ProtSubSet

    from polardenoise.protocols import ProtPolarDenoise

    subset = scipion_project.run_protocol(
        project,
        ProtSubSet,
        {"inputFullSet": (scipion_project.get_views(), "outputParticles")},
        chooseAtRandom=True,
        nElements=8,
    )
    run = project.newProtocol(ProtPolarDenoise)
    scipion_project.set_input(run, "inputParticles", (subset, "outputParticles"))
    run.outputParticles = subset.outputParticles
    chosen = max(subset.outputParticles.getIdSet())
    (plotter,) = see(open_viewer(PolarDenoiseViewer, run, particleIds=str(chosen)), "showGallery")
    truth = read_stack(scipion_project.get_views().outputClean)[chosen - 1]
    np.testing.assert_array_equal(get_images(plotter)[-1][0], truth)


def test_no_residual_where_it_would_mislead(project, denoised):
    """CTF-free estimates are not subtracted from images with a CTF; the figure says why."""
    viewer = open_viewer(PolarDenoiseViewer, denoised, particleIds="1, 2")
    denoised.outputParticles.setIsAmplitudeCorrected(True)
    try:
        (plotter,) = see(viewer, "showGallery")
    finally:
        denoised.outputParticles.setIsAmplitudeCorrected(False)
    labels = [label for *_, label in get_images(plotter)]
    assert not any("−" in label for label in labels)
    assert "No residual" in get_texts(plotter)


def test_simulated_particles_beside_their_truth(project):
    run = scipion_project.get_views()
    viewer = open_viewer(PolarSimulateViewer, run, particleIds="3, 1")
    (plotter,) = see(viewer, "showGallery")
    expected = [
        *read_stack(run.outputParticles)[[2, 0]],
        *read_stack(run.outputClean)[[2, 0]],
    ]
    for (shown, *_), wanted in zip(get_images(plotter), expected, strict=True):
        np.testing.assert_array_equal(shown, wanted)
    (plotter,) = see(viewer, "showMaps")
    volume = mrcfile.read(run.outputVolume.getFileName())
    for (shown, *_), wanted in zip(
        get_images(plotter), (volume[16], volume[:, 16], volume[:, :, 16]), strict=True
    ):
        np.testing.assert_array_equal(shown, wanted)


# --------------------------- neighbours, scores, classes -----------------------------------
def test_neighbours_are_turned_onto_the_particle(matched):
    """Ids of the second chunk; the heaviest neighbour first; images rotated by the written angles."""
    run, written = matched
    second = list(written.values())[1]
    particle, light, heavy = (int(number) for number in second["ids"][:3])
    (plotter,) = see(
        open_viewer(PolarDenoiseViewer, run, particleIds=str(particle)), "showNeighbours"
    )
    images = get_images(plotter)
    assert len(images) == 2 * 4
    for row, particles in enumerate((run.inputParticles.get(), run.outputParticles)):
        pixels = read_stack(particles)
        own, mean, first, last = (image for image, *_ in images[4 * row : 4 * row + 4])
        np.testing.assert_array_equal(own, pixels[particle - 1])
        np.testing.assert_array_equal(first, rotate_image(pixels[heavy - 1], -30))
        np.testing.assert_array_equal(last, rotate_image(pixels[light - 1], 90))
        np.testing.assert_allclose(mean, (0.5 * first + 0.25 * last) / 0.75, rtol=1e-5, atol=1e-6)
    assert images[2][1] == f"{heavy}: 50.0 %, -30°"
    assert "not data" in get_texts(plotter)


def test_histogram_counts_every_score(matched):
    run, written = matched
    (plotter,) = see(open_viewer(PolarDenoiseViewer, run), "showScores")
    (axis,) = plotter.figure.axes
    heights = [[patch.get_height() for patch in bars] for bars in axis.containers]
    scores = np.concatenate([arrays["score"] for arrays in written.values()])
    halves = np.concatenate([arrays["half"] for arrays in written.values()])
    for half, counted in zip((1, 2), heights, strict=True):
        wanted, _ = np.histogram(scores[halves == half], bins=len(counted), range=(0, 1))
        np.testing.assert_array_equal(counted, wanted)
    assert f"{len(scores)} particles" in get_texts(plotter)


def test_lowest_and_highest_scores(matched):
    run, written = matched
    (plotter,) = see(open_viewer(PolarDenoiseViewer, run, howMany=4), "showWorst")
    scores = np.concatenate([arrays["score"] for arrays in written.values()])
    ids = np.concatenate([arrays["ids"] for arrays in written.values()])
    order = ids[np.argsort(scores)]
    shown = [int(title.split(":")[0]) for _, title, *_ in get_images(plotter)[:4]]
    assert shown == [*order[:2], *order[-2:]]
    pixels = read_stack(run.inputParticles.get())
    np.testing.assert_array_equal(get_images(plotter)[0][0], pixels[order[0] - 1])


def test_class_averages_largest_first(matched):
    run, written = matched
    (plotter,) = see(open_viewer(PolarDenoiseViewer, run), "showClasses")
    images = get_images(plotter)
    first, second = written.values()
    # Sizes 15, 17, 15 and 20, 22, 20; classes of the second chunk are numbered on.
    np.testing.assert_array_equal(images[0][0], second["class_averages"][1])
    assert images[0][1] == "class 5: 22\nhalf 2, twin 4"
    np.testing.assert_array_equal(images[3][0], first["class_averages"][1])
    assert len(images) == 6


def test_without_matches_the_viewer_says_so(project, denoised):
    viewer = open_viewer(PolarDenoiseViewer, denoised)
    for name in ("showNeighbours", "showScores", "showWorst", "showClasses"):
        (message,) = see(viewer, name)
        assert isinstance(message, MessageView)
        assert "neighbours" in message.getMessage()


def test_file_of_other_particles_is_refused(tmp_path):
    np.savez(tmp_path / "m.npz", neighbours=np.zeros((3, 2), int))
    with pytest.raises(ValueError, match="3 particles, not 4"):
        read_neighbourhood(str(tmp_path / "m.npz"), range(4))


# --------------------------- training and models -------------------------------------------
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
    finished = subprocess.run(
        [sys.executable, "-c", LIVE, str(tmp_path / "history.csv"), COLUMNS],
        env={**os.environ, "DISPLAY": display},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.rsplit("SEEN ", 1)[1].strip() == "[[5.0, 0.9]]"


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


# --------------------------- FSC and maps --------------------------------------------------
@pytest.fixture(scope="module")
def reconstructed(denoised):
    """Raw particles with a reference, and denoised ones."""
    from polardenoise.protocols import ProtPolarReconstruct

    before = os.getcwd()
    project, views = scipion_project.get_project(), scipion_project.get_views()
    os.chdir(project.path)
    sources = (views, {"referenceVolume": (views, "outputVolume")}), (denoised, {})
    runs = [
        scipion_project.run_protocol(
            project,
            ProtPolarReconstruct,
            {"inputParticles": (source, "outputParticles"), **more},
            useReferenceVolume=bool(more),
            numberOfThreads=1,
        )
        for source, more in sources
    ]
    os.chdir(before)
    return runs


def test_fsc_of_raw_particles(project, reconstructed):
    raw, _ = reconstructed
    (plotter,) = see(open_viewer(PolarReconstructViewer, raw), "showFsc")
    (axis,) = plotter.figure.axes
    drawn = {line.get_label(): line for line in axis.lines}
    for curve in raw.outputFSC.iterItems():
        (label,) = [label for label in drawn if label.startswith(curve.getObjLabel())]
        frequencies, values = (list(map(float, data)) for data in curve.getData())
        np.testing.assert_array_equal(drawn[label].get_xdata(), frequencies)
        np.testing.assert_array_equal(drawn[label].get_ydata(), values)
    text = get_texts(plotter)
    assert "resolution" in axis.get_title()
    assert "consistency" not in text
    resolution = raw.readSummary("summary.json")["fsc_0.5_to_reference_angstrom"]
    assert f"0.5 at {resolution:.1f} Å" in text


def test_fsc_of_denoised_particles_is_a_consistency(project, reconstructed):
    _, denoised = reconstructed
    viewer = open_viewer(PolarReconstructViewer, denoised)
    (plotter,) = see(viewer, "showFsc")
    (axis,) = plotter.figure.axes
    assert "consistency, not resolution" in axis.get_title()
    assert any("consistency, not resolution" in text.get_text() for text in axis.legend_.texts)
    (plotter,) = see(viewer, "showMaps")
    assert "consistency, not resolution" in get_texts(plotter)


def test_half_maps_and_their_difference(project, reconstructed):
    raw, _ = reconstructed
    (plotter,) = see(open_viewer(PolarReconstructViewer, raw), "showMaps")
    images = get_images(plotter)
    assert len(images) == 12
    whole, first, second = (
        mrcfile.read(raw.getResultPath(name)) for name in ("volume.mrc", "half1.mrc", "half2.mrc")
    )
    for row, volume in enumerate((whole, first, second, first - second)):
        for (shown, _, limits, _), wanted, above in zip(
            images[3 * row :],
            (volume[16], volume[:, 16], volume[:, :, 16]),
            images[:3],
            strict=False,
        ):
            np.testing.assert_array_equal(shown, wanted)
            assert limits == above[2]


def test_evaluation_against_the_truth(project, denoised):
    """The curves are the output's, read at 0.5, and the picture is the engine's file."""
    import matplotlib.image

    from polardenoise.protocols import ProtPolarEvaluate

    run = scipion_project.run_protocol(
        project,
        ProtPolarEvaluate,
        {
            "inputParticles": (denoised, "outputParticles"),
            "referenceParticles": (scipion_project.get_views(), "outputClean"),
        },
        maskRadius=12,
        numberOfThreads=1,
    )
    assert run.readSummary("summary.json")["mask_radius"] == 12
    viewer = open_viewer(PolarEvaluateViewer, run)
    (plotter,) = see(viewer, "showCurves")
    (axis,) = plotter.figure.axes
    curves = [curve.clone() for curve in run.outputFSC.iterItems()]
    for curve, line in zip(curves, axis.lines[1:], strict=False):
        frequencies, values = (list(map(float, data)) for data in curve.getData())
        np.testing.assert_array_equal(line.get_xydata(), np.transpose([frequencies, values]))
        assert line.get_label().startswith(curve.getObjLabel())
        assert "0.5 at" in line.get_label() or "above 0.5" in line.get_label()
    assert "truth" in axis.get_title()
    assert axis.get_ylabel() == "Fourier ring correlation of images"
    (plotter,) = see(viewer, "showPicture")
    picture = matplotlib.image.imread(run.getPlotPath())
    np.testing.assert_array_equal(plotter.figure.axes[0].images[0].get_array(), picture)


def test_where_curves_are_read():
    """Against a truth at 0.5, between halves at 0.143."""
    known = (
        "map against reference, raw",
        "denoised against truth (mean FRC)",
        "noisy against truth",
    )
    halves = (
        "half maps",
        "half maps, denoised (consistency, not resolution)",
        "raw, random poses",
    )
    assert {get_threshold(label) for label in known} == {0.5}
    assert {get_threshold(label) for label in halves} == {0.143}


def test_crossings():
    frequencies = [0.1, 0.2, 0.3]
    assert find_crossing(frequencies, [1, 0.6, 0.4], 0.5) == pytest.approx(0.25)
    assert find_crossing(frequencies, [1, 1, 1], 0.143) is None
    assert describe_crossing(frequencies, [1, 0.6, 0.4], 0.5) == "0.5 at 4.0 Å"
    assert describe_crossing(frequencies, [1, 1, 1], 0.5) == "above 0.5 as far as 3.3 Å"


def test_curves_that_never_fall_are_drawn(project, reconstructed):
    """Maps without noise agree everywhere, which pwem's own search for a crossing divides by."""
    from pwem.objects import FSC

    curve = FSC(objLabel="half maps")
    curve.setData([0.1, 0.2], [1.0, 1.0])
    plotter = draw_fsc([curve], project, reconstructed[0], "title")
    assert "above 0.143 as far as 5.0 Å" in get_texts(plotter)


# --------------------------- pixels --------------------------------------------------------
def test_rotation_is_counter_clockwise_with_y_up():
    """A point on +x goes to +y in a quarter turn, about pixel (N//2, N//2)."""
    image = np.zeros((16, 16), np.float32)
    image[8, 8 + 5] = 1
    turned = rotate_image(image, 90)
    assert np.unravel_index(turned.argmax(), turned.shape) == (8 + 5, 8)
    np.testing.assert_array_equal(rotate_image(image, 0), image)


def test_rotating_there_and_back_keeps_a_smooth_image():
    random = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32] - 16
    image = smooth_image(random.normal(size=(32, 32)) * (x**2 + y**2 < 100), 2).astype(float)
    back = rotate_image(rotate_image(image, 37), -37)
    assert np.square(back - image).sum() < 1e-4 * np.square(image).sum()


def test_rotated_noise_is_as_strong_as_before():
    """No interpolation: a turned neighbour must not look cleaner than it is."""
    noise = np.random.default_rng(1).normal(size=(64, 64)).astype(np.float32)
    y, x = np.mgrid[:64, :64] - 32
    disk = x**2 + y**2 < 30**2
    for degrees in (10, 45, -90, 133):
        assert rotate_image(noise, degrees)[disk].std() == pytest.approx(
            noise[disk].std(), rel=0.03
        )


def test_smoothing_keeps_the_sum():
    image = np.random.default_rng(0).normal(size=(16, 16))
    assert smooth_image(image, 2).sum() == pytest.approx(image.sum(), rel=1e-5)
    assert smooth_image(image, 2).std() < 0.3 * image.std()


def test_grey_range_of_an_empty_image():
    assert get_grey_range(np.full((4, 4), 3.0)) == (2.0, 4.0)
