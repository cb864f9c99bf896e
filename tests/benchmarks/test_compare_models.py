"""Models beside one another on fixed simulated sets."""

import torch

from benchmarks.models.compare_models import (
    CASES,
    compare_models,
    draw_case,
    lay_case,
    load_molecules,
    name_models,
)

MOLECULES = ("phantom:9990", "phantom:8990")


def test_every_case_is_drawn_as_it_is_named_and_the_same_again():
    molecules = load_molecules(MOLECULES, ())
    for case in CASES:
        recipe = lay_case(case)
        first, second = (next(draw_case(molecules, recipe, 1)) for _ in range(2))
        assert torch.equal(first.noisy, second.noisy)
        assert first.noisy.shape == (1, 64, 64, 64)
        told = first.average_ctf_rings()
        if case == "one view, SNR 0.02":
            assert (told - 1).abs().max() < 1e-5
        if "whitened" in case:
            assert not (first.whitening == 1).all()


def test_the_shipped_model_is_measured():
    molecules = load_molecules(MOLECULES, ())
    (row, *others) = compare_models({"base": "base", "dncnn": "base-dncnn"}, molecules, share=0.01)
    assert [row["sets"], *(other["sets"] for other in others)] == list(CASES)
    for one in (row, *others):
        assert 0.01 < one["base"] < one["dncnn"] < 1.0


def test_models_are_named():
    assert name_models(["base", "new=training/x"]) == {"base": "base", "new": "training/x"}
