"""Every command of README and docs: run here, covered by a test that is named, or out of reach for a stated reason."""

import re
from contextlib import suppress

import numpy as np
import pytest

from polardenoise.engine import cli
from polardenoise.engine.particles.particle_set import read_particles
from tests.cryosparc_files import fields_of, write_cs
from tests.places import PACKAGE, REPOSITORY
from tests.repository.documentation import (
    COVERED,
    ELSEWHERE,
    PAGES,
    RUN,
    WAYS,
    Block,
    find_blocks,
    find_way,
    words_of,
)

BLOCKS = [block for page in PAGES for block in find_blocks(page)]
TEMPLATES_FOLDER = PACKAGE / "templates"
TEMPLATES = sorted(TEMPLATES_FOLDER.glob("*.json.template"))
#: Options in the running text that are other programs'.
FOREIGN = {
    "--noschedule": "scipion template",
    "--dont_check_norm": "relion_refine",
    "--ctf_phase_flipped": "relion_refine",
    "--nproc-per-node": "torchrun",
    "--extra-index-url": "pip",
    "--count": "tests.fuzz",
}


def list_commands(way):
    """List each page's commands of a kind, in the order in which a reader meets them."""
    pages = {}
    for block in BLOCKS:
        for command in block.commands:
            with suppress(LookupError):  # a test below says of which command nothing is known
                if find_way(command)[0] == way:
                    pages.setdefault(block.page, []).append(command)
    return pages


TO_RUN = list_commands(RUN)


def name_block(block):
    return f"{block.page.name}:{block.line}"


@pytest.mark.parametrize("block", BLOCKS, ids=name_block)
def test_every_command_is_known_to_work(block):
    for command in block.commands:
        try:
            find_way(command)
        except LookupError:
            pytest.fail(
                f"{name_block(block)}: nothing is known of `{command}`: add it to WAYS of "
                "tests/repository/documentation.py, with a test that runs it"
            )


def test_a_new_block_without_a_test_fails(tmp_path):
    page = tmp_path / "page.rst"
    page.write_text("Do this::\n\n    # a comment\n    frobnicate --now\n\nand that.\n")
    (block,) = find_blocks(page)
    assert block == Block(page, 1, ("# a comment", "frobnicate --now"))
    with pytest.raises(LookupError, match="frobnicate"):
        find_way(block.commands[0])


def test_blocks_are_found():
    """The finder sees what grep sees."""
    shown = sum(
        line.lstrip().startswith("polardenoise ") and line.startswith("    ")
        for page in PAGES
        for line in page.read_text().splitlines()
    )
    found = sum(line.startswith("polardenoise ") for block in BLOCKS for line in block.lines)
    assert found == shown > 8


@pytest.mark.parametrize(("pattern", "way", "by"), WAYS, ids=[way[0] for way in WAYS])
def test_every_way_is_used_and_what_covers_it_is_there(pattern, way, by):
    assert any(re.match(pattern, command) for block in BLOCKS for command in block.commands)
    if way == COVERED:
        assert (REPOSITORY / by).is_file(), by
    assert bool(by) == (way != RUN)


def test_goals_of_make_are_there():
    text = (REPOSITORY / "Makefile").read_text()
    pages = [*PAGES, REPOSITORY / "CONTRIBUTING.rst"]
    shown = {goal for page in pages for goal in re.findall(r"``make ([\w-]+)", page.read_text())}
    assert {"demo", "test", "screenshots"} <= shown
    assert all(re.search(rf"^{goal}:", text, re.MULTILINE) for goal in shown)


def test_fields_of_templates_are_those_that_the_guide_gives():
    """Headless, every field has to be given: the lines of the guide are to name all of them, and no others."""
    page = REPOSITORY / "docs" / "workflows.rst"
    lines = page.read_text().splitlines()
    shown = [block for block in find_blocks(page) if re.match(r"\w+=\S+ \w+=", block.lines[0])]
    assert len(shown) == len(TEMPLATES) == 4
    for block in shown:
        above = "\n".join(lines[: block.line])
        (name,) = re.findall(r"^``([\w.]+\.template)``$", above, re.MULTILINE)[-1:]
        fields = re.findall(r"~[^~]*\|(\w+)~", (TEMPLATES_FOLDER / name).read_text())
        assert {word.partition("=")[0] for word in block.lines[0].split()} == set(fields), name


def test_what_is_out_of_reach_is_little():
    assert len({by for _, way, by in WAYS if way == ELSEWHERE}) <= 8


def test_options_in_the_text_are_there():
    """An option that was renamed is found wherever it is named, except behind another program's."""
    known = set(FOREIGN)
    parsers = cli.build_parser()._subparsers._group_actions[0].choices.values()
    known |= {
        option for one in parsers for action in one._actions for option in action.option_strings
    }
    for folder in ("benchmarks", "screenshots"):
        for path in (REPOSITORY / folder).rglob("*.py"):
            known |= set(re.findall(r'"(--[a-z][\w-]*)"', path.read_text()))
    for page in PAGES:
        for literal in re.findall(r"``([^`]+)``", page.read_text()):
            for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", literal):
                assert option in known, f"{page.name}: {literal}"


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """A folder of somebody who has particles, but no truth: a STAR file, and the same as cryoSPARC has them."""
    monkeypatch.chdir(tmp_path)
    words = ["phantom:10003", "-o", ".", "--particles", "96", "--views", "3", "--snr", "0.2"]
    assert cli.main(["simulate", *words]) == 0
    for truth in ("clean.star", "clean.mrcs", "volume.mrc"):
        (tmp_path / truth).unlink()
    fields = fields_of("particles.star", tmp_path)
    own = {name: values for name, values in fields.items() if not name.startswith("ctf/")}
    write_cs(tmp_path / "particles.cs", own)
    write_cs(tmp_path / "passthrough.cs", fields)
    named = [("blob", "particles"), ("alignments3D", "particles"), ("ctf", "passthrough")]
    slots = [f"  {slot}:\n    metafile: '>{name}.cs'\n" for slot, name in named]
    (tmp_path / "particles.csg").write_text("".join(["results:\n", *slots]))
    return tmp_path


def run(command, capsys):
    """Run a command in this process; it is to succeed without a warning of Python's."""
    program, *words = words_of(command)
    assert program == "polardenoise"
    code = cli.main(words)
    captured = capsys.readouterr()
    assert code == 0, f"{command}: {captured.err}"


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", TO_RUN, ids=lambda page: page.name)
def test_commands_run_as_they_stand(page, reader, capsys):
    """All of a page, one after the other in one folder: later ones read what earlier ones have written."""
    for command in TO_RUN[page]:
        run(command, capsys)
    for star in reader.glob("*.star"):
        if star.name.endswith("_2d_model.star"):  # of classes, not of particles
            continue
        particles = read_particles(star)
        assert all(header.complete for header in particles.headers)
        assert np.isfinite(particles.pixel_size).all()
