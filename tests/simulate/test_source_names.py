"""Lists of sources take commas, wherever they are written."""

from polardenoise.engine.simulate.source_names import split_sources
from polardenoise.engine.train.sources import expand_sources


def test_commas_and_spaces_mean_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = ("phantom:1-3", "phantom:7", "a.pdb")
    assert split_sources(["phantom:1-3,7,a.pdb"]) == expected
    assert split_sources(["phantom:1-3,", "phantom:7", ", a.pdb"]) == expected
    assert split_sources(["a.pdb,b.mrc", "phantom:1"]) == ("a.pdb", "b.mrc", "phantom:1")
    (tmp_path / "one,two.pdb").touch()
    assert split_sources(["one,two.pdb"]) == ("one,two.pdb",)
    assert expand_sources(split_sources(["phantom:1-2,5"])).training == (
        "phantom:1",
        "phantom:2",
        "phantom:5",
    )
