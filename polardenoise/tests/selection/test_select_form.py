"""The form of `select particles`: the raw set that it finds or refuses, what is missing, and the score of its wand."""

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
from pyworkflow.object import Set  # isort: skip

from polardenoise.convert.chunks import Chunk, write_chunk
from polardenoise.convert.denoised_set import change_pixel_size
from polardenoise.convert.selection import check_same_particles, word_difference
from polardenoise.convert.stacks import DENOISED_LABEL
from polardenoise.protocols import ProtPolarAdapt, ProtPolarDenoise, ProtPolarTrain
from polardenoise.protocols.run_settings import write_json
from polardenoise.tests.known_particles import make_run
from polardenoise.tests.selection.selection_runs import (
    IDS,
    PIXEL_SIZE,
    SCORED,
    SCORES,
    check_raw,
    make_denoised,
    make_raw,
    prepare,
    select,
)
from polardenoise.wizards import PolarScoreWizard
from polardenoise.wizards.wizard_score import find_proposed_score

pytestmark = pytest.mark.usefixtures("project")


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


def test_a_growing_set_is_waited_for(project, denoised):
    run = prepare(project, {"inputParticles": (denoised, "outputParticles")}, useMinScore=True)
    particles = denoised.outputParticles
    particles.setStreamState(Set.STREAM_OPEN)
    try:
        (error,) = run.validate()
    finally:
        particles.setStreamState(Set.STREAM_CLOSED)
    assert "still growing" in error


class Form:
    """What a wizard sees of a form."""

    def __init__(self, protocol):
        self.protocol, self.filled = protocol, {}

    def setVar(self, name, value):
        self.filled[name] = value


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
