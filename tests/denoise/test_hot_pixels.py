"""One hot pixel is told and does not spread: neither into its own image nor into its neighbours."""

import json

import pytest
import torch

from polardenoise.engine.particles.mrc import write_stack
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from tests.denoise_files import denoise, images_of, write_set


@pytest.mark.parametrize("value", [1e6, 3e38])
@pytest.mark.parametrize("group", ["random", "neighbours"])
def test_a_hot_pixel_does_not_spread(tmp_path, monkeypatch, model, capsys, value, group):
    monkeypatch.chdir(tmp_path)
    particles = read_particles(write_set(tmp_path))
    options = ("--group-by", group, "--set-size", "8", "--precision", "float32")
    assert denoise(model, *options, output="before.star") == 0
    stack = torch.from_numpy(read_images(particles, slice(None)))[
        particles.index_in_stack.argsort()
    ]
    row = 5
    stack[particles.index_in_stack[row], 4, 7] = value
    write_stack("stack.mrcs", stack, 3.0)
    capsys.readouterr()
    assert denoise(model, *options, "--report", "report", output="after.star") == 0
    out = capsys.readouterr().out
    assert "WARNING: 1 image has pixels far beyond all others of it (row 6 of in.star)" in out
    assert "(rows are counted from 1; --rows counts from 0: row 6 is 5:6)\n" in out
    facts = json.loads((tmp_path / "after.json").read_text())
    assert facts["images_with_hot_pixels"] == 1
    assert "pixels far beyond all others" in (tmp_path / "report" / "index.html").read_text()
    before, after = images_of("before.star"), images_of("after.star")
    assert after.isfinite().all()
    change = (after - before).flatten(1).norm(dim=1) / before.flatten(1).norm(dim=1)
    assert change[row] < 0.1
    others = torch.arange(24) != row
    assert change[others].max() < 0.01
