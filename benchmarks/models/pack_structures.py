"""Pack the molecules of a training small, so that they can travel to a machine that is lent for some minutes.

    python -m benchmarks.models.pack_structures ../shared/data/structures/MANIFEST.tsv phantom:0-119 -o .carry/molecules

Each molecule becomes a map, NAME.mrc.gz: rasterised as `polardenoise train` does it, in 127 steps of grey, less than
0.1 MB at 64 px. A MANIFEST.tsv beside the maps keeps the splits, so that `polardenoise train
.carry/molecules/MANIFEST.tsv` is a training on the same molecules. Nothing of split test is packed. What is packed
already is not done again.
"""

import argparse
import gzip
from pathlib import Path

import mrcfile
import numpy as np

from polardenoise.architectures import DEFAULT_ARCHITECTURE
from polardenoise.engine.runtime.files import replace_when_complete, write_text_atomically
from polardenoise.engine.runtime.progress import Progress
from polardenoise.engine.simulate.sources import Density
from polardenoise.engine.train.recipe import choose_recipe
from polardenoise.engine.train.simulated_feed import VALIDATION_FILL
from polardenoise.engine.train.simulated_sets import load_molecule
from polardenoise.engine.train.sources import expand_sources

#: Files say no time of their own: the same molecules give the same bytes.
NO_TIME = 0.0


def name_map(source: str) -> str:
    """Name the map of a source: its file's name up to the first dot, or phantom-SEED."""
    return Path(source).name.split(".")[0].replace("phantom:", "phantom-") + ".mrc.gz"


def write_packed_map(path: Path, density: Density) -> None:
    """Write a density as a gzipped map of whole numbers from -127 to 127: it is changed by up to 3e-4 of its energy.

    The scale of a molecule does not matter, as the SNR sets that of its images.
    """
    volume = density.volume.numpy() / float(density.volume.abs().max())
    with replace_when_complete(path) as temporary:
        plain = temporary.with_suffix(".mrc")
        try:
            with mrcfile.new(plain, np.round(127 * volume).astype(np.int8)) as file:
                file.voxel_size = density.pixel_size
                file.header.label[:] = b""
            packed = gzip.compress(plain.read_bytes(), mtime=NO_TIME)
        finally:
            plain.unlink(missing_ok=True)
        temporary.write_bytes(packed)


def main() -> None:
    """Rasterise what is not there yet, then write the list."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.models.pack_structures", description=__doc__.splitlines()[0]
    )
    parser.add_argument("sources", nargs="+", help="as for `polardenoise train`")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--box", type=int, default=64)
    arguments = parser.parse_args()
    fill = choose_recipe("base", DEFAULT_ARCHITECTURE, None).fill[1]
    sources = expand_sources(arguments.sources)
    splits = {source: "train" for source in sources.training}
    splits |= {source: "validation" for source in sources.validation}
    lines = ["file\tsplit"]
    total = 0
    with Progress("pack", len(splits), "molecules") as progress:
        for source, split in splits.items():
            path = arguments.output / name_map(source)
            if not path.exists():
                filled = fill if split == "train" else VALIDATION_FILL
                write_packed_map(path, load_molecule(source, arguments.box, filled))
            lines.append(f"{path.name}\t{split}")
            total += path.stat().st_size
            progress.advance(1)
    write_text_atomically(arguments.output / "MANIFEST.tsv", "\n".join(lines) + "\n")
    print(f"packed {len(splits)} molecules into {total / 2**20:.1f} MiB in {arguments.output}")


if __name__ == "__main__":
    main()
