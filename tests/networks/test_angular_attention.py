"""Angular attention: every form against the definition, rotations recovered, memory bounded, the FFT's gain."""

import time

import pytest
import torch

from benchmarks.speed.attention import AttentionSize, attend_by_convolution, measure_memory
from polardenoise.engine.networks.angular_attention import (
    WEIGHTS_AT_ONCE,
    attend,
    attend_blocked,
    attend_fourier,
    attention_logits_fourier,
    choose_blocks,
    prefers_direct,
)
from polardenoise.engine.networks.attention_direct import (
    attend_by_matrix_product,
    attend_direct,
    count_images_at_once,
)
from polardenoise.engine.networks.polar_transformer import PolarTransformer, PolarTransformerConfig


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def draw_inputs(sets, images, channels, values, angles):
    sizes = (channels, channels, values)
    return [draw(sets, images, size, angles, seed=1 + i) for i, size in enumerate(sizes)]


@pytest.mark.parametrize(("images", "angles"), [(1, 8), (3, 16), (5, 15), (7, 32)])
def test_fourier_attention_equals_the_direct_form(images, angles):
    query, key, value = (
        draw(2, images, 4, angles, seed=1),
        draw(2, images, 4, angles, seed=2),
        draw(2, images, 6, angles, seed=3),
    )
    difference = attend_fourier(query, key, value) - attend_direct(query, key, value)
    assert difference.abs().max() < 1e-6


def test_gradients_of_both_forms_are_equal():
    inputs = [draw(4, 3, 12, seed=seed).requires_grad_() for seed in (1, 2, 3)]
    weights = draw(4, 3, 12, seed=4)
    fast = torch.autograd.grad((attend_fourier(*inputs) * weights).sum(), inputs)
    direct = torch.autograd.grad((attend_direct(*inputs) * weights).sum(), inputs)
    for one, other in zip(fast, direct, strict=True):
        assert (one - other).abs().max() < 1e-6
        assert other.abs().max() > 1e-3


def test_the_argmax_recovers_known_rotations():
    image = draw(8, 64)
    steps = torch.tensor([0, 5, 17, 40, 63])
    copies = torch.stack([image.roll(int(step), -1) for step in steps])
    logits = attention_logits_fourier(copies, copies)
    # Image i is image j rotated by steps[i] - steps[j].
    expected = (steps[:, None] - steps[None, :]) % 64
    assert torch.equal(logits.argmax(-1), expected)


def test_attention_over_copies_returns_the_rotated_value():
    image, value = draw(8, 32), draw(3, 32, seed=5)
    steps = [0, 3, 11]
    copies = torch.stack([image.roll(step, -1) for step in steps])
    values = torch.stack([value.roll(step, -1) for step in steps])
    attended = attend_fourier(50 * copies, copies, values)
    assert (attended - values).abs().max() < 1e-6


FORMS = {
    "attend": attend,
    "fourier": attend_fourier,
    "matrix product": attend_by_matrix_product,
    "one query, one key": lambda *inputs: attend_blocked(*inputs, 1, 1),
    "uneven blocks": lambda *inputs: attend_blocked(*inputs, 3, 2),
    "blocks of queries": lambda *inputs: attend_blocked(*inputs, 2, 100),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("images", "angles"), [(1, 8), (7, 15), (5, 32)])
def test_every_form_equals_the_definition(form, images, angles):
    inputs = draw_inputs(2, images, 4, 6, angles)
    difference = FORMS[form](*inputs) - attend_direct(*inputs)
    assert difference.abs().max() < 1e-12


def test_the_convolution_equals_the_definition():
    inputs = draw_inputs(1, 5, 4, 6, 16)
    difference = attend_by_convolution(*(one[0] for one in inputs)) - attend_direct(*inputs)[0]
    assert difference.abs().max() < 1e-12


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_the_gradient_of_the_definition(form):
    inputs = [one.requires_grad_() for one in draw_inputs(2, 5, 3, 4, 12)]
    weights = draw(2, 5, 4, 12, seed=9)
    found = torch.autograd.grad((FORMS[form](*inputs) * weights).sum(), inputs)
    expected = torch.autograd.grad((attend_direct(*inputs) * weights).sum(), inputs)
    for one, other in zip(found, expected, strict=True):
        assert (one - other).abs().max() < 1e-10
        assert other.abs().max() > 1e-3


def test_blocks_computed_again_in_the_backward_pass_give_the_same_gradient(monkeypatch):
    inputs = [one.requires_grad_() for one in draw_inputs(1, 6, 3, 4, 12)]
    kept = torch.autograd.grad(attend_blocked(*inputs, 2, 3).square().sum(), inputs)
    monkeypatch.setattr("polardenoise.engine.networks.angular_attention.WEIGHTS_KEPT", 0)
    again = torch.autograd.grad(attend_blocked(*inputs, 2, 3).square().sum(), inputs)
    for one, other in zip(kept, again, strict=True):
        assert torch.equal(one, other)


def test_large_logits_neither_overflow_nor_vanish_across_blocks():
    query, key, value = draw_inputs(1, 6, 3, 4, 16)
    for scale in (1e3, 1e-3):
        blocked = attend_blocked(scale * query, key, value, 2, 1)
        assert blocked.isfinite().all()
        assert (blocked - attend_direct(scale * query, key, value)).abs().max() < 1e-12


def test_blocks_agree_in_single_precision():
    query, key, value = (one.float() for one in draw_inputs(1, 96, 16, 16, 64))
    whole = attend_fourier(query / 4, key / 4, value)
    blocked = attend_blocked(query / 4, key / 4, value, 32, 20)
    assert (blocked - whole).abs().max() < 1e-5
    assert whole.std() > 0.05


@pytest.mark.parametrize("sets", [1, 16])
@pytest.mark.parametrize("images", [1, 24, 128, 2048, 20000])
@pytest.mark.parametrize("angles", [64, 128, 256])
def test_blocks_keep_to_the_budget(sets, images, angles):
    queries, keys = choose_blocks(torch.empty(sets, images, 1, angles, device="cpu"))
    assert 1 <= queries <= images
    assert 1 <= keys <= images
    assert sets * queries * keys * angles <= 2**20
    assert (queries, keys) == (images, images) or 2 * sets * queries * keys * angles > 2**19


def test_the_choice_of_form():
    assert prefers_direct(torch.empty(4, 1, 64, 32))
    assert not prefers_direct(torch.empty(4, 2, 64, 32))
    assert not prefers_direct(torch.empty(4, 1, 64, 128))
    assert not prefers_direct(torch.empty(4, 1, 64, 32, device="meta"))
    # 16 MB of rotated copies of float32, however many sets there are; never less than one image.
    assert count_images_at_once(torch.empty(1, 128, 64, 128)) == 4
    assert count_images_at_once(torch.empty(4, 128, 64, 128)) == 1
    assert count_images_at_once(torch.empty(64, 128, 64, 256)) == 1


@pytest.mark.long  # a ratio of times: on a quiet machine
def test_the_fast_path_is_many_times_faster_than_the_fastest_direct_form():
    # At 128 images `python -m benchmarks speed` measures 20 and more. Processor time of one thread: other jobs, and
    # threads that wait for one another, do not count.
    inputs = [one.float() for one in draw_inputs(1, 64, 64, 64, 128)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            attend(*inputs)
            fast = min(time_once(lambda: attend(*inputs)) for _ in range(3))
            product = time_once(lambda: attend_by_matrix_product(*inputs))
            convolution = time_once(lambda: attend_by_convolution(*(one[0] for one in inputs)))
    finally:
        torch.set_num_threads(threads)
    assert min(product, convolution) > 4 * fast


def time_once(work):
    start = time.thread_time()
    work()
    return time.thread_time() - start


def test_memory_of_the_blocked_form_is_a_fraction_of_the_weights():
    # In a process of its own: the peak is the process's. 2,048 images, but few channels, for the time that it takes.
    row = measure_memory(AttentionSize(2048, 32, 8, 8), torch.device("cpu"))
    assert row["all weights MB"] == 2048 * 2048 * 32 * 4 / 1e6
    # The spectra of keys and values alone are 4.5 MB: what is measured is there.
    assert 4.5 < row["peak MB"] < row["all weights MB"] / 8


def test_one_large_set_goes_through_the_network_block_by_block(monkeypatch):
    torch.manual_seed(0)
    config = PolarTransformerConfig(
        box=16, rings=8, angles=32, hidden=16, query=8, value=8, before=1, after=1
    )
    model = PolarTransformer(config).eval()
    images = torch.randn(1, 40, 16, 16)
    with torch.inference_mode():
        whole = model(images)
        monkeypatch.setitem(WEIGHTS_AT_ONCE, "cpu", 2**12)
        blocked = model(images)
    assert (blocked - whole).abs().max() < 1e-5
    assert whole.std() > 1e-3
