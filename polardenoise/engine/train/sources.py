"""Which molecules a training may see: sources expanded, and nothing trained on test molecules."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.simulate.source_names import PHANTOM_PREFIX
from polardenoise.engine.simulate.sources import MOST_DIGITS, read_manifest

#: Phantom seeds from here on are for tests (DESIGN: "phantom seeds below 10,000 train, above test").
FIRST_TEST_SEED = 10_000
#: Never trained on either: what the history's validation figure is measured on where no list of molecules says more.
VALIDATION_PHANTOMS = tuple(f"{PHANTOM_PREFIX}{seed}" for seed in range(9_990, 9_996))


@dataclass(frozen=True)
class TrainingSources:
    """Sources to train on and to validate on, each as `simulate.sources.read_density` takes them."""

    training: tuple[str, ...]
    validation: tuple[str, ...]


def expand_sources(sources: Sequence[str]) -> TrainingSources:
    """Expand what the user names into single molecules.

    Parameters
    ----------
    sources : sequence of str
        Structures, maps, `phantom:SEED`, `phantom:FIRST-LAST` (both included), or a MANIFEST.tsv with columns `file`
        and `split`, of which the rows of split `train` are trained on and those of `validation` validated on.

    Raises
    ------
    InputError
        If a source does not exist, or is a test molecule: a phantom seed from 10,000 on, or a structure that the
        MANIFEST.tsv beside it gives to the split `test` or `validation`.
    """
    training: list[str] = []
    validation: list[str] = []
    for source in sources:
        if source.startswith(PHANTOM_PREFIX):
            training += expand_phantoms(source)
        elif source.endswith(".tsv"):
            splits = read_splits(Path(source))
            training += [str(path) for path, split in splits.items() if split == "train"]
            validation += [str(path) for path, split in splits.items() if split == "validation"]
        else:
            training.append(check_structure(Path(source)))
    if not training:
        raise InputError(f"{' '.join(sources)}: no molecule of split train; name other sources")
    return TrainingSources(tuple(training), tuple(validation) or VALIDATION_PHANTOMS)


def expand_phantoms(source: str) -> list[str]:
    """Expand `phantom:SEED` or `phantom:FIRST-LAST`; errors as `expand_sources`."""
    first, _, last = source.removeprefix(PHANTOM_PREFIX).partition("-")
    if not all(one.isdecimal() and len(one) <= MOST_DIGITS for one in (first, last or first)):
        raise InputError(
            f"{source[:60]}: write phantom:SEED or phantom:FIRST-LAST with whole numbers"
        )
    seeds = range(int(first), int(last or first) + 1)
    if not seeds or seeds[-1] >= FIRST_TEST_SEED:
        raise InputError(
            f"{source}: train on seeds below {FIRST_TEST_SEED}; those above are for tests"
        )
    return [f"{PHANTOM_PREFIX}{seed}" for seed in seeds]


def check_structure(path: Path) -> str:
    """Refuse a missing file and a molecule that its list keeps for validation or tests."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; name a structure, a map or phantom:SEED")
    manifest = path.parent / "MANIFEST.tsv"
    split = read_splits(manifest).get(path, "train") if manifest.is_file() else "train"
    if split != "train":
        raise InputError(
            f"{path}: is a {split} molecule in {manifest}; nothing is trained on those"
        )
    return str(path)


def read_splits(manifest: Path) -> dict[Path, str]:
    """Read the split of each file that a MANIFEST.tsv lists; comment lines start with `#`."""
    rows = read_manifest(manifest)
    if not rows or "file" not in rows[0] or "split" not in rows[0]:
        raise InputError(f"{manifest}: has no columns 'file' and 'split'; add them, tab-separated")
    if any(not row["file"] or row["split"] is None for row in rows):
        raise InputError(f"{manifest}: a row has no file or split; complete it, tab-separated")
    return {manifest.parent / row["file"]: row["split"] for row in rows}
