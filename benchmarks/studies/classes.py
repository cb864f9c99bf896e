"""2D classes and scores on simulated sets: averages beside RELION's, views that are known, junk of seven kinds.

    python -m benchmarks classes -o benchmarks/results [averages] [views] [junk]

All sets have CTFs and shifts of up to 2 px, 64 px, the molecule filling 0.7 of the box. *averages*: 50 classes asked
for of random views at SNR 0.05; each average, turned and moved to where its particles lie, against the truth. *views*:
20 views at least 25 degrees apart (mirror images and symmetric copies count as one), or as many as fit; adjusted Rand
index of each half at SNR 0.1 and 0.05. *junk*: three in ten boxes are junk, one in ten particles is of another
molecule, 2 % of the set are a view that stands alone. `docs/classes.rst` says what it comes to.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from benchmarks.classes.junk_sets import measure_junk, read_real_boxes
from benchmarks.classes.runs import Plan, measure_averages, measure_views
from benchmarks.common.study_sets import find_molecules
from benchmarks.common.tables import Row, write_table
from benchmarks.real.sets import find_empty_boxes
from polardenoise.engine.runtime.errors import InputError

#: Molecules of split `test`.
MOLECULES = ("1u6g.pdb.gz", "2cg9.pdb.gz", "5h64.pdb.gz", "6bqn.cif.gz", "9be6.cif.gz")
PARTS = ("averages", "views", "junk")
#: SNRs of views.
SNRS = (0.1, 0.05)


def main(words: Sequence[str]) -> None:
    """Measure what is asked for and write the tables, again after every set."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks classes", description=__doc__.splitlines()[0]
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (all)")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--molecules", nargs="+", metavar="SOURCE", help="of `simulate`")
    parser.add_argument("--particles", type=int, default=2000, metavar="N")
    parser.add_argument("--class-count", type=int, default=50, metavar="N", help="of averages (50)")
    parser.add_argument("--views", type=int, default=20, metavar="M", help="of views (20)")
    parser.add_argument("--model", default="base")
    parser.add_argument(
        "--relion-iterations",
        type=int,
        default=0,
        metavar="N",
        help="run relion_refine beside it, N of its usual 25 iterations, the time scaled; 0: not",
    )
    parser.add_argument("--aspire-python", metavar="PYTHON", help="interpreter that has aspire")
    parser.add_argument("--empty-boxes", type=Path, metavar="STACK", help="real boxes of noise")
    parser.add_argument("--seed", type=int, default=5)
    arguments = parser.parse_args(words)
    parts = arguments.parts or PARTS
    if wrong := [part for part in parts if part not in PARTS]:
        raise InputError(f"{wrong[0]}: no part; give some of {', '.join(PARTS)}")
    plan = Plan(
        **{name: getattr(arguments, name) for name in Plan.__dataclass_fields__},
    )
    sources = arguments.molecules or find_molecules(MOLECULES)
    boxes = read_real_boxes(arguments.empty_boxes or find_empty_boxes())
    tables: dict[str, list[Row]] = {}
    for place, source in enumerate(sources):
        for part in parts:
            with tempfile.TemporaryDirectory() as scratch:
                found = measure_part(part, source, sources[place - 1], boxes, plan, Path(scratch))
            for name, rows in found.items():
                tables.setdefault(name, []).extend(rows)
                write_table(tables[name], arguments.output, name)
                print(*rows, sep="\n", flush=True)


def measure_part(
    part: str, source: str, other: str, boxes: Tensor | None, plan: Plan, work: Path
) -> dict[str, list[Row]]:
    """Measure a part of a molecule: rows by the name of their table. `other` is the molecule of the few."""
    if part == "averages":
        return {"classes_averages": measure_averages(source, plan, work)}
    if part == "views":
        return {"classes_views": measure_views(source, SNRS, plan, work)}
    return measure_junk(source, other, boxes, plan, work)
