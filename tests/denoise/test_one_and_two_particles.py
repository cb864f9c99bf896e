"""Sets of one and two particles: nothing is said twice, of neighbours that are not there, or in the wrong number."""

import html
import json
import re
from pathlib import Path

import pytest

from tests.denoise_files import denoise, write_set


@pytest.mark.parametrize(("count", "same_half"), [(1, False), (2, False), (2, True)])
def test_what_is_said_of_so_few(folder, model, capsys, count, same_half):
    star = write_set(folder, count=count)
    options = ["--ignore-halves"] if same_half else []
    options += ["--report", "report", "--group-by", "neighbours"]
    assert denoise(model, *options) == 0
    assert star.is_file()
    said = capsys.readouterr().out
    page = html.unescape(re.sub("<[^>]*>", "\n", Path("report/index.html").read_text()))
    facts = json.loads(Path("out.json").read_text())
    for text in (said, page, " ".join([*facts["verdict"], *facts["warnings"]])):
        assert not re.search(
            r"(?<!/)\b1 (particles|images|classes|rows|halves|neighbours|estimates)\b", text
        )
    lines = [line for line in said.splitlines() if line]
    assert len(set(lines)) == len(lines)
    assert said.count("too few images to tell, taken as white") == 1
    assert said.count("noise taken as white") == 1
    has_neighbours = same_half
    assert (facts["median_score"] is None) is not has_neighbours
    assert ("median score" in said) is has_neighbours
    assert ("agree with their neighbours" in said) is has_neighbours
    for section in ("Scores", "Neighbours"):
        assert (f"\n{section}\n" in page) is has_neighbours
    assert "largest of" not in page
    assert "picked at random" not in page
    assert ("which never met" in page) is (count == 2 and not same_half)
