"""The run that most viewers are opened on."""

import pytest


@pytest.fixture(autouse=True)
def close_figures():
    """Figures of pyplot live until they are closed."""
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


@pytest.fixture(scope="module")
def denoised(module_project):
    """A run on small images of four views, in two chunks, whose truth the project knows."""
    from polardenoise.tests import scipion_project

    return scipion_project.get_denoised_chunks()
