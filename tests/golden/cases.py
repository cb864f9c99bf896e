"""The commands whose outputs are kept, and samples of what they write.

    python -m tests.golden.cases

writes `outputs.npz` anew, which is right only where results are meant to change.
"""

import tempfile
from pathlib import Path

import mrcfile
import numpy as np
from safetensors.numpy import load_file

from polardenoise.engine.cli import main

KEPT = Path(__file__).with_name("outputs.npz")

#: Values of an output that are kept, evenly over all of it.
SAMPLES = 1024

#: Averages of 2D classes hang on who is in which, which the last bit of a sum may decide.
CLASSES = "_2d_classes"

#: In this order: later ones read what earlier ones have written. Float32: bfloat16 is the processor's own. No map of
#: noisy images: it has no floor under small weights, and differs between processors by a four-hundredth.
COMMANDS = """
simulate phantom:10001 -o s32 --box 32 --particles 24 --snr 0.3 --no-ctf --views 2
simulate phantom:10004 -o s64 --box 64 --particles 24 --snr 0.3 --max-shift 2
simulate phantom:10002 -o s80 --box 80 --particles 16 --snr 0.3
simulate phantom:3 -o hard --box 32 --particles 16 --noise coloured --ice 0.3 --envelope 30 --mtf 0.4 --neighbours 0.5
denoise s32/particles.star -o neighbours32.star --set-size 8
denoise s32/particles.star -o column32.star --group-by rlnClassNumber
denoise s64/particles.star -o neighbours64.star
denoise s64/particles.star -o corrected64.star --ctf-output corrected --ignore-halves --set-size 12
denoise s64/particles.star -o random64.star --group-by random --set-size 8
denoise s80/particles.star -o working80.star --output-box working
denoise s80/particles.star -o single80.star --model base-dncnn --group-by random
reconstruct s64/clean.star -o map64
reconstruct neighbours64.star -o denoised64 --symmetry c2
train phantom:0-1 -o trained --preset tiny --steps 2
"""


def run_commands(folder):
    """Run all commands in the working directory `folder`; give a sample of each file of numbers by its name."""
    for line in COMMANDS.strip().splitlines():
        words = line.split()
        if words[0] == "denoise":
            words += ["--precision", "float32"]
        if words[0] in ("denoise", "train"):
            words += ["--device", "cpu"]
        assert main(words) == 0, line
    samples = {}
    images = [path for path in folder.rglob("*.mrc*") if not path.stem.endswith(CLASSES)]
    for path in sorted(images):
        samples[str(path.relative_to(folder))] = sample(mrcfile.read(path))
    weights = load_file(folder / "trained" / "model" / "weights.safetensors")
    joined = np.concatenate([weights[name].ravel() for name in sorted(weights)])
    return samples | {"trained": sample(joined)}


def sample(values):
    """Take some values of an array, evenly, and its norm at the end."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    places = np.linspace(0, flat.size - 1, SAMPLES).round().astype(int)
    return np.append(flat[places], np.linalg.norm(flat)).astype(np.float32)


if __name__ == "__main__":
    import os

    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        np.savez_compressed(KEPT, **run_commands(Path(name)))
