"""Small files that are right, from which wrong ones are made; written once and copied into the folder of each run."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import shutil
from pathlib import Path

import gemmi
import numpy as np

from polardenoise.engine.cli import main
from polardenoise.engine.particles.mrc import write_volume
from tests.cryosparc_files import fields_of, write_cs
from tests.denoise_files import save_tiny_model, write_set
from tests.particle_files import lumps

MODEL = "model"
PDB = "".join(
    f"ATOM  {n:5d}  CA  ALA A{n:4d}    {3 * np.cos(n):8.3f}{3 * np.sin(n):8.3f}{n / 2:8.3f}  1.00  0.00           C\n"
    for n in range(1, 40)
)
MTF = "data_\nloop_\n_rlnResolutionInversePixel\n_rlnMtfValue\n" + "".join(
    f"{n / 20} {1 - n / 20}\n" for n in range(11)
)
GROUP = "group:\n  name: particles\n  type: particle\nresults:\n" + "".join(
    f"  {name}:\n    metafile: '>set.cs'\n    num_items: 12\n    type: particle.{name}\n"
    for name in ("alignments3D", "blob", "ctf")
)
OLD_DIALECT = (
    "data_images\n\nloop_\n_rlnImageName #1\n_rlnDetectorPixelSize #2\n_rlnMagnification #3\n_rlnDefocusU #4\n"
    "_rlnVoltage #5\n_rlnSphericalAberration #6\n_rlnRandomSubset #7\n_rlnOriginX #8\n_rlnAngleRot #9\n"
    "_rlnAngleTilt #10\n_rlnAnglePsi #11\n_rlnDefocusV #12\n"
    + "".join(
        f"{n + 1:06d}@stack.mrcs 5.0 16667 {12000 + n} 300 2.7 {n % 2 + 1} 0.5 {7 * n} {5 * n} {3 * n} {12000 + n}\n"
        for n in range(12)
    )
)


def run(*words: str) -> None:
    """Run a command that is to succeed, in silence."""
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(list(words)) == 0, words


def make_seeds(folder: Path) -> None:
    """Make all seeds in a folder, which is the working directory."""
    write_set(folder, count=12, box=32)
    (folder / "old.star").write_text(OLD_DIALECT)
    write_cs(folder / "set.cs", fields_of("in.star", folder))
    (folder / "set.csg").write_text(GROUP)
    save_tiny_model(folder / MODEL)
    tiny = ("--model", MODEL, "--device", "cpu", "--set-size", "4")
    run("denoise", "in.star", "-o", "done.star", *tiny, "--matches", "done.npz")
    run("denoise", "set.cs", "-o", "scored.star", *tiny)
    run("simulate", "phantom:1", "-o", "truth", "--box", "32", "--particles", "12")
    run(
        "train", "phantom:1", "-o", "trained", "--preset", "tiny", "--steps", "1", "--device", "cpu"
    )
    write_volume(folder / "map.mrc", lumps(32), 3.0)
    raw = (folder / "map.mrc").read_bytes()
    (folder / "map.mrc.gz").write_bytes(gzip.compress(raw))
    (folder / "map.mrc.bz2").write_bytes(bz2.compress(raw))
    (folder / "a.pdb").write_text(PDB)
    (folder / "a.pdb.gz").write_bytes(gzip.compress(PDB.encode()))
    structure = gemmi.read_pdb_string(PDB)
    (folder / "a.cif").write_text(structure.make_mmcif_document().as_string())
    (folder / "mtf.star").write_text(MTF)
    (folder / "list.tsv").write_text("file\tuse\tsplit\na.pdb\tasu\ttrain\nmap.mrc\t\ttrain\n")
    recipe = {"sizes": {"hidden": 16}, "images_per_step": 8, "images_per_set": [4, 8]}
    recipe |= {"snr": [0.1, 0.2], "view_modes": {"one": 1.0}, "learning_rate": 0.001}
    (folder / "recipe.json").write_text(json.dumps(recipe))
    make_unfinished(folder)
    import_all(tiny)


def import_all(tiny: tuple[str, ...]) -> None:
    """Run every command once: a run inside the fence may not be able to read what it would have to import."""
    run("denoise", "in.star", "-o", "once/x.star", *tiny, "--report", "once/report")
    run("reconstruct", "in.star", "-o", "once/map", "--reference", "map.mrc")
    words = ("evaluate", "truth/particles.star", "--truth", "truth/clean.star")
    run(*words, "--matches", "done.npz", "--plot", "once/plot.png", "--json", "once/plot.json")
    for source in ("a.pdb.gz", "a.cif", "map.mrc.gz"):
        run(
            "simulate",
            source,
            "-o",
            "once/s",
            "--particles",
            "4",
            "--box",
            "16",
            "--mtf",
            "mtf.star",
        )
    run("train", "phantom:1", "-o", "once/t", "--preset", "tiny", "--steps", "1", "--device", "cpu")
    run("models", "--json", "once/models.json")
    words = ("--top-fraction", "0.5")
    run("select", "done.star", "--particles", "in.star", "-o", "once/clean.star", *words)
    run("select", "scored.star", "--particles", "set.csg", "-o", "once.cs", *words)
    for name in ("once.cs", "once.csg"):
        Path(name).unlink()
    shutil.rmtree("once")


def make_unfinished(folder: Path) -> None:
    """Leave what a run of `denoise` that was interrupted leaves: `.part.unfinished`."""
    from polardenoise.engine.denoise import resume_stack

    write = resume_stack.UnfinishedStack.write

    def write_one(self, *arguments):
        write(self, *arguments)
        raise KeyboardInterrupt

    resume_stack.UnfinishedStack.write = write_one  # type: ignore[method-assign]
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            assert main(RESUMED[:-1]) == 130
    finally:
        resume_stack.UnfinishedStack.write = write  # type: ignore[method-assign]


RESUMED = [
    *("denoise", "in.star", "-o", "part.star", "--model", MODEL, "--device", "cpu"),
    *("--set-size", "4", "--group-by", "random", "--batch", "4", "--resume"),
]


def copy_seeds(seeds: Path, folder: Path) -> None:
    """Copy all seeds into the folder of a run; times of files stay: unfinished runs know their input by them."""
    shutil.copytree(seeds, folder)
    (folder / "tmp").mkdir(exist_ok=True)
