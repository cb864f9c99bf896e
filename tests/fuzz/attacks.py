"""What is attacked: each attack spoils files of a folder of seeds and gives the command line to run there."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.mutations import NUMBERS, WORDS, mutate_bytes, mutate_json, mutate_star
from tests.fuzz.seeds import MODEL, RESUMED

#: From the folder and a generator to the words of a command.
Attack = Callable[[Path, random.Random], list[str]]
TINY = ["--model", MODEL, "--device", "cpu", "--set-size", "4"]
DENOISE = ["denoise", "in.star", "-o", "out.star", *TINY]
TRAIN = ["train", "phantom:1", "--preset", "tiny", "--steps", "1", "--device", "cpu", "-o", "new"]
#: Lists of classes, of which the seeds have one.
CLASSES = (
    "1-1",
    "1-2",
    "1,",
    ",1",
    "1-",
    "-1",
    "2-1",
    "1-999999",
    "0-1",
    " 1 , 1 ",
    "1;2",
    "1,1" * 4000,
)
SELECT = ["select", "done.star", "--particles", "in.star", "-o", "out.star", "--min-score", "0.1"]
SELECT_DATA_SET = [
    "select",
    "scored.star",
    "--particles",
    "set.cs",
    "-o",
    "out.cs",
    "--classes",
    "1",
]
SIMULATE = ["--box", "16", "--particles", "4", "-o", "new"]


def spoil(path: Path, generator: random.Random, last: int | None = None) -> None:
    """Change some bytes of a file."""
    path.write_bytes(mutate_bytes(path.read_bytes(), generator, last=last))


def attack_star(folder: Path, generator: random.Random) -> list[str]:
    """A STAR file, of the new or the old dialect, for the commands that read one."""
    name = generator.choice(("in.star", "old.star"))
    text = (folder / name).read_text()
    (folder / name).write_bytes(mutate_star(text, generator))
    words = generator.choice(
        (
            ["denoise", name, "-o", "out.star", *TINY],
            ["denoise", name, "-o", "out.star", *TINY, "--ctf-state", "none", "--ignore-halves"],
            [
                "denoise",
                name,
                "-o",
                "out.star",
                *TINY,
                "--output-box",
                "working",
                "--report",
                "rep",
            ],
            ["denoise", name, "-o", "out.star", *TINY, "--group-by", "rlnClassNumber"],
            ["reconstruct", name, "-o", "new"],
            ["simulate", "phantom:1", "--like", name, "--particles", "4", "-o", "new"],
            ["evaluate", "in.star", "--truth", name],
            [*TRAIN, "--like", name],
        )
    )
    return words


def attack_data_set(folder: Path, generator: random.Random) -> list[str]:
    """A data set of cryoSPARC, or its passthrough."""
    shutil.copy(folder / "set.cs", folder / "through.cs")
    spoil(
        folder / generator.choice(("set.cs", "through.cs")),
        generator,
        generator.choice((900, None)),
    )
    through = generator.choice(([], ["--passthrough", "through.cs"]))
    return generator.choice(
        (
            ["denoise", "set.cs", "-o", "out.star", *TINY, *through],
            ["reconstruct", "set.cs", "-o", "new", *through],
            ["evaluate", "set.cs", "--truth", "in.star", *through],
        )
    )


def attack_stack(folder: Path, generator: random.Random) -> list[str]:
    """The header, or the pixels, of a stack."""
    spoil(folder / "stack.mrcs", generator, generator.choice((64, 256, 1100, None)))
    words = [*DENOISE, "--ctf-output", "corrected"]
    return generator.choice((DENOISE, words, ["reconstruct", "in.star", "-o", "new"]))


def rehash(folder: Path) -> None:
    """Let model.json know the weights that are there."""
    card = folder / "model.json"
    facts = json.loads(card.read_text())
    weights = (folder / "weights.safetensors").read_bytes()
    facts["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    card.write_text(json.dumps(facts))


def attack_card(folder: Path, generator: random.Random) -> list[str]:
    """A model.json."""
    card = folder / MODEL / "model.json"
    text = mutate_json(card.read_text(), generator)
    card.write_bytes(text.encode("utf-8", "surrogatepass"))
    return generator.choice((DENOISE, [*TRAIN, "--init", MODEL], [*DENOISE, "--report", "rep"]))


def attack_weights(folder: Path, generator: random.Random) -> list[str]:
    """Weights that have the right hash."""
    weights = folder / MODEL / "weights.safetensors"
    raw = weights.read_bytes()
    kind = generator.randrange(3)
    if kind == 0:
        spoil(weights, generator, 4000)
    elif kind == 1:
        length = struct.unpack("<Q", raw[:8])[0]
        header = mutate_json(raw[8 : 8 + length].decode(), generator).encode(
            "utf-8", "surrogatepass"
        )
        weights.write_bytes(struct.pack("<Q", len(header)) + header + raw[8 + length :])
    else:
        weights.write_bytes(generator.choice((b"", b"\x80\x04.", raw[:9], b"\xff" * 64, raw * 2)))
    rehash(folder / MODEL)
    return generator.choice((DENOISE, [*TRAIN, "--init", MODEL]))


def attack_recipe(folder: Path, generator: random.Random) -> list[str]:
    """A recipe; one step of it, since sizes that are left out are those of a large network."""
    path = folder / "recipe.json"
    path.write_bytes(mutate_json(path.read_text(), generator).encode("utf-8", "surrogatepass"))
    return [*TRAIN, "--steps", "9", "--pause-after", "0.001", "--recipe", "recipe.json"]


def attack_training(folder: Path, generator: random.Random) -> list[str]:
    """The state, the history or a part of a training that goes on."""
    resume = folder / "trained" / "resume"
    state = resume / "state.json"
    part = generator.choice(sorted(resume.glob("*.safetensors")))
    kind = generator.randrange(4)
    if kind == 0:
        state.write_bytes(
            mutate_json(state.read_text(), generator).encode("utf-8", "surrogatepass")
        )
    elif kind == 1:
        spoil(folder / "trained" / "history.csv", generator)
    elif kind == 2:
        spoil(part, generator)
    else:
        spoil(part, generator, generator.choice((8, 3000)))
        facts = json.loads(state.read_text())
        facts["parts"][part.name] = hashlib.sha256(part.read_bytes()).hexdigest()
        state.write_text(json.dumps(facts))
    words = [*TRAIN[:-1], "trained", "--resume"]
    words[words.index("--steps") + 1] = "2"
    return words


def attack_unfinished(folder: Path, generator: random.Random) -> list[str]:
    """What a run of `denoise` has left, for `--resume`."""
    hidden = folder / ".part.unfinished"
    path = generator.choice(sorted(one for one in hidden.iterdir() if one.is_file()))
    kind = generator.randrange(5)
    if kind == 0:
        path.unlink()
    elif kind == 1:
        path.unlink()
        path.symlink_to(folder / "in.star")
    elif kind == 2 and path.suffix == ".json":
        path.write_bytes(mutate_json(path.read_text(), generator).encode("utf-8", "surrogatepass"))
    elif kind == 3:
        (hidden / "published.json").write_text(json.dumps({path.name: "in.star"}))
    elif path.stat().st_size:
        spoil(path, generator)
    return list(RESUMED)


def attack_matches(folder: Path, generator: random.Random) -> list[str]:
    """A file of matches."""
    spoil(folder / "done.npz", generator, generator.choice((200, None)))
    truth = "truth/clean.star"
    return ["evaluate", "truth/particles.star", "--truth", truth, "--matches", "done.npz"]


def attack_map(folder: Path, generator: random.Random) -> list[str]:
    """A map, plain or packed."""
    name = generator.choice(("map.mrc", "map.mrc", "map.mrc.gz", "map.mrc.bz2"))
    spoil(folder / name, generator, 1100 if name == "map.mrc" else None)
    if generator.random() < 0.3:
        return ["reconstruct", "in.star", "-o", "new", "--reference", name]
    size = generator.choice(([], ["--pixel-size", "6"]))
    return ["simulate", name, *SIMULATE, *size]


def attack_structure(folder: Path, generator: random.Random) -> list[str]:
    """A structure, plain or packed, and the list beside it."""
    name = generator.choice(("a.pdb", "a.pdb.gz", "a.cif"))
    if generator.random() < 0.2:
        shutil.move(folder / "list.tsv", folder / "MANIFEST.tsv")
        spoil(folder / "MANIFEST.tsv", generator)
    else:
        spoil(folder / name, generator)
    return generator.choice((["simulate", name, *SIMULATE], [TRAIN[0], name, *TRAIN[2:]]))


def attack_tables(folder: Path, generator: random.Random) -> list[str]:
    """The MTF of a detector, or a list of molecules."""
    if generator.random() < 0.5:
        text = mutate_star((folder / "mtf.star").read_text(), generator)
        (folder / "mtf.star").write_bytes(text)
        return ["simulate", "phantom:1", *SIMULATE, "--mtf", "mtf.star"]
    spoil(folder / "list.tsv", generator)
    return [TRAIN[0], "list.tsv", *TRAIN[2:]]


def attack_provenance(folder: Path, generator: random.Random) -> list[str]:
    """The JSON beside a denoised set."""
    path = folder / "done.json"
    path.write_bytes(mutate_json(path.read_text(), generator).encode("utf-8", "surrogatepass"))
    resumed = ["denoise", "in.star", "-o", "done.star", *TINY, "--matches", "done.npz", "--resume"]
    return generator.choice(
        (
            ["reconstruct", "done.star", "-o", "new"],
            ["evaluate", "done.star", "--truth", "in.star"],
            resumed,
        )
    )


def attack_select(folder: Path, generator: random.Random) -> list[str]:
    """The scores, the raw particles of either kind, the values of options, or the places of what `select` writes."""
    scored, raw, output = generator.choice(
        (
            ("done.star", "in.star", "out.star"),
            ("done_2d_data.star", "in.star", "out.star"),
            ("scored.star", "set.cs", "out.cs"),
            ("scored.star", "set.csg", "out.cs"),
            ("scored.star", "set.cs", "out.star"),
            ("set.cs", "set.cs", "out.cs"),
            ("done.star", "scored.star", "out.star"),
        )
    )
    asked = generator.choice(
        (["--min-score", "0.1"], ["--classes", "1"], ["--top-fraction", "0.5"], ["--proposed"])
    )
    kind = generator.randrange(6)
    if kind == 0:
        option = generator.choice(("--min-score", "--classes", "--top-fraction"))
        value = generator.choice((*NUMBERS, *WORDS, *CLASSES, "0.19", "1e-7", "1.0000001"))
        asked = [f"{option}={value}", *generator.choice(([], asked))]
    elif kind == 1:
        files = ("in.star", "stack.mrcs", "done.json", "set.cs", "set.csg", scored, "done.mrcs")
        output = generator.choice(
            (*files, "tmp", "/dev/full", "/dev/null", "x", "x\n.cs", "new/a.cs")
        )
    elif kind == 2:
        (folder / "done.json").write_text(
            mutate_json((folder / "done.json").read_text(), generator), "utf-8", "surrogateescape"
        )
    else:
        spoilt = generator.choice((scored, raw))
        if spoilt.endswith(".star"):
            text = (folder / spoilt).read_text()
            (folder / spoilt).write_bytes(mutate_star(text, generator))
        else:
            spoil(folder / spoilt, generator, generator.choice((900, None)))
    through = generator.choice(([], [], ["--passthrough", "set.cs"]))
    return ["select", scored, "--particles", raw, "-o", output, *asked, *through]


def attack_options(_folder: Path, generator: random.Random) -> list[str]:
    """Values of options."""
    values = (
        *NUMBERS,
        *WORDS,
        "64",
        "0:5",
        "5:",
        ":",
        "3:2",
        "-3:",
        "c4",
        "i2",
        "d999999",
        "x.star",
    )
    options = {
        "denoise": (
            *("--set-size", "--rows", "--batch", "--seed", "--group-by", "--model", "--matches"),
            *("--report", "-o", "--json", "--ctf-state", "--output-box", "--precision"),
        ),
        "simulate": (
            *("--box", "--pixel-size", "--b-factor", "--particles", "--views", "--snr", "--dose"),
            *(
                "--max-shift",
                "--ice",
                "--envelope",
                "--mtf",
                "--neighbours",
                "--seed",
                "-o",
                "--json",
            ),
        ),
        "train": (
            "--steps",
            "--minutes",
            "--pause-after",
            "--seed",
            "--init",
            "--architecture",
            "-o",
        ),
        "reconstruct": ("--symmetry", "--ctf", "--reference", "-o", "--json"),
        "select": ("--min-score", "--classes", "--top-fraction", "--particles", "-o", "--json"),
        "evaluate": ("--mask-radius", "--plot", "--symmetry", "--json"),
    }
    command = generator.choice(sorted(options))
    option = generator.choice(options[command])
    words = {
        "denoise": DENOISE,
        "simulate": ["simulate", generator.choice(("phantom:1", *WORDS[12:])), *SIMULATE],
        "train": [*TRAIN, "--pause-after", "0.02"],
        "reconstruct": ["reconstruct", "in.star", "-o", "new"],
        "select": SELECT,
        "evaluate": ["evaluate", "done.star", "--truth", "in.star"],
    }[command]
    value = generator.choice(values)
    if option in ("-o", "--json", "--matches", "--report", "--plot") and "\0" in value:
        value = "x"
    return [*words, f"{option}={value}" if option.startswith("--") else option + value]


def attack_targets(folder: Path, generator: random.Random) -> list[str]:
    """What lies where an output is to be written: inputs, links, devices, foreign files, folders."""
    command, option, suffix = generator.choice(
        (
            (DENOISE, "--json", ".json"),
            (DENOISE, "--matches", ".npz"),
            (DENOISE, "--report", ""),
            (DENOISE, "-o", ".star"),
            (["simulate", "phantom:1", *SIMULATE], "--json", ".json"),
            (["simulate", "phantom:1", *SIMULATE], "-o", ""),
            (["reconstruct", "in.star", "-o", "new"], "-o", ""),
            (["evaluate", "done.star", "--truth", "in.star"], "--plot", ".png"),
            (TRAIN, "-o", ""),
            (["models"], "--json", ".json"),
            (SELECT, "-o", ".star"),
            (SELECT, "--json", ".json"),
            (SELECT_DATA_SET, "-o", ".cs"),
        )
    )
    target = folder / f"target{suffix}"
    kind = generator.randrange(8)
    source = generator.choice(
        ("in.star", "stack.mrcs", f"{MODEL}/model.json", "done.npz", "map.mrc")
    )
    if kind == 0:
        target.symlink_to(folder / source)
    elif kind == 1:
        os.mkfifo(target)
    elif kind == 2:
        target.mkdir()
        shutil.copy(folder / source, target / "particles.star")
    elif kind == 3:
        os.link(folder / source, target)
    elif kind == 4:
        shutil.copy(folder / source, target)
    elif kind == 5:
        target = folder / source
    elif kind == 6:
        target = Path(generator.choice(("/dev/null", "/dev/full", "/proc/self/x", "/", ".", "..")))
    else:
        hidden = folder / ".target.unfinished"
        hidden.symlink_to(folder / "truth", target_is_directory=True)
    return [*command, option, str(target)]


ATTACKS: dict[str, Attack] = {
    "star": attack_star,
    "cryosparc": attack_data_set,
    "stack": attack_stack,
    "card": attack_card,
    "weights": attack_weights,
    "recipe": attack_recipe,
    "training": attack_training,
    "unfinished": attack_unfinished,
    "matches": attack_matches,
    "map": attack_map,
    "structure": attack_structure,
    "tables": attack_tables,
    "provenance": attack_provenance,
    "select": attack_select,
    "options": attack_options,
    "targets": attack_targets,
}
