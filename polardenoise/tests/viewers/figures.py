"""How the tests of the viewers open one, and what they read off its figures."""

import numpy as np

from polardenoise.tests import scipion_project  # isort: skip - before pwem

from pyworkflow.viewer import View


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
