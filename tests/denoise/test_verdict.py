"""Sets that cannot be denoised honestly are told so first: in the summary, the provenance and the report."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from polardenoise.engine.denoise.verdict import find_dotted
from polardenoise.engine.denoise.wording import VERDICT, word_finest_detail
from tests.denoise_files import denoise, write_set
from tests.particle_files import lumps


def run(model, capsys, *options):
    """Denoise; give the reasons, which stand in the first line of the summary and in the report."""
    capsys.readouterr()
    assert denoise(model, *options, "--report", "report") == 0
    reasons = json.loads(Path("out.json").read_text())["verdict"]
    lines = [line for line in capsys.readouterr().out.splitlines() if ": " in line]
    summary = next(n for n, line in enumerate(lines) if line.startswith("out.star: "))
    page = Path("report/index.html").read_text()
    assert (VERDICT in page) == bool(reasons)
    assert lines[summary - 1].startswith(VERDICT) == bool(reasons)
    for reason in reasons:
        assert reason in lines[summary - 1]
        assert reason.replace("'", "&#x27;") in page
    if reasons:
        assert page.index(VERDICT) < page.index("Denoised images are an estimate")
    return reasons


def test_a_half_smaller_than_k_is_told(folder, model, capsys):
    write_set(folder, count=40)
    assert (
        run(model, capsys, "--contrast", "bright", "--set-size", "20", "--group-by", "random") == []
    )
    (reason,) = run(model, capsys, "--contrast", "bright", "--group-by", "random")
    assert reason == "a half has 20 images, fewer than are denoised together (K = 32)"


def test_a_contrast_too_weak_to_tell_is_told(folder, model, capsys):
    noise = np.random.default_rng(1).standard_normal((24, 32, 32)).astype(np.float32)
    write_set(folder, images=noise)
    options = ("--set-size", "8", "--group-by", "random")
    (reason,) = run(model, capsys, *options)
    assert reason.startswith("the contrast of half 1 and 2 is too weak")
    assert run(model, capsys, *options, "--contrast", "dark") == [reason]


@pytest.mark.parametrize(
    "label", ["rlnTomoName", "rlnCoordinateZ", "rlnOriginZAngst", "rlnCtfScalefactor"]
)
def test_tilts_and_subtomograms_are_told_by_their_columns(folder, model, capsys, label):
    source = write_set(folder)
    source.write_text(source.read_text().replace("rlnClassNumber", label))
    reasons = run(model, capsys, "--contrast", "bright", "--set-size", "8", "--group-by", "random")
    assert reasons == [
        f"the set is one of tilts or subtomograms ({label}), and networks were trained on untilted particles"
    ]


def test_scale_factors_that_are_all_one_are_no_tilts(folder, model, capsys):
    source = write_set(folder)
    text = source.read_text().replace("rlnClassNumber", "rlnCtfScalefactor")
    for value in ("001", "002", "003"):
        text = text.replace(f"  {value}  1", "  1.0  1")
    source.write_text(text)
    assert not run(model, capsys, "--contrast", "bright", "--set-size", "8", "--group-by", "random")


def test_images_that_agree_with_no_neighbour_are_told(folder, model, capsys, monkeypatch):
    from polardenoise.engine.denoise import finish

    write_set(folder)
    join = finish.join_matches

    def join_low(*arguments):
        return join(*arguments) | {"score": np.full(24, 0.1, np.float32)}

    monkeypatch.setattr(finish, "join_matches", join_low)
    (reason,) = run(model, capsys, "--contrast", "bright", "--set-size", "8")
    assert reason == "images do not agree with their neighbours (median score 0.10)"


def test_faint_sets_are_told(folder, model, capsys, tmp_path):
    write_set(folder, ctf=False)
    card = Path(model) / "model.json"
    facts = json.loads(card.read_text())
    quiet = tmp_path / "quiet"
    quiet.mkdir()
    (quiet / "model.json").write_text(
        json.dumps(facts | {"noise_energy": {"none": 1e9, "ctf": 1e9}})
    )
    (quiet / "weights.safetensors").write_bytes((Path(model) / "weights.safetensors").read_bytes())
    options = ("--contrast", "bright", "--set-size", "8", "--group-by", "random")
    (reason,) = run(str(quiet), capsys, *options)
    assert reason == "24 of 24 images show no more than pure noise would"


def draw_dots(box, count, width):
    axis = torch.arange(box) - box // 2
    image = torch.zeros(box, box)
    for x, y in np.random.default_rng(0).uniform(-0.3 * box, 0.3 * box, (count, 2)):
        image += torch.exp(-((axis[None] - x) ** 2 + (axis[:, None] - y) ** 2) / (2 * width**2))
    return image


def test_dots_are_told_from_particles():
    particle = torch.stack([lumps(64, 30, seed).sum(0) for seed in range(4)])
    assert int(find_dotted(particle).sum()) == 0
    assert int(find_dotted(torch.randn(4, 64, 64)).sum()) == 0
    dots = torch.stack([draw_dots(64, 1, 1.0), draw_dots(64, 2, 1.0)])
    assert int(find_dotted(dots).sum()) == 2
    assert int(find_dotted(1e-3 * dots).sum()) == 2
    assert int(find_dotted(torch.zeros(0, 64, 64)).sum()) == 0


def test_the_finest_detail_is_told_for_each_pixel_size():
    one = {"pixel_size": 2.0, "particles": 5, "finest_detail_angstrom": 4.0}
    other = {"pixel_size": 2.5, "particles": 3, "finest_detail_angstrom": 5.0}
    summary = {"finest_detail_angstrom": 4.0, "pixel_sizes": [one]}
    assert word_finest_detail(summary) == "4.00 A"
    assert word_finest_detail(summary, "Å") == "4.00 Å"
    summary["pixel_sizes"] = [one, other]
    words = "4.00 A (5 particles of 2 A/px), 5.00 A (3 particles of 2.5 A/px)"
    assert word_finest_detail(summary) == words
