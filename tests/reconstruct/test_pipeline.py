"""Reconstruction from particle sets: RELION's conventions, CTF states, halves, and what is refused."""

import json
import re
import subprocess

import numpy as np
import pytest
import torch

from polardenoise import __version__
from polardenoise.engine.cli import main
from polardenoise.engine.imaging.ctf import apply_ctf, compute_ctf, phase_flip
from polardenoise.engine.imaging.euler_angles import draw_orientations, draw_views
from polardenoise.engine.imaging.fourier import shift_images
from polardenoise.engine.imaging.fsc import fourier_shell_correlation
from polardenoise.engine.imaging.symmetry import symmetry_matrices
from polardenoise.engine.particles.mrc import read_volume, write_volume
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.reconstruct import pipeline as reconstruct
from polardenoise.engine.reconstruct.view_coverage import count_views, measure_share
from tests.particle_files import (
    ctf_parameters,
    draw_ctf,
    lumps,
    pose_columns,
    write_particle_files,
    write_tables,
)
from tests.reference_projections import project_volume

BOX, PIXEL_SIZE, COUNT = 32, 4.0, 500
OUTPUTS = ["fsc.png", "fsc.star", "half1.mrc", "half2.mrc", "summary.json", "volume.mrc"]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Give a folder with raw particles (CTF with astigmatism, shifts) of a known map, and the map."""
    folder = tmp_path_factory.mktemp("scene")
    volume = lumps(BOX)
    generator = np.random.default_rng(5)
    angles = draw_orientations(COUNT, generator)
    origins = generator.uniform(-2.5, 2.5, (COUNT, 2)) * PIXEL_SIZE
    ctf = draw_ctf(COUNT)
    projections = project_volume(volume, angles)
    # An origin of +3 px says that the particle lies at -3 px.
    projections = shift_images(projections, torch.from_numpy(-origins / PIXEL_SIZE))
    transfer = compute_ctf(ctf_parameters(ctf), PIXEL_SIZE, BOX)
    raw = apply_ctf(projections, transfer)
    columns = pose_columns(angles, origins) | {"rlnRandomSubset": np.arange(COUNT) % 2 + 1}
    write_particle_files(folder / "raw.star", raw, PIXEL_SIZE, columns | ctf)
    flipped = phase_flip(raw, transfer)
    stated = {"rlnCtfDataArePhaseFlipped": 1}
    write_particle_files(folder / "flipped.star", flipped, PIXEL_SIZE, columns | ctf, stated)
    corrected = {"polardenoiseCtfState": "corrected", "polardenoiseModel": "base"}
    write_particle_files(
        folder / "corrected.star", projections, PIXEL_SIZE, columns | ctf, corrected
    )
    write_particle_files(folder / "free.star", projections, PIXEL_SIZE, columns)
    write_volume(folder / "map.mrc", volume, PIXEL_SIZE)
    return folder


def run(*words):
    return main(["reconstruct", *(str(word) for word in words)])


def result(folder):
    return json.loads((folder / "summary.json").read_text())


def correlation_with_map(scene, volume_path):
    volume, pixel_size = read_volume(volume_path)
    assert pixel_size == pytest.approx(PIXEL_SIZE)
    source, _ = read_volume(scene / "map.mrc")
    return fourier_shell_correlation(torch.from_numpy(volume), torch.from_numpy(source))


@pytest.mark.parametrize(
    ("name", "ctf"),
    [("raw", "signed"), ("flipped", "absolute"), ("corrected", "none"), ("free", "none")],
)
def test_every_ctf_state_gives_the_map_back(scene, tmp_path, name, ctf):
    out = tmp_path / "out"
    status = run(scene / f"{name}.star", "-o", out, "--reference", scene / "map.mrc")
    assert status == 0
    assert sorted(path.name for path in out.iterdir()) == OUTPUTS
    summary = result(out)
    assert summary["ctf"] == ctf
    # Those that are corrected are denoised.
    told = [warning.partition(" holds ")[2][:15] for warning in summary["warnings"]]
    assert told == (["denoised images"] if name == "corrected" else [])
    assert (summary["half1_particles"], summary["half2_particles"]) == (COUNT // 2, COUNT // 2)
    curve = correlation_with_map(scene, out / "volume.mrc")
    assert curve[: BOX // 4 + 1].min() > 0.99  # to half Nyquist
    assert curve[:-2].min() > 0.97
    assert summary["fsc_0.143_angstrom"] == summary["nyquist_angstrom"] == 2 * PIXEL_SIZE
    assert summary["fsc_0.5_to_reference_angstrom"] < 2.3 * PIXEL_SIZE
    # The scale of the density comes back too: 1 at every radius.
    volume, _ = read_volume(out / "volume.mrc")
    source, _ = read_volume(scene / "map.mrc")
    assert (volume * source).sum() / (source**2).sum() == pytest.approx(1.0, abs=0.05)


def test_ctf_off_warns_and_is_worse(scene, tmp_path):
    run(scene / "raw.star", "-o", tmp_path / "off", "--ctf", "off")
    assert result(tmp_path / "off")["ctf"] == "none"
    assert "--ctf off" in result(tmp_path / "off")["warnings"][0]
    assert correlation_with_map(scene, tmp_path / "off" / "volume.mrc")[4:10].min() < 0.0


def test_ctf_on_contradicting_the_stated_state_warns(scene, tmp_path, capsys):
    assert run(scene / "corrected.star", "-o", tmp_path / "on", "--ctf", "on") == 0
    summary = result(tmp_path / "on")
    assert summary["ctf"] == "signed"
    assert "corrected" in summary["warnings"][0]
    assert "warning: --ctf on" in capsys.readouterr().out


def test_ctf_on_without_a_defocus_is_refused(scene, tmp_path, capsys):
    assert run(scene / "free.star", "-o", tmp_path / "out", "--ctf", "on") == 2
    refused(capsys, tmp_path / "out", "free.star", "rlnDefocusU")


def refused(capsys, out, *words):
    """Check that one line was told and nothing written."""
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "Traceback" not in told
    for word in words:
        assert word in told
    assert not out.exists()


def test_denoised_sets_are_labelled_consistency(scene, tmp_path):
    for name, label in (("raw", "resolution"), ("corrected", "consistency, not resolution")):
        out = tmp_path / name
        run(scene / f"{name}.star", "-o", out)
        assert result(out)["fsc_means"] == label
        comment = f"# polardenoise {__version__} reconstruct: half maps, {label}\n"
        assert comment in (out / "fsc.star").read_text()


@pytest.mark.parametrize(
    ("views", "group", "few"), [(1, "c1", 1), (3, "c1", 3), (3, "o", 0), (1, "c2", 1)]
)
def test_half_maps_of_a_few_views_are_no_resolution(tmp_path, capsys, views, group, few):
    """Two halves of the same views agree to Nyquist in the planes that they measure; copies are no views."""
    angles = draw_views(views, 60, np.random.default_rng(3))[0]
    columns = pose_columns(angles) | {"rlnRandomSubset": np.arange(60) % 2 + 1}
    images = project_volume(lumps(BOX), angles)
    star = write_particle_files(tmp_path / "few.star", images, PIXEL_SIZE, columns)
    out = tmp_path / "out"
    assert run(star, "-o", out, "--symmetry", group) == 0
    summary, said = result(out), capsys.readouterr().out
    assert f"symmetry: {group}\n" in said
    assert ("agree in it whether the molecule has it or not" in said) == (group != "c1")
    # A plane measures a sixteenth of shell 16.
    assert summary["directions_measured_by_images"] == pytest.approx(views / 16, rel=0.2)
    if not few:
        assert summary["directions_measured"] > 0.8
        assert summary["fsc_means"] == "resolution"
        (warning,) = summary["warnings"]
        shares = f"{summary['directions_measured_by_images']:.0%} of .* {summary['directions_measured']:.0%} if"
        assert re.search(rf"images themselves .* \(3 views\): .*{shares} .* by symmetry o", warning)
        assert f"warning: {warning}" in said
        return
    assert summary["fsc_0.143_angstrom"] == summary["nyquist_angstrom"]
    (warning,) = summary["warnings"]
    assert ("without symmetry" in warning) == (group != "c1")
    assert f"too few sides ({views} view{'s' if views > 1 else ''})" in warning
    assert f"warning: {warning}" in said
    assert summary["fsc_means"] == "of too few views, not resolution"
    assert f"(of too few views, not resolution; Nyquist {2 * PIXEL_SIZE:.2f} A)" in said
    assert "half maps, of too few views, not resolution" in (out / "fsc.star").read_text()


def test_half_maps_that_agree_beyond_their_reference_are_remarked_upon(scene, tmp_path, capsys):
    """A symmetry that the molecule does not have is in both half maps, and not in the reference."""
    told = {}
    for group in ("c1", "c7"):
        out, reference = tmp_path / group, scene / "map.mrc"
        assert (
            run(scene / "raw.star", "-o", out, "--symmetry", group, "--reference", reference) == 0
        )
        told[group] = result(out)
    assert told["c1"]["warnings"] == []
    wrong = told["c7"]
    assert wrong["fsc_0.143_angstrom"] < 10 < 20 < wrong["fsc_0.5_to_reference_angstrom"]
    (warning,) = wrong["warnings"]
    for name in ("fsc_0.143_angstrom", "fsc_0.5_to_reference_angstrom"):
        assert f"{wrong[name]:.2f} A" in warning
    assert "a symmetry (c7) that the molecule does not have" in warning
    assert f"warning: {warning}" in capsys.readouterr().out


@pytest.mark.parametrize(("group", "count"), [("c1", 5), ("d2", 2)])
def test_opposite_and_symmetric_views_are_one(group, count):
    angles = np.array(
        [[0, 0, 0], [9, 180, 5], [10, 50, 3], [190, 50, 3], [-10, 50, 3], [30, 80, 1]]
    )
    assert count_views(angles.astype(float), symmetry_matrices(group)) == count + (group == "d2")


def test_views_about_one_axis_leave_a_gap():
    """Of views within 30 degrees of an axis half of all directions are measured, of all views every one."""
    generator = np.random.default_rng(4)
    tilts = {name: generator.uniform(0, most, 4000) for name, most in (("top", 30), ("all", 180))}
    halves, c1 = (np.arange(0, 4000, 2), np.arange(1, 4000, 2)), symmetry_matrices("c1")
    around = generator.uniform(-180, 180, 4000)
    share = {
        name: measure_share(np.stack([around, tilt, around], 1), halves, c1, 64.0)
        for name, tilt in tilts.items()
    }
    assert share["top"] == pytest.approx(0.5, abs=0.03)
    assert share["all"] > 0.99


def test_one_particle_or_one_image_makes_no_half_maps(scene, tmp_path, capsys):
    text = (scene / "raw.star").read_text()
    lines = without_column(text, "rlnRandomSubset").splitlines()
    first = next(line for line in lines if line.startswith("000001@"))
    head = "\n".join(line for line in lines if "@" not in line)
    stack = first.split()[0].partition("@")[2]
    first = first.replace(stack, str(scene / stack), 1)
    for count, word in ((1, "holds 1 particle"), (2, "all rows show one image")):
        (tmp_path / "one.star").write_text("\n".join([head, *[first] * count, ""]))
        assert run(tmp_path / "one.star", "-o", tmp_path / "out") == 2
        refused(capsys, tmp_path / "out", "one.star", word)


def test_provenance_beside_the_star_tells_a_denoised_set(scene, tmp_path):
    from polardenoise.engine.particles.set_checks import find_denoised_mark

    copy = tmp_path / "kept.star"
    copy.write_text((scene / "raw.star").read_text())
    assert find_denoised_mark(read_particles(copy)) is None
    facts = {"program": "polardenoise", "command": ["polardenoise", "denoise"], "model": "base"}
    copy.with_suffix(".json").write_text(json.dumps(facts))
    assert find_denoised_mark(read_particles(copy)) == str(copy.with_suffix(".json"))
    copy.with_suffix(".json").write_text("{broken")
    assert find_denoised_mark(read_particles(copy)) is None


def without_column(text, label):
    """Take one column of data_particles out of a STAR file's text."""
    head, body = text.split("data_particles")
    labels = [line.split()[0][1:] for line in body.splitlines() if line.startswith("_")]
    place = labels.index(label)
    rows = [line.split() for line in body.splitlines() if "@" in line]
    lines = [f"_{name}" for name in labels if name != label]
    lines += [" ".join(row[:place] + row[place + 1 :]) for row in rows]
    return head + "data_particles\n\nloop_\n" + "\n".join(lines) + "\n"


def test_halves_are_drawn_where_there_are_none_and_always_the_same(scene, tmp_path):
    star = tmp_path / "whole.star"
    star.write_text(without_column((scene / "raw.star").read_text(), "rlnRandomSubset"))
    for name in ("a", "b"):
        assert run(star, "-o", tmp_path / name) == 0
    summary = result(tmp_path / "a")
    assert summary["halves"].startswith("drawn, seed 0")
    assert summary["half1_particles"] == summary["half2_particles"] == COUNT // 2
    for name in ("half1.mrc", "half2.mrc", "volume.mrc"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_size_of_chunks_does_not_change_the_map(scene, monkeypatch):
    particles = read_particles(scene / "raw.star")
    rows, c1 = np.arange(0, COUNT, 5), symmetry_matrices("c1")
    halves = rows[0::2], rows[1::2]
    whole = reconstruct.reconstruct_halves(particles, *halves, "signed", c1).volume
    monkeypatch.setattr(reconstruct, "BYTES_READ_AT_ONCE", 7 * 4 * BOX * BOX)
    torch.testing.assert_close(
        reconstruct.reconstruct_halves(particles, *halves, "signed", c1).volume,
        whole,
        rtol=1e-3,
        atol=1e-4,
    )


@pytest.mark.parametrize("group", ["c4", "d2", "t"])
def test_symmetry_makes_up_for_missing_views(tmp_path, group):
    """A symmetric object from few images: with its point group known it comes out better, and symmetric."""
    rotations = symmetry_matrices(group)
    axis = torch.arange(BOX) - BOX // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    places = torch.tensor([[5.0, 2.0, 3.0], [-1.0, 6.0, -4.0]], dtype=torch.float64)
    volume = torch.zeros(BOX, BOX, BOX)
    for a, b, c in (rotations @ places.T).mT.reshape(-1, 3).tolist():
        volume += torch.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / 3)
    angles = draw_orientations(12, np.random.default_rng(2))
    columns = pose_columns(angles) | {"rlnRandomSubset": np.arange(12) % 2 + 1}
    star = write_particle_files(
        tmp_path / "few.star", project_volume(volume, angles), PIXEL_SIZE, columns
    )
    curves = {}
    for name in (group, "c1"):
        run(star, "-o", tmp_path / name, "--symmetry", name.upper())
        found = torch.from_numpy(read_volume(tmp_path / name / "volume.mrc")[0])
        curves[name] = fourier_shell_correlation(found, volume)
    assert result(tmp_path / group)["symmetry"] == group
    assert curves[group][:12].min() > 0.85
    assert curves[group][:12].min() > curves["c1"][:12].min() + 0.1


def test_particles_without_angles_are_refused(scene, tmp_path, capsys):
    star = tmp_path / "noangles.star"
    text = (scene / "raw.star").read_text()
    for label in ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"):
        text = without_column(text, label)
    star.write_text(text)
    assert run(star, "-o", tmp_path / "out") == 2
    refused(capsys, tmp_path / "out", "noangles.star", "rlnAngleRot")


def test_one_half_only_is_refused(scene, tmp_path, capsys):
    images = torch.randn(4, BOX, BOX)
    columns = pose_columns(np.zeros((4, 3))) | {"rlnRandomSubset": [2, 2, 2, 2]}
    star = write_particle_files(tmp_path / "one.star", images, PIXEL_SIZE, columns)
    assert run(star, "-o", tmp_path / "out") == 2
    refused(capsys, tmp_path / "out", "one.star", "half 1")


def test_two_pixel_sizes_are_refused(tmp_path, capsys):
    images = torch.randn(4, BOX, BOX)
    star = write_particle_files(
        tmp_path / "two.star", images, PIXEL_SIZE, pose_columns(np.zeros((4, 3)))
    )
    lines = star.read_text().splitlines()
    optics = next(line for line in lines if line.startswith("1 4.0"))
    third = next(line for line in lines if line.startswith("000003@"))
    lines.insert(lines.index(optics) + 1, optics.replace("1 4.0", "2 3.0", 1))
    lines[lines.index(third)] = third[:-1] + "2"  # the optics group is the last column
    star.write_text("\n".join([*lines, ""]))
    assert run(star, "-o", tmp_path / "out") == 2
    refused(capsys, tmp_path / "out", "two.star", "row 3", "pixel size")


def test_a_reference_that_cannot_be_compared_is_refused(scene, tmp_path, capsys):
    write_volume(tmp_path / "small.mrc", lumps(16), PIXEL_SIZE)
    write_volume(tmp_path / "coarse.mrc", lumps(BOX), 2 * PIXEL_SIZE)
    write_volume(tmp_path / "empty.mrc", 0 * lumps(BOX), PIXEL_SIZE)
    for name, word in (
        ("small", "16 x 16 x 16"),
        ("coarse", "8 A per voxel"),
        ("missing", "no such"),
        ("empty", "one value"),
    ):
        reference = tmp_path / f"{name}.mrc"
        assert run(scene / "raw.star", "-o", tmp_path / "out", "--reference", reference) == 2
        refused(capsys, tmp_path / "out", f"{name}.mrc", word)


def test_an_unknown_symmetry_is_refused(scene, tmp_path, capsys):
    assert run(scene / "raw.star", "-o", tmp_path / "out", "--symmetry", "q5") == 2
    refused(capsys, tmp_path / "out", "--symmetry q5")


# ---- against RELION's own programs


def relion_particles(relion, folder, map_path, pixel_size, count, noise, views=0):
    """Let RELION project a map: random poses (or a few views), shifts, CTF with astigmatism."""
    generator = np.random.default_rng(7)
    angles = draw_orientations(count, generator)
    if views:
        angles = draw_views(views, count, generator)[0]
    origins = generator.uniform(-3, 3, (count, 2)) * pixel_size
    volume, _ = read_volume(map_path)
    columns = pose_columns(angles, origins) | draw_ctf(count)
    columns |= {"rlnRandomSubset": np.arange(count) % 2 + 1}
    write_tables(folder / "poses.star", columns, pixel_size, len(volume))
    words = ["--i", map_path, "--o", "particles", "--ang", "poses.star", "--ctf"]
    words += ["--angpix", pixel_size]
    if noise:
        words += ["--add_noise", "--white_noise", noise]
    subprocess.run(
        [relion / "relion_project", *(str(word) for word in words)],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder / "particles.star"


@pytest.fixture(params=[pytest.param("ribosome", marks=pytest.mark.shared_data), "lumps"])
def source_map(request, tmp_path):
    """Give a map of standard deviation 1: a real one at 64 px where there is one, and one of blobs."""
    if request.param == "ribosome":
        shared = request.getfixturevalue("shared_data")
        volume, pixel_size = read_volume(
            shared / "particles" / "volumes" / "3j9g_potential_ps4_4.mrc"
        )
    else:
        volume, pixel_size = lumps(BOX, width=1.0).numpy(), PIXEL_SIZE
    write_volume(tmp_path / "map.mrc", volume / volume.std(), pixel_size)
    return tmp_path / "map.mrc", pixel_size


def test_relions_projections_give_the_map_back(relion, source_map, tmp_path, monkeypatch):
    map_path, pixel_size = source_map
    star = relion_particles(relion, tmp_path, map_path, pixel_size, 500, 0)
    monkeypatch.chdir(tmp_path)
    assert run(star, "-o", tmp_path / "out", "--reference", map_path) == 0
    volume, source = read_volume(tmp_path / "out" / "volume.mrc")[0], read_volume(map_path)[0]
    curve = fourier_shell_correlation(torch.from_numpy(volume), torch.from_numpy(source))
    assert curve[: len(volume) // 4 + 1].min() > 0.99
    assert curve[: len(volume) // 2 - 2].min() > 0.95


@pytest.mark.parametrize(
    ("source_map", "views"),
    [
        pytest.param("ribosome", 0, marks=pytest.mark.shared_data),
        pytest.param("ribosome", 8, marks=[pytest.mark.shared_data, pytest.mark.long]),
        ("lumps", 0),
        ("lumps", 8),
    ],
    indirect=["source_map"],
)
def test_the_half_map_resolution_is_relions(relion, source_map, tmp_path, monkeypatch, views):
    """The same noisy raw particles: FSC 0.143 within one shell, the curves alike; with few views too, and gaps."""
    import starfile

    map_path, pixel_size = source_map
    box = read_volume(map_path)[0].shape[0]
    noise = 30 if box == 64 else 12
    star = relion_particles(relion, tmp_path, map_path, pixel_size, 500, noise, views)
    monkeypatch.chdir(tmp_path)
    for half in ("1", "2"):
        words = ["--i", star, "--o", f"relion{half}.mrc", "--ctf", "--subset", half]
        subprocess.run([relion / "relion_reconstruct", *words], check=True, capture_output=True)
    words = ["--i", "relion1.mrc", "--fsc", "relion2.mrc", "--angpix", str(pixel_size)]
    told = subprocess.run(
        [relion / "relion_image_handler", *words], check=True, capture_output=True, text=True
    ).stdout
    (tmp_path / "relion.star").write_text(told[told.index("data_fsc") :])
    theirs = starfile.read(tmp_path / "relion.star")["rlnFourierShellCorrelation"].to_numpy()

    assert run(star, "-o", tmp_path / "out") == 0
    ours = starfile.read(tmp_path / "out" / "fsc.star")["fsc"]
    ours = ours["rlnFourierShellCorrelationUnmaskedMaps"].to_numpy()
    np.testing.assert_allclose(ours[1:-1], theirs[1:-1], atol=0.03)
    if views:
        return  # the curve has plateaus along 0.143, where a crossing is a matter of the third decimal
    crossing = np.flatnonzero(theirs[1:] < 0.143)[0] + 1
    assert 3 < crossing < box // 2  # the noise is such that there is something to compare
    resolution = result(tmp_path / "out")["fsc_0.143_angstrom"]
    assert abs(box * pixel_size / resolution - crossing) <= 1.0
