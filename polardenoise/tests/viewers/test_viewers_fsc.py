"""Curves of the FSC and maps: what is drawn is the output's, and a consistency is called one."""

import mrcfile
import numpy as np
import pytest

from polardenoise.tests import scipion_project  # isort: skip - before pwem

from polardenoise.tests.viewers.figures import get_images, get_texts, open_viewer, see
from polardenoise.viewers import PolarEvaluateViewer, PolarReconstructViewer
from polardenoise.viewers.fsc_figure import (
    describe_crossing,
    draw_fsc,
    find_crossing,
    get_threshold,
)
from polardenoise.viewers.images import read_image


@pytest.fixture(scope="module")
def reconstructed(module_project, denoised):
    """Raw particles with a reference, and denoised ones."""
    from polardenoise.protocols import ProtPolarReconstruct

    views = scipion_project.get_views()
    sources = (views, {"referenceVolume": (views, "outputVolume")}), (denoised, {})
    return [
        scipion_project.run_protocol(
            module_project,
            ProtPolarReconstruct,
            {"inputParticles": (source, "outputParticles"), **more},
            useReferenceVolume=bool(more),
            numberOfThreads=1,
        )
        for source, more in sources
    ]


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
    assert "*Next*: reconstruct the raw particles at these poses" in denoised.summary()[-1]
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
    (plotter,) = see(open_viewer(PolarEvaluateViewer, run, particleIds="5, 2"), "showImages")
    images = get_images(plotter)
    views = scipion_project.get_views()
    sets = views.outputParticles, denoised.outputParticles, views.outputClean
    assert len(images) == 6
    for row, particles in enumerate(sets):
        for column, number in enumerate((5, 2)):
            shown = images[2 * row + column][0]
            np.testing.assert_array_equal(shown, read_image(particles[number]))
    assert [images[2 * row][3].split()[0] for row in range(3)] == ["raw", "denoised", "truth"]


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
