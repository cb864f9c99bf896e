"""The examples in the docstrings of the engine, which are its API's pages, give what they say."""

import doctest
import importlib
import pkgutil

import pytest
import torch

import polardenoise.engine

#: Rooms that show how they are used; fewer would mean that examples have been lost.
ROOMS_WITH_EXAMPLES = {"imaging", "networks", "particles", "runtime", "simulate"}
FEWEST = 12


def find_examples():
    """List the docstrings of the engine that have examples."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = []
    for module in pkgutil.walk_packages(polardenoise.engine.__path__, "polardenoise.engine."):
        if not module.name.endswith("__main__"):
            tests = finder.find(importlib.import_module(module.name), module.name)
            found += [test for test in tests if test.examples]
    return found


EXAMPLES = find_examples()


def test_the_rooms_show_how_they_are_used():
    assert {test.name.split(".")[2] for test in EXAMPLES} >= ROOMS_WITH_EXAMPLES
    assert len(EXAMPLES) >= FEWEST


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda test: test.name.split(".", 2)[2])
def test_the_example_gives_what_it_says(example):
    torch.manual_seed(0)
    said = []
    result = doctest.DocTestRunner(optionflags=doctest.FAIL_FAST).run(example, out=said.append)
    assert result.attempted == len(example.examples) > 0
    assert result.failed == 0, "".join(said)


def test_an_example_that_is_wrong_is_noticed():
    parser = doctest.DocTestParser()
    wrong = parser.get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    said = []
    assert doctest.DocTestRunner().run(wrong, out=said.append).failed == 1
