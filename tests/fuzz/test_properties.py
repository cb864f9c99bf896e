"""Tables and descriptions that Hypothesis thinks of: each is read, or refused by one line."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polardenoise.engine.networks.checkpoint import read_card
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.particles.star import is_quotable, read_star
from polardenoise.engine.particles.star_writing import write_star
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.train.history import read_history
from polardenoise.engine.train.recipe import Recipe, choose_recipe
from tests.denoise_files import write_set_and_model
from tests.fuzz.mutations import NUMBERS, WORDS

#: More with `POLARDENOISE_EXAMPLES=5000` (`make fuzz`); always the same ones, so that a failure comes again.
EXAMPLES = int(os.environ.get("POLARDENOISE_EXAMPLES", "60"))
MANY = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)

TOKENS = st.one_of(
    st.sampled_from(NUMBERS + WORDS), st.floats().map(repr), st.integers().map(str), st.text()
)
LABELS = st.sampled_from(
    [
        *("rlnImageName", "rlnImagePixelSize", "rlnPixelSize", "rlnOpticsGroup", "rlnRandomSubset"),
        *(
            "rlnDefocusU",
            "rlnVoltage",
            "rlnSphericalAberration",
            "rlnAngleRot",
            "rlnOriginX",
            "x",
            "y",
        ),
        *(
            "rlnCtfDataArePhaseFlipped",
            "rlnImageDimensionality",
            "polardenoiseCtfState",
            "rlnMagnification",
        ),
    ]
)
NAMES = st.sampled_from(["", "particles", "optics", "images", "general", "x"])
SPACES = st.sampled_from([" ", "\t", "   ", " \t "])
LINE_ENDS = st.sampled_from(["\n", "\n", "\r\n", "\r"])


@st.composite
def star_files(draw):
    """Give a text that is nearly a STAR file."""
    end, parts = draw(LINE_ENDS), []
    for _ in range(draw(st.integers(1, 3))):
        labels = draw(st.lists(LABELS, min_size=1, max_size=5, unique=draw(st.booleans())))
        parts += [f"data_{draw(NAMES)}", draw(st.sampled_from(["", "# comment", "loop_"])), "loop_"]
        if draw(st.integers(0, 5)) == 0:
            parts[-1] = ""
            parts += [f"_{label} {draw(TOKENS)}" for label in labels]
            continue
        numbered = draw(st.booleans())
        parts += [f"_{label}" + (f" #{n}" if numbered else "") for n, label in enumerate(labels, 1)]
        for row in range(draw(st.integers(0, 4))):
            values = [
                f"{row + 1}@stack.mrcs"
                if label == "rlnImageName" and draw(st.booleans())
                else draw(TOKENS)
                for label in labels
            ]
            parts.append(draw(SPACES).join(values))
    return end.join(parts) + draw(st.sampled_from(["", end, end + end]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_set_and_model(tmp_path_factory.mktemp("properties"), count=4)


def refused_in_one_line(read, *arguments):
    """Read; None where that was refused, as it should be: anything else that is raised is a defect."""
    try:
        return read(*arguments)
    except InputError:
        return None


@MANY
@given(text=star_files())
def test_any_table_is_read_or_refused(folder, text):
    path = folder / "any.star"
    path.write_text(text, encoding="utf-8", errors="surrogatepass", newline="")
    document = refused_in_one_line(read_star, path)
    refused_in_one_line(read_particles, path)
    refused_in_one_line(read_particles, path, "none")
    if document is None:
        return
    write_star(document, folder / "same.star", [])
    assert (folder / "same.star").read_bytes() == path.read_bytes()


@MANY
@given(text=star_files(), value=st.one_of(TOKENS, st.text()))
def test_what_is_added_to_a_table_comes_back(folder, text, value):
    path = folder / "table.star"
    path.write_text(text, encoding="utf-8", errors="surrogatepass", newline="")
    document = refused_in_one_line(read_star, path)
    if document is None or not is_quotable(value):
        return
    for number, table in enumerate(document.tables):
        if (
            refused_in_one_line(lambda table=table: list(table.column_chunks(table.labels[:1])))
            is None
        ):
            continue
        before = [table.column(label) for label in table.labels]
        write_star(document, folder / "added.star", [(table, {"added": [value] * len(table)})])
        again = read_star(folder / "added.star").tables[number]
        assert again.column("added") == [value] * len(table)
        assert [again.column(label) for label in table.labels] == before


PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=6,
)


@MANY
@given(data=st.data())
def test_any_card_is_read_or_refused(folder, data):
    facts = json.loads((folder / "model" / "model.json").read_text())
    name = data.draw(st.sampled_from(sorted(facts)))
    facts[name] = data.draw(PLAIN)
    (folder / "card").mkdir(exist_ok=True)
    (folder / "card" / "model.json").write_text(json.dumps(facts))
    refused_in_one_line(read_card, folder / "card")


@MANY
@given(data=st.data())
def test_any_recipe_is_read_or_refused(folder, data):
    name = data.draw(st.sampled_from(sorted(vars(Recipe()))))
    number = st.one_of(st.integers(-5, 5000), st.floats(), PLAIN)
    value = data.draw(st.one_of(number, st.lists(number, max_size=4), PLAIN))
    (folder / "recipe.json").write_text(json.dumps({name: value}))
    recipe = refused_in_one_line(choose_recipe, "tiny", "polar-transformer", folder / "recipe.json")
    if recipe is not None and name != "sizes":
        assert json.dumps(getattr(recipe, name)) == json.dumps(value) or value == getattr(
            recipe, name
        )


@MANY
@given(text=st.text(alphabet=st.sampled_from("0123456789.,-einaf\n\r\"' \0x"), max_size=200))
def test_any_history_is_read_or_refused(folder, text):
    head = "step,seconds,images,learning_rate,training_loss,validation_relative_mse\n"
    path = Path(folder / "history.csv")
    path.write_text(head + text, newline="")
    for row in refused_in_one_line(read_history, path) or []:
        assert int(row["step"]) >= 0
