"""Protocol `select particles`: raw particles by score, by rank and by classes, every attribute as it was."""

import math
import re

import mrcfile
import numpy as np
import pytest

from polardenoise.tests import scipion_project

import pwem.objects as em  # isort: skip
from pwem.protocols import ProtSubSet  # isort: skip
from pwem.protocols.protocol_batch import ProtUserSubSet  # isort: skip
from pwem.viewers.mdviewer.sqlite_dao import (  # isort: skip
    OBJECT_TABLE,
    SCIPION_PORT,
    ScipionSetsDAO,
)
from pyworkflow.object import (  # isort: skip
    RELATION_SOURCE,
    RELATION_TRANSFORM,
    Float,
    Integer,
    Pointer,
    Set,
    String,
)

from polardenoise.convert.chunks import Chunk, write_chunk
from polardenoise.convert.denoised_set import (
    PixelsReplaced,
    change_pixel_size,
    open_denoised_set,
)
from polardenoise.convert.selection import (
    ScoredParticles,
    check_same_particles,
    choose_particles,
    word_difference,
)
from polardenoise.convert.stacks import DENOISED_LABEL
from polardenoise.protocols import (
    ProtPolarAdapt,
    ProtPolarDenoise,
    ProtPolarSelect,
    ProtPolarTrain,
)
from polardenoise.protocols.run_settings import write_json
from polardenoise.tests.known_particles import differ, make_run, read_items
from polardenoise.wizards import PolarScoreWizard
from polardenoise.wizards.wizard_score import find_proposed_score

COUNT, BOX, PIXEL_SIZE = 24, 8, 1.5
# Ids are not 1..N, nor in the order of the stacks; the one that is disabled was never denoised.
IDS = [7 * number + 3 for number in range(1, COUNT + 1)]
DISABLED = IDS[5]
SCORED = [number for number in IDS if number != DISABLED]
# Of neighbouring ids very different ones.
SCORES = {number: (5 * place % 23) / 22 for place, number in enumerate(SCORED)}
CLASSES = {number: 1 + place % 4 for place, number in enumerate(SCORED)}


def write_stack(path, numbers):
    """Write images whose pixels are the particles' ids."""
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(np.repeat(np.float32(numbers), BOX * BOX).reshape(-1, BOX, BOX))
        file.set_image_stack()
        file.voxel_size = PIXEL_SIZE


def make_raw(project, name, halves=True, shift=0):
    """Make a run that gives raw particles with whatever is known of them."""
    write_stack(f"{name}.mrcs", IDS[::-1])
    particles = []
    for place, number in enumerate(IDS):
        particle = em.Particle()
        particle.setObjId(number)
        particle.setLocation(COUNT - place, f"{name}.mrcs")
        ctf = em.CTFModel()
        ctf.setStandardDefocus(10000.0 + 10 * number, 9900.0 + 10 * number, 30.0)
        particle.setCTF(ctf)
        coordinate = em.Coordinate(x=10 * number + shift, y=2000 - number)
        coordinate.setMicName(f"mic_{number % 3}.mrc")
        particle.setCoordinate(coordinate)
        particle.setMicId(number % 3 + 1)
        particle._rlnGroupName = String(f"group_{number % 5}")
        particle._xmipp_zScore = Float(number / 8)
        if halves:
            particle._rlnRandomSubset = Integer(1 + place % 2)
        particle.setEnabled(number != DISABLED)
        particles.append(particle)
    return make_run(project, name, particles, pixel_size=PIXEL_SIZE)


def make_denoised(project, raw, name, scores=SCORES):
    """Make a run of `denoise particles` as it stands when it is done: denoised particles and classes, no engine."""
    run = project.newProtocol(ProtPolarDenoise)
    scipion_project.set_input(run, "inputParticles", (raw, "outputParticles"))
    run.setObjLabel(name)
    project.saveProtocol(run)
    run.makePathsAndClean()
    write_stack(f"{name}.mrcs", np.negative(SCORED))
    # Where the raw set has no halves, these were drawn for denoising.
    rows = {
        number: (place, f"{name}.mrcs", 1 + place % 2) for place, number in enumerate(SCORED, 1)
    }
    denoised = open_denoised_set(
        run._getPath("particles.sqlite"), raw.outputParticles, run._createSetOfParticles, False
    )
    denoised.copyItems(raw.outputParticles, updateItemCallback=PixelsReplaced(rows, "base", scores))
    classes = run._createSetOfClasses2D(run.inputParticles)

    def assign(particle, _):
        particle.setClassId(CLASSES[particle.getObjId()])

    classes.classifyItems(updateItemCallback=assign)
    run._defineOutputs(outputParticles=denoised, outputClasses=classes)
    run.setFinished()
    project._storeProtocol(run)
    project.mapper.commit()
    return run


@pytest.fixture(scope="module")
def raw(module_project):
    return make_raw(module_project, "raw")


@pytest.fixture(scope="module")
def denoised(module_project, raw):
    return make_denoised(module_project, raw, "denoised")


@pytest.fixture(scope="module")
def picked(module_project, denoised):
    """A run that gives classes 2 and 3, as Scipion's viewer does for those that are picked."""
    run = module_project.newProtocol(ProtPolarDenoise)
    run.setObjLabel("picked")
    module_project.saveProtocol(run)
    run.makePathsAndClean()
    classes = run._createSetOfClasses2D(Pointer(denoised, extended="outputParticles"))
    classes.appendFromClasses(
        denoised.outputClasses, filterClassFunc=lambda one: one.getObjId() in (2, 3)
    )
    run._defineOutputs(outputClasses=classes)
    run.setFinished()
    module_project._storeProtocol(run)
    module_project.mapper.commit()
    return run


pytestmark = pytest.mark.usefixtures("project")


def prepare(project, inputs, **params):
    """Prepare a run without starting it."""
    run = project.newProtocol(ProtPolarSelect, **params)
    for name, source in inputs.items():
        scipion_project.set_input(run, name, source)
    return run


def select(project, inputs, **params):
    return scipion_project.run_protocol(project, ProtPolarSelect, inputs, **params)


def check_raw(run, raw, expected, gained=frozenset()):
    """The output are these particles of the raw set, pixel by pixel and attribute by attribute."""
    selected = run.outputParticles
    after, before = read_items(selected), read_items(raw.outputParticles)
    assert sorted(after) == sorted(expected)
    assert selected.getSize() == len(expected)
    for number, attributes in after.items():
        assert set(attributes) - set(before[number]) == set(gained)
        for name, value in before[number].items():
            assert not differ(value, attributes[name]), (number, name)
    pixels = scipion_project.read_stack(selected)
    assert pixels[:, 0, 0].tolist() == sorted(expected)
    scipion_project.check_set_facts(raw.outputParticles, selected)
    assert not hasattr(selected.getFirstItem(), "_polardenoiseModel")


def test_by_score_the_raw_particles_of_the_run_before(project, raw, denoised):
    """The raw set is found by itself; nothing of its particles changes, random halves included."""
    run = select(
        project, {"inputParticles": (denoised, "outputParticles")}, useMinScore=True, minScore=0.5
    )
    expected = [number for number in SCORED if SCORES[number] >= 0.5]
    assert 0 < len(expected) < len(SCORED)
    check_raw(run, raw, expected)
    text = "\n".join(run.summary())
    assert f"*{len(expected)} of {len(SCORED)}* raw particles kept: " in text
    assert f"{len(SCORED) - len(expected)} score less than 0.5" in text
    halves = [item.getAttributeValue("_rlnRandomSubset") for item in run.outputParticles]
    assert f"Random halves: {halves.count(1)} and {halves.count(2)}." in text
    assert run.summary()[-1].startswith("*Next*: look whether")
    assert f"{len(expected)} of {len(SCORED)} raw particles" in run._methods()[0]
    made_from = {
        (row["name"], row["object_parent_id"], row["object_parent_extended"])
        for row in project.mapper.getRelationsByCreator(run)
    }
    assert made_from == {
        (RELATION_TRANSFORM, raw.getObjId(), "outputParticles"),
        (RELATION_SOURCE, raw.getObjId(), "outputParticles"),
        (RELATION_SOURCE, denoised.getObjId(), "outputParticles"),
    }


def test_by_rank_the_best_of_the_picked_classes(project, raw, denoised, picked):
    inputs = {
        "inputParticles": (denoised, "outputParticles"),
        "pickedClasses": (picked, "outputClasses"),
    }
    run = select(project, inputs, usePickedClasses=True, useTopFraction=True, topFraction=0.5)
    among = [number for number in SCORED if CLASSES[number] in (2, 3)]
    best = sorted(among, key=SCORES.get, reverse=True)[: math.ceil(len(among) / 2)]
    check_raw(run, raw, best)
    text = "\n".join(run.summary())
    assert f"{len(SCORED) - len(among)} are in no picked class" in text
    assert f"{len(among) - len(best)} are not among the best 50%" in text


def test_classes_need_no_scores_and_drawn_halves_go_along(project, picked):
    """Whoever refines these particles splits them as they were split for denoising."""
    raw = make_raw(project, "without_halves", halves=False)
    denoised = make_denoised(project, raw, "unscored", scores=None)
    inputs = {
        "inputParticles": (denoised, "outputParticles"),
        "pickedClasses": (picked, "outputClasses"),
    }
    run = select(project, inputs, usePickedClasses=True)
    expected = [number for number in SCORED if CLASSES[number] in (2, 3)]
    check_raw(run, raw, expected, gained={"_rlnRandomSubset"})
    drawn = {item.getObjId(): item._rlnRandomSubset.get() for item in denoised.outputParticles}
    for item in run.outputParticles:
        assert item._rlnRandomSubset.get() == drawn[item.getObjId()]
    assert "(those drawn for denoising)" in "\n".join(run.summary())
    (error,) = prepare(project, inputs, useMinScore=True).validate()
    assert "have no scores" in error


def test_a_subset_of_the_denoised_from_a_larger_raw_set(project, raw, denoised):
    """Subsets keep the ids: the raw set is found through them, and what is not in the subset is not kept."""
    subset = scipion_project.run_protocol(
        project,
        ProtSubSet,
        {"inputFullSet": (denoised, "outputParticles")},
        selectIds=True,
        range=",".join(map(str, SCORED[:10])),
    )
    run = select(
        project,
        {"inputParticles": (subset, "outputParticles")},
        useTopFraction=True,
        topFraction=0.3,
    )
    check_raw(run, raw, sorted(SCORED[:10], key=SCORES.get)[-3:])
    assert "14 raw particles were not denoised" in "\n".join(run.summary())


def test_the_raw_set_is_found_through_a_subset_of_the_viewer(project, raw, denoised):
    """Scipion's viewer points at the set itself, not at the run that made it."""
    picked = project.newProtocol(ProtUserSubSet)
    picked.inputObject.set(denoised.outputParticles)
    project.saveProtocol(picked)
    picked.makePathsAndClean()
    some = picked._createSetOfParticles()
    some.copyInfo(denoised.outputParticles)
    some.copyItems(
        denoised.outputParticles, itemSelectedCallback=lambda item: item.getObjId() in SCORED[:10]
    )
    picked._defineOutputs(outputParticles=some)
    project._storeProtocol(picked)
    run = prepare(project, {"inputParticles": (picked, "outputParticles")}, useMinScore=True)
    assert run.validate() == []
    assert run.getRawPointer().get().getObjId() == raw.outputParticles.getObjId()


def test_a_raw_set_whose_stack_says_that_it_is_denoised_is_refused(project, denoised):
    """Denoised images that were imported again have the mark of their stack alone."""
    imported = make_raw(project, "imported")
    check_same_particles(denoised.outputParticles, imported.outputParticles)
    with mrcfile.open("imported.mrcs", "r+") as file:
        file.add_label(DENOISED_LABEL.decode())
    with pytest.raises(ValueError, match=r"denoised images, as .*imported\.mrcs says"):
        check_same_particles(denoised.outputParticles, imported.outputParticles)


def test_no_form_takes_denoised_particles_for_raw_ones(project, raw, denoised):
    given = {
        ProtPolarDenoise: ("inputParticles", {}),
        ProtPolarAdapt: ("inputParticles", {}),
        ProtPolarTrain: ("inputParticles", {"trainOn": 1}),
    }
    for kind, (name, params) in given.items():
        for run, refused in ((raw, False), (denoised, True)):
            inputs = {name: (run, "outputParticles")}
            if kind is ProtPolarTrain:
                inputs["referenceParticles"] = (raw, "outputParticles")
            form = project.newProtocol(kind, **params)
            for one, pointer in inputs.items():
                scipion_project.set_input(form, one, pointer)
            errors = [error for error in form.validate() if "take the raw ones" in error]
            assert len(errors) == refused


def test_a_changed_threshold_replaces_the_output(project, raw, denoised):
    run = select(
        project, {"inputParticles": (denoised, "outputParticles")}, useMinScore=True, minScore=0.5
    )
    run.minScore.set(0.8)
    project.launchProtocol(run, wait=True)
    assert run.isFinished(), scipion_project.read_log(run)
    check_raw(run, raw, [number for number in SCORED if SCORES[number] >= 0.8])


def test_the_wand_fills_in_what_the_run_before_proposes(project, raw):
    """Of several chunks the median; nothing where the run is of a version that proposed nothing, or not known."""
    run = make_denoised(project, raw, "proposing")
    form = Form(prepare(project, {"inputParticles": (run, "outputParticles")}))
    assert find_proposed_score(form.protocol) is None
    for number, proposed in enumerate((0.31, 0.55, 0.42), 1):
        write_chunk(run._getExtraPath(), Chunk(number, np.array(SCORED[number::3])))
        summary = {"median_score": 0.7, "classes": {"proposed": {"min_score": proposed}}}
        write_json(run.getChunkPath("summary.json", number), summary)
    PolarScoreWizard().show(form)
    assert form.filled == {"minScore": 0.42}
    (told,) = [line for line in run.summary() if "Proposed" in line]
    assert "scores of 0.42 and more" in told
    subset = scipion_project.run_protocol(
        project,
        ProtSubSet,
        {"inputFullSet": (run, "outputParticles")},
        chooseAtRandom=True,
        nElements=5,
    )
    form = Form(prepare(project, {"inputParticles": (subset, "outputParticles")}))
    assert find_proposed_score(form.protocol) == 0.42
    path = run.getChunkPath("summary.json", 3)
    summary["classes"] = {"proposed": None, "nothing_proposed": "24 particles are too few"}
    write_json(path, summary)
    assert find_proposed_score(form.protocol) == 0.43
    write_json(path, summary | {"verdict": ["weak"]})
    assert find_proposed_score(form.protocol) is None
    assert not [line for line in run.summary() if "Proposed" in line]
    assert (
        "No score is proposed, for what the first line says: look at the classes." in run.summary()
    )
    form = Form(prepare(project, {"inputParticles": (raw, "outputParticles")}))
    assert find_proposed_score(form.protocol) is None
    assert find_proposed_score(prepare(project, {})) is None


class Form:
    """What a wizard sees of a form."""

    def __init__(self, protocol):
        self.protocol, self.filled = protocol, {}

    def setVar(self, name, value):
        self.filled[name] = value


def test_what_is_missing_is_said_in_one_line_before_the_run(project, raw, denoised):
    def validate(inputs, **params):
        errors = prepare(project, inputs, **params).validate()
        assert all("\n" not in error for error in errors)
        return errors

    given = {"inputParticles": (denoised, "outputParticles")}
    assert "select by" in " ".join(validate(given))
    assert len(validate(given)) == 1
    assert validate(given, useMinScore=True) == []
    assert validate({})
    (error,) = validate(given, usePickedClasses=True)
    assert "Choose *Picked classes*" in error
    (error,) = validate(given, useMinScore=True, useRawParticles=True)
    assert "Choose *Raw particles*" in error
    assert "from 0 to 1" in " ".join(validate(given, useMinScore=True, minScore=1.5))
    assert "above 0" in " ".join(validate(given, useTopFraction=True, topFraction=0.0))
    (error,) = validate({"inputParticles": (raw, "outputParticles")}, useTopFraction=True)
    assert "no output of `denoise particles`" in error
    own = {**given, "rawParticles": (denoised, "outputParticles")}
    (error,) = validate(own, useMinScore=True, useRawParticles=True)
    assert "are denoised images" in error


def test_all_classes_are_no_picked_ones(project, raw, denoised, picked):
    """Scipion fills in the classes of the run that is selected, all of them: the form says how to pick."""
    subset = scipion_project.run_protocol(
        project,
        ProtSubSet,
        {"inputFullSet": (denoised, "outputParticles")},
        chooseAtRandom=True,
        nElements=5,
    )
    for source in (denoised, subset):
        inputs = {
            "inputParticles": (source, "outputParticles"),
            "pickedClasses": (denoised, "outputClasses"),
        }
        (error,) = prepare(project, inputs, usePickedClasses=True, useMinScore=True).validate()
        assert "are all 4 classes of `denoise particles`" in error
        assert "press *Class2D*" in error
        # What the form does not show is not looked at.
        assert prepare(project, inputs, useMinScore=True).validate() == []
        inputs["pickedClasses"] = (picked, "outputClasses")
        assert prepare(project, inputs, usePickedClasses=True).validate() == []


def test_what_the_form_says_to_press_is_there(project, denoised, monkeypatch):
    """The button of Scipion's viewer that makes a subset of classes has the name that help and error give it."""
    monkeypatch.setenv(SCIPION_PORT, "1")
    viewer = ScipionSetsDAO(denoised.outputClasses.getFileName())
    table = viewer.getTables()[OBJECT_TABLE]
    viewer.generateTableActions(table, None)
    viewer.close()
    buttons = {action.getName() for action in table.getActions()}
    inputs = {
        "inputParticles": (denoised, "outputParticles"),
        "pickedClasses": (denoised, "outputClasses"),
    }
    run = prepare(project, inputs, usePickedClasses=True)
    for text in (run.getParam("pickedClasses").help.get(), *run.validate()):
        (button,) = re.findall(r"press \*(\w+)\*", text)
        assert button in buttons
        assert "double-click" in text
        assert "*outputClasses*" in text


def test_particles_of_an_unknown_run_want_their_raw_set(project, raw, denoised):
    """As after a protocol whose ids may be others: the raw set is not guessed."""
    items = [item.clone() for item in denoised.outputParticles]
    elsewhere = make_run(project, "elsewhere", items, pixel_size=PIXEL_SIZE)
    inputs = {"inputParticles": (elsewhere, "outputParticles")}
    (error,) = prepare(project, inputs, useMinScore=True).validate()
    assert "answer *Name the raw particles?* with Yes" in error
    inputs["rawParticles"] = (raw, "outputParticles")
    run = select(project, inputs, useMinScore=True, minScore=0.5, useRawParticles=True)
    check_raw(run, raw, [number for number in SCORED if SCORES[number] >= 0.5])


def test_other_particles_are_refused(project, raw, denoised):
    """By their ids before the run; those that only share ids by where they lie, and nothing is written."""
    few = [item.clone() for item in raw.outputParticles if item.getObjId() not in IDS[:2]]
    inputs = {
        "inputParticles": (denoised, "outputParticles"),
        "rawParticles": (make_run(project, "few", few, pixel_size=PIXEL_SIZE), "outputParticles"),
    }
    (error,) = prepare(project, inputs, useMinScore=True, useRawParticles=True).validate()
    assert "2 of 23 denoised particles are not in the raw set" in error
    assert f"particle {IDS[0]}:" in error
    moved = make_raw(project, "moved", shift=40)
    inputs["rawParticles"] = (moved, "outputParticles")
    run = select(project, inputs, useMinScore=True, useRawParticles=True, must_finish=False)
    assert run.isFailed()
    assert f"Particle {IDS[0]} lies elsewhere in the raw set" in run.getErrorMessage()
    assert list(run.iterOutputAttributes()) == []


def test_a_threshold_that_leaves_nothing_fails_and_says_the_best_score(project, picked):
    raw = make_raw(project, "low")
    scores = {number: SCORES[number] / 2 for number in SCORED}
    denoised = make_denoised(project, raw, "low_scores", scores=scores)
    inputs = {"inputParticles": (denoised, "outputParticles")}
    run = select(project, inputs, useMinScore=True, minScore=0.9, must_finish=False)
    assert run.isFailed()
    assert "the best score is 0.50" in run.getErrorMessage()
    assert list(run.iterOutputAttributes()) == []


def test_a_growing_set_is_waited_for(project, denoised):
    run = prepare(project, {"inputParticles": (denoised, "outputParticles")}, useMinScore=True)
    particles = denoised.outputParticles
    particles.setStreamState(Set.STREAM_OPEN)
    try:
        (error,) = run.validate()
    finally:
        particles.setStreamState(Set.STREAM_CLOSED)
    assert "still growing" in error


def test_conditions_are_met_together_and_each_loss_is_counted_once():
    scored = ScoredParticles(
        np.arange(1, 7), np.array([0.9, 0.1, 0.5, 0.5, 0.8, 0.2]), np.array([1, 2] * 3)
    )
    choice = choose_particles(scored, 0.3, 0.5, np.array([1, 2, 3, 4]))
    # Of the four in the classes the best two, of equal scores the lower id.
    assert choice.kept.tolist() == [True, False, True, False, False, False]
    assert (choice.in_other_classes, choice.below_min_score, choice.below_top_fraction) == (2, 1, 1)
    assert choose_particles(scored, top_fraction=1.0).kept.all()
    gap = ScoredParticles(scored.ids, np.where(scored.ids == 4, np.nan, 0.5), scored.half)
    with pytest.raises(ValueError, match=r"1 of 6 .* the first is particle 4"):
        choose_particles(gap, 0.3)
    assert choose_particles(gap, class_ids=np.array([4])).kept.sum() == 1


def test_what_denoising_leaves_alone_tells_particles_apart(raw):
    """Half, micrograph and place; a smaller box of the output counts places in larger pixels."""
    particle = raw.outputParticles.getFirstItem().clone()
    smaller = particle.clone()
    change_pixel_size(smaller, 3.7)
    assert smaller.getCoordinate().getX() != particle.getCoordinate().getX()
    assert word_difference(smaller, particle) == ""
    bare = em.Particle()
    assert word_difference(bare, particle) == ""
    changes = {
        "is in another random half": lambda one: one._rlnRandomSubset.set(2),
        "is of another micrograph": lambda one: one.setMicId(9),
        "lies elsewhere": lambda one: one.getCoordinate().setX(500),
    }
    for fault, change in changes.items():
        other = particle.clone()
        change(other)
        assert word_difference(other, particle) == fault
