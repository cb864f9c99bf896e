"""The page of the protocols' parameters says what the forms say now."""

import subprocess
import sys

import pytest

from polardenoise.tests import scipion_project  # noqa: F401  (sets the environment before pwem)
from tests.places import REPOSITORY

DOCS = REPOSITORY / "docs"


@pytest.fixture
def tables(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    import protocol_tables

    yield protocol_tables
    for name in ("protocol_tables", "forms"):
        sys.modules.pop(name, None)


def test_the_page_is_what_the_forms_say(tables):
    assert tables.PAGE.read_text() == tables.write_page(), (
        "run python docs/protocol_tables.py and look at what has changed"
    )


def test_every_parameter_of_every_protocol_is_there(tables):
    """By another way than the page is written: from the attributes that a script can set."""
    page = tables.PAGE.read_text()
    for protocol in tables.list_protocols().values():
        start = page.index(f"``{protocol.__name__}``: ")
        section = page[start:].split("\n\n``ProtPolar")[0]
        run = protocol()
        for name, _ in run.getDefinition().iterParams():
            if name not in ("runName", "runMode", *tables.OF_SCIPION):
                assert f"``{name}``" in section, (protocol.__name__, name)
                assert run.hasAttribute(name)


def test_conditions_are_worded(tables):
    page = tables.PAGE.read_text()
    assert "Shown where *Group images* is *by attribute*." in page
    assert "Shown where *Compare with* is not *pure noise*." in page
    assert "Shown where *Like an existing set?* is *No*." in page
    for line in page.splitlines():
        if "Shown where" in line:
            told = line.split("Shown where")[1]
            assert not any(sign in told for sign in ("==", "!=", "useL", "doC", "(", "None"))


def test_the_program_writes_the_page(tmp_path):
    """In a process of its own, which prepares Scipion by itself; the page stays as it is."""
    before = (DOCS / "protocols.rst").read_bytes()
    finished = subprocess.run(
        [sys.executable, str(DOCS / "protocol_tables.py")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert (DOCS / "protocols.rst").read_bytes() == before
