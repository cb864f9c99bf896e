"""What many tests ask for: a tiny model, an empty folder to work in, known phantoms; a quiet machine while they run."""

import copy
import functools
import sys
from contextlib import ExitStack

import pytest

from benchmarks.common.quiet import keeping_quiet


def pytest_configure(config):
    """Let the standing training wait until the tests have ended."""
    if not hasattr(config, "workerinput"):  # one lock for all processes of pytest-xdist
        quiet = ExitStack()
        quiet.enter_context(keeping_quiet())
        config.add_cleanup(quiet.close)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The path of a small untrained model."""
    from tests.denoise_files import save_tiny_model

    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@functools.cache
def build_once(seed):
    """Build a phantom; hundreds of tests ask for the same few, and each is half a second's work."""
    from polardenoise.engine.simulate.phantoms import build_phantom

    return build_phantom(seed)


@pytest.fixture(scope="module", autouse=True)
def phantoms_built_once():
    """Have sources take copies of phantoms that are built once in this process; what needs no torch waits for none."""
    if "torch" not in sys.modules:
        yield
        return
    from polardenoise.engine.simulate import sources

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sources, "build_phantom", lambda seed: copy.deepcopy(build_once(seed)))
        yield
