"""Fourier shell correlation and the resolution read off it."""

import subprocess

import numpy as np
import pytest
import torch

from polardenoise.engine.imaging.fsc import (
    fourier_shell_correlation,
    resolution_at,
    shell_frequencies,
)
from polardenoise.engine.reconstruct.fsc_report import REFERENCE_LABEL, plot_fsc, write_fsc_star

BOX, PIXEL_SIZE = 16, 2.0


def noise(seed):
    return torch.randn(BOX, BOX, BOX, generator=torch.Generator().manual_seed(seed))


def test_a_volume_correlates_with_itself_whatever_its_scale():
    curve = fourier_shell_correlation(noise(0), 7.5 * noise(0))
    assert curve.shape == (BOX // 2 + 1,)
    np.testing.assert_allclose(curve, 1.0, atol=1e-6)


def test_the_opposite_contrast_correlates_by_minus_one():
    np.testing.assert_allclose(fourier_shell_correlation(noise(0), -noise(0))[1:], -1.0, atol=1e-6)


@pytest.mark.parametrize("box", [12, 13])
def test_every_frequency_counts_once_in_even_and_odd_boxes(box):
    first, second = torch.randn(
        2, box, box, box, generator=torch.Generator().manual_seed(2)
    ).double()
    one, other = torch.fft.fftn(first), torch.fft.fftn(second)
    along = torch.fft.fftfreq(box, 1 / box, dtype=torch.float64) ** 2
    shell = (along[:, None, None] + along[:, None] + along).sqrt().round()
    curve = [1.0]
    for number in range(1, box // 2 + 1):
        a, b = one[shell == number], other[shell == number]
        curve.append(float((a * b.conj()).sum().real / (a.norm() * b.norm())))
    np.testing.assert_allclose(fourier_shell_correlation(first, second), curve, atol=1e-12)


def test_independent_noise_does_not_correlate():
    box = 32
    first, second = torch.randn(2, box, box, box, generator=torch.Generator().manual_seed(1))
    curve = fourier_shell_correlation(first, second)
    assert np.abs(curve[8:]).max() < 0.1


def test_equal_parts_of_signal_and_noise_correlate_by_one_half():
    box = 32
    signal, first, second = torch.randn(
        3, box, box, box, generator=torch.Generator().manual_seed(2)
    )
    curve = fourier_shell_correlation(signal + first, signal + second)
    assert curve[10:].mean() == pytest.approx(0.5, abs=0.03)


def test_it_is_the_librarys_correlation_with_sharper_shells():
    from torch_fourier_shell_correlation import fourier_shell_correlation as with_shared_voxels

    box = 32
    signal, first, second = torch.randn(
        3, box, box, box, generator=torch.Generator().manual_seed(3)
    )
    first, second = signal + first, signal + second
    theirs = with_shared_voxels(first, second).numpy()
    np.testing.assert_allclose(fourier_shell_correlation(first, second)[4:], theirs[4:], atol=0.05)


def test_the_curve_is_relions(relion, tmp_path):
    import starfile

    from polardenoise.engine.particles.mrc import write_volume

    generator = torch.Generator().manual_seed(4)
    signal, first, second = torch.randn(3, BOX, BOX, BOX, generator=generator)
    first, second = signal + first, signal + second
    write_volume(tmp_path / "1.mrc", first, PIXEL_SIZE)
    write_volume(tmp_path / "2.mrc", second, PIXEL_SIZE)
    told = subprocess.run(
        [relion / "relion_image_handler", "--i", "1.mrc", "--fsc", "2.mrc", "--angpix", "2"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (tmp_path / "fsc.star").write_text(told[told.index("data_fsc") :])
    theirs = starfile.read(tmp_path / "fsc.star")["rlnFourierShellCorrelation"].to_numpy()
    # RELION counts the plane x = 0 double.
    np.testing.assert_allclose(fourier_shell_correlation(first, second)[3:], theirs[3:], atol=0.05)


def test_the_crossing_is_interpolated_in_frequency():
    curve = np.array([1.0, 1.0, 1.0, 0.75, 0.25, 0.0, 0.0, 0.0, 0.0])
    # Half-way between shells 3 and 4.
    assert resolution_at(curve, 0.5, PIXEL_SIZE, BOX) == pytest.approx(BOX * PIXEL_SIZE / 3.5)


def test_the_first_crossing_counts_even_if_the_curve_rises_again():
    curve = np.array([1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    assert resolution_at(curve, 0.5, PIXEL_SIZE, BOX) == pytest.approx(BOX * PIXEL_SIZE / 1.5)


def test_a_curve_that_never_falls_gives_nyquist_and_one_that_starts_below_the_box():
    assert resolution_at(np.ones(BOX // 2 + 1), 0.143, PIXEL_SIZE, BOX) == 2 * PIXEL_SIZE
    assert resolution_at(np.eye(1, BOX // 2 + 1)[0], 0.143, PIXEL_SIZE, BOX) == BOX * PIXEL_SIZE


def test_shells_run_to_nyquist():
    frequencies = shell_frequencies(BOX, PIXEL_SIZE)
    assert frequencies[0] == 0
    assert frequencies[-1] == pytest.approx(1 / (2 * PIXEL_SIZE))


def test_the_star_file_reads_as_relion_writes_it(tmp_path):
    import starfile

    half, reference = np.linspace(1, 0, 9), np.linspace(1, 0.5, 9)
    write_fsc_star(tmp_path / "fsc.star", half, reference, PIXEL_SIZE, 7.5, "resolution")
    tables = starfile.read(tmp_path / "fsc.star")
    assert tables["general"]["rlnFinalResolution"] == 7.5
    fsc = tables["fsc"]
    assert list(fsc["rlnSpectralIndex"]) == list(range(9))
    np.testing.assert_allclose(fsc["rlnFourierShellCorrelationUnmaskedMaps"], half, atol=1e-6)
    np.testing.assert_allclose(fsc[REFERENCE_LABEL], reference, atol=1e-6)
    np.testing.assert_allclose(
        fsc["rlnAngstromResolution"][1:], 1 / fsc["rlnResolution"][1:], rtol=1e-3
    )
    assert fsc["rlnAngstromResolution"].iloc[-1] == pytest.approx(2 * PIXEL_SIZE)


def test_the_plot_leaves_no_state_behind(tmp_path):
    import sys

    plot_fsc(tmp_path / "fsc.png", np.linspace(1, 0, 9), None, PIXEL_SIZE, "resolution")
    assert (tmp_path / "fsc.png").read_bytes().startswith(b"\x89PNG")
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []
    assert [path.name for path in tmp_path.iterdir()] == ["fsc.png"]
