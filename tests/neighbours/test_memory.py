"""Memory of a run: one encoded cluster at a time, no second copy of the polar map, and a bound for the whole."""

import subprocess
import sys
import weakref

import pytest
import torch

from polardenoise.engine.imaging.fourier import shift_images
from polardenoise.engine.imaging.polar_grid import PolarGrid
from polardenoise.engine.neighbours import centred_denoising
from polardenoise.engine.networks.checkpoint import load_model
from polardenoise.engine.simulate.pipeline import SimulationPlan, simulate_particles

#: Runs the command line and prints the most memory that it had, in KiB.
PROGRAM = """
import sys
from polardenoise.engine.cli import main
code = main(sys.argv[1:])
status = open("/proc/self/status").read()
print("peak", status.split("VmHWM:")[1].split()[0])
sys.exit(code)
"""


def test_there_is_never_a_second_encoded_cluster(monkeypatch):
    """Images far off the centre are encoded again and again; whenever they are, no earlier encoding is left."""
    model = load_model("base")[0].eval()
    generator = torch.Generator().manual_seed(2)
    particle = torch.zeros(64, 64)
    particle[24:44, 28:34], particle[24:28, 34:46] = 2.0, 2.0
    shifts = 8 * torch.rand(48, 2, generator=generator) - 4
    images = shift_images(particle.expand(48, -1, -1), shifts)
    images = images + torch.randn(images.shape, generator=generator)
    encode, earlier = centred_denoising.encode_cluster, []

    def encode_alone(*arguments):
        assert not any(reference() is not None for reference in earlier)
        cluster = encode(*arguments)
        earlier.append(weakref.ref(cluster.encoded.value))
        return cluster

    monkeypatch.setattr(centred_denoising, "encode_cluster", encode_alone)
    with torch.inference_mode():
        centred = centred_denoising.denoise_centred_cluster(
            model, images, torch.ones(48, 32), images_per_set=32, seed=0
        )
    assert 5 <= len(earlier) <= centred_denoising.MOST_PASSES + 3
    left = (centred.displacements - shifts).std(0)
    assert (left < 0.75 * shifts.std(0)).all()  # and it did move them


def test_grids_of_one_size_share_their_map():
    grid, other = PolarGrid(16, 8, 32), PolarGrid(16, 8, 32, regularisation=1e-3)
    assert grid.forward_blocks.data_ptr() == other.forward_blocks.data_ptr()
    assert grid.forward_blocks.dtype == torch.float32
    assert not torch.equal(grid.inverse_blocks, other.inverse_blocks)


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("acquisition", [{"with_ctf": False}, {"max_shift": 2.0}])
def test_base_needs_at_most_two_gibibytes_for_a_full_cluster(tmp_path, acquisition):
    """2,000 particles, centring included where they lie off the centre (docs/speed.rst has the figures)."""
    plan = SimulationPlan(("phantom:10001",), particles=2000, snr=0.1, **acquisition)
    simulate_particles(plan, tmp_path)
    command = ["denoise", str(tmp_path / "particles.star"), "-o", str(tmp_path / "out.star")]
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, *command, "--device", "cpu"],
        capture_output=True,
        text=True,
        check=True,
    )
    peak = int(run.stdout.rsplit("peak", 1)[1])
    assert 2**18 < peak < 2 * 2**20
