"""Lists of sources take commas, wherever they are written."""

from polardenoise.engine.simulate.source_names import name_micrographs, split_sources
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


def test_micrographs_of_other_molecules_are_called_otherwise(tmp_path):
    """Phantoms by their seeds, files by what is in them, wherever they lie; the order of the sources counts."""
    for name, text in (("a", "one"), ("b", "two"), ("c", "one")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "molecule.pdb").write_text(text)
    files = [str(tmp_path / name / "molecule.pdb") for name in "abc"]
    sources = [["phantom:1"], ["phantom:2"], ["phantom:1", "phantom:2"], ["phantom:2", "phantom:1"]]
    sources += [[files[0]], [files[1]]]
    names = [name_micrographs(one) for one in sources]
    assert len(set(names)) == len(names)
    assert name_micrographs([files[2]]) == name_micrographs([files[0]])
    assert all(name.startswith("micrograph_") for name in names)
