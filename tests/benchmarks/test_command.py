"""`python -m benchmarks`: what the documentation shows is understood, every study and script says what it takes."""

import re
import runpy
import shlex
import sys

import pytest

from benchmarks.__main__ import STUDIES, TABLES, build_parser, main
from tests.places import BENCHMARKS, REPOSITORY

PAGES = [*REPOSITORY.glob("*.rst"), *(REPOSITORY / "docs").glob("*.rst")]
SCRIPTS = sorted(
    path.stem for path in (BENCHMARKS / "models").glob("*.py") if "\ndef main(" in path.read_text()
)


def list_examples():
    """Find what follows `python -m benchmarks` on lines of their own, without a comment."""
    for page in PAGES:
        for words in re.findall(
            r"^ {4}(?:\.venv/bin/)?python -m benchmarks (.*)$", page.read_text(), re.MULTILINE
        ):
            yield pytest.param(shlex.split(words, comments=True), id=f"{page.stem} {words[:40]}")


def test_the_documentation_shows_every_table_and_most_studies():
    shown = {parameters.values[0][0] for parameters in list_examples()}
    assert shown <= {*TABLES, *STUDIES}
    assert len(shown) >= 10


def test_every_module_with_a_main_is_a_study():
    folder = BENCHMARKS / "studies"
    found = {path.stem for path in folder.glob("*.py") if "\ndef main(" in path.read_text()}
    assert found == set(STUDIES)


@pytest.mark.parametrize("words", list(list_examples()))
def test_examples_of_the_documentation_are_understood(words, capsys):
    if words[0] in TABLES:
        assert build_parser().parse_args(words).table == words[0]
        return
    with pytest.raises(SystemExit, match="0"):
        main([words[0], "--help"])
    told = capsys.readouterr().out
    assert f"usage: python -m benchmarks {words[0]}" in told
    for option in (word.strip("[]") for word in words if word.strip("[]").startswith("-")):
        assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", told), option


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_says_what_it_takes(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    assert "-o OUTPUT" in capsys.readouterr().out


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_of_models_says_what_it_takes(name, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    # Others import from it: it is run as the program that it is from the shell.
    monkeypatch.delitem(sys.modules, f"benchmarks.models.{name}", raising=False)
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module(f"benchmarks.models.{name}", run_name="__main__")
    assert f"usage: python -m benchmarks.models.{name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [[], ["colour", "-o", "x"], ["speed"], ["quality", "-o", "x", "--bogus"]]
)
def test_a_mistake_is_one_line_and_two(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert capsys.readouterr().err.count("\n") == 1


#: Modules that are run by `python -m`; those of aspire/ run in an environment of their own.
MODULES = sorted(
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
    for path in BENCHMARKS.rglob("*.py")
    if "__main__" in path.read_text() and path.parent.name != "aspire"
)


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("module", MODULES)
def test_without_its_arguments_each_says_what_it_takes(module, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [module])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(module, run_name="__main__")
    assert ended.value.code == 2
    assert capsys.readouterr().err.strip()


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
def test_a_quiet_machine_runs_the_command_and_says_what_it_cannot(monkeypatch, capfd, tmp_path):
    monkeypatch.setenv("POLARDENOISE_QUIET", str(tmp_path / "quiet"))

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["quiet", *words])
        with pytest.raises(SystemExit) as ended:
            runpy.run_module("benchmarks.common.quiet", run_name="__main__")
        return ended.value.code

    assert run(sys.executable, "-c", "print('held'); raise SystemExit(7)") == 7
    assert "held" in capfd.readouterr().out
    assert run(str(tmp_path / "none")) == 2
    assert "none: cannot be started (No such file or directory)" in capfd.readouterr().err
