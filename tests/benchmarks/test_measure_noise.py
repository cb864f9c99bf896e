"""What a model makes of noise is measured anew: card and text say the same, and nothing else of either changes."""

import json
import re

from benchmarks.models.measure_noise import main
from benchmarks.models.ship_model import NOISE
from tests.denoise_files import save_tiny_model


def test_card_and_text_get_the_figure_and_keep_all_else(tmp_path, capsys):
    save_tiny_model(tmp_path / "tiny")
    folder = tmp_path / "tiny"
    before = json.loads((folder / "model.json").read_text())
    (folder / "CARD.rst").write_text(
        f"tiny\n====\n\n{NOISE} 9.9e-01 of its variance, once.\n\nLimits\n"
    )
    main([str(folder), "--images", "16"])
    after = json.loads((folder / "model.json").read_text())
    measured = after.pop("noise_energy")
    before.pop("noise_energy", None)
    assert after == before
    assert measured.keys() == {"none", "ctf"}
    assert all(0 < energy < 10 for energy in measured.values())
    text = (folder / "CARD.rst").read_text()
    line = re.search(f"^{NOISE} (.*) of its variance, with CTFs (.*?) ", text, re.MULTILINE)
    assert [float(one) for one in line.groups()] == [
        float(f"{measured[kind]:.1e}") for kind in ("none", "ctf")
    ]
    assert text.startswith("tiny\n====\n\n")
    assert text.endswith("\n\nLimits\n")
    assert f"{measured['none']:.2e} now" in capsys.readouterr().out
