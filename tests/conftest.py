"""What many tests ask for: a tiny model, and an empty folder to work in."""

import pytest


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
