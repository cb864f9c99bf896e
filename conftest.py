"""What all tests share: real data and RELION, where the machine has them."""

import os
import shutil
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent
NAMED = os.environ.get("POLARDENOISE_SHARED_DATA")
SHARED_DATA = Path(NAMED or REPOSITORY.parent / "shared" / "data")

#: How many tests of real data were left out, in this process and in those that run tests for it.
left_out = pytest.StashKey[int]()


def pytest_configure(config):
    """Refuse a folder of real data that is named and not there."""
    config.stash[left_out] = 0
    if NAMED and not SHARED_DATA.is_dir():
        raise pytest.UsageError(f"POLARDENOISE_SHARED_DATA: {NAMED} is no folder")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Mark tests by what they need; without real data, leave out those that need it rather than skip them."""
    for item in items:
        for name in ("relion", "shared_data"):
            if name in getattr(item, "fixturenames", ()):
                item.add_marker(name)
    if SHARED_DATA.is_dir():
        return
    without = [item for item in items if item.get_closest_marker("shared_data")]
    config.hook.pytest_deselected(items=without)
    items[:] = [item for item in items if not item.get_closest_marker("shared_data")]
    config.stash[left_out] = len(without)
    if hasattr(config, "workeroutput"):
        config.workeroutput["left_out"] = len(without)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Take over what a process of pytest-xdist has left out: each of them has collected all tests."""
    count = getattr(node, "workeroutput", {}).get("left_out", 0)
    node.config.stash[left_out] = max(node.config.stash[left_out], count)


def pytest_terminal_summary(terminalreporter, config):
    """Say how many tests were left out for want of real data."""
    if config.stash[left_out]:
        terminalreporter.write_line(
            f"{config.stash[left_out]} tests of real data left out: {SHARED_DATA} is not there"
        )


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Name the folder of real structures and particles that is not part of the repository."""
    assert SHARED_DATA.is_dir(), (
        "mark what asks for this fixture by name with pytest.mark.shared_data"
    )
    return SHARED_DATA


@pytest.fixture(scope="session")
def relion() -> Path:
    """Find the folder of RELION's programs."""
    program = shutil.which("relion_reconstruct")
    if program is None:
        pytest.skip("RELION is not installed: relion_reconstruct is not on PATH")
    return Path(program).parent
