"""How the tests of the cases run one."""

import pytest

from tests.cases.running import run_case


@pytest.fixture
def run(shared_data, tmp_path, monkeypatch):
    """Give what runs a case by its name, in a copy that becomes the working directory."""

    def run_it(name):
        case = run_case(shared_data, name, tmp_path)
        monkeypatch.chdir(case.folder)
        assert "Traceback" not in case.said
        return case

    return run_it
