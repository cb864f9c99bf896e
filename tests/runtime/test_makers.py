"""Files say what made them, program, version and command, and the same command makes the same bytes."""

import io

import numpy as np
import pytest
from PIL import Image

from polardenoise import __version__
from polardenoise.engine.cli import main
from polardenoise.engine.particles.star import read_star
from polardenoise.engine.particles.star_writing import write_star
from polardenoise.engine.report.figures import draw_picture, plot_scores
from polardenoise.engine.runtime.pictures import make_figure, save_figure
from polardenoise.engine.runtime.running_command import running_command, warn, word_warnings
from tests.denoise_files import write_set


def draw(path):
    figure = make_figure(2, 2)
    figure.add_subplot().plot([0, 1], [1, 0])
    save_figure(figure, path)
    return path.read_bytes()


def test_a_picture_in_a_file_says_what_made_it_and_no_time(tmp_path):
    with running_command("evaluate"):
        first, second = draw(tmp_path / "a.png"), draw(tmp_path / "b.png")
    assert first == second
    assert Image.open(tmp_path / "a.png").text == {
        "Software": f"polardenoise {__version__} evaluate"
    }
    page = draw(tmp_path / "a.pdf")
    assert f"polardenoise {__version__}".encode() in page
    assert b"CreationDate" not in page


def test_pictures_of_a_report_say_what_made_them():
    with running_command("denoise"):
        image = draw_picture(np.eye(8), (0.0, 1.0))
        plot = plot_scores(np.array([0.5, 0.6]), np.array([1, 2]), None)
    for png in (image, plot):
        assert Image.open(io.BytesIO(png)).text == {
            "Software": f"polardenoise {__version__} denoise"
        }


@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_star_file_says_what_made_it_once(tmp_path, monkeypatch, start, end):
    """With the ends of lines of the input, behind its byte order mark, and twice the same line is one."""
    monkeypatch.chdir(tmp_path)
    source = write_set(tmp_path)
    text = source.read_text().replace("\n", end)
    source.write_bytes((start + text).encode())
    for target in ("raw.star", "again.star"):
        document = read_star(source if target == "raw.star" else tmp_path / "raw.star")
        with running_command("select"):
            write_star(document, target, [], "raw particles, selected")
        written = (tmp_path / target).read_bytes().decode()
        comment = f"# polardenoise {__version__} select: raw particles, selected"
        assert written == f"{start}{comment}{end}{text}"


def test_a_simulation_and_a_selection_say_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["simulate", "phantom:1", "--box", "16", "--particles", "4", "-o", "sim"]
    assert main(words) == 0
    for name in ("particles", "clean"):
        first = (tmp_path / "sim" / f"{name}.star").read_text().splitlines()[0]
        assert first == f"# polardenoise {__version__} simulate: simulated particles"
    document = read_star("sim/particles.star")
    scores = {"polardenoiseScore": ["0.1", "0.5", "0.6", "0.9"]}
    write_star(document, "out.star", [(document.tables[-1], scores)])
    words = ["select", "out.star", "--particles", "sim/particles.star", "--min-score", "0.5"]
    assert main([*words, "-o", "clean.star"]) == 0
    lines = (tmp_path / "clean.star").read_text().splitlines()
    assert lines[0] == f"# polardenoise {__version__} select: raw particles, selected"


def test_a_command_warns_once_of_each_thing(capsys):
    """Printed at once, and left out of the summary; a summary of another command says it again."""
    with running_command("denoise"):
        warn("half 1 is small")
        assert word_warnings(["half 1 is small", "halves are ignored"]) == [
            "WARNING: halves are ignored"
        ]
    assert capsys.readouterr().out == "WARNING: half 1 is small\n"
    with running_command("denoise"):
        assert word_warnings(["half 1 is small"]) == ["WARNING: half 1 is small"]
