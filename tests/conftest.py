"""What many tests ask for: a tiny model, and an empty folder to work in; a quiet machine while they run."""

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
