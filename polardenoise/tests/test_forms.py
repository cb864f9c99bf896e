"""The forms, untouched: what Scipion fills in by itself is not used, and choices begin with the default."""

import re

import pytest

from polardenoise.tests import scipion_project

import polardenoise.protocols as protocols  # isort: skip
from pyworkflow.object import PointerList  # isort: skip
from pyworkflow.protocol.params import EnumParam, MultiPointerParam, PointerParam  # isort: skip

pytestmark = pytest.mark.usefixtures("project")
OWN = sorted(name for name in dir(protocols) if name.startswith("ProtPolar"))
SOURCES = {"SetOfParticles": "outputParticles", "Volume": "outputVolume"}


def fill_in(run, source, model):
    """Fill in every empty input from the selected run, as Scipion's form does; return the names."""
    filled = []
    for name, param in run.getDefinition().iterParams():
        if not isinstance(param, (PointerParam, MultiPointerParam)):
            continue
        classes = re.split(r",\s*", param.pointerClass.get())
        given = [(source, SOURCES[one]) for one in classes if one in SOURCES]
        given += [(model, "outputModel")] if "PolarModel" in classes else []
        if given:
            several = isinstance(getattr(run, name), PointerList)
            scipion_project.set_input(run, name, given[:1] if several else given[0])
            filled.append(name)
    return filled


@pytest.mark.parametrize("name", OWN)
def test_only_inputs_that_the_form_asks_for_are_used(project, name):
    """A hidden input changes nothing; an optional one is hidden until its question is answered."""
    run = project.newProtocol(getattr(protocols, name))
    for parameter in fill_in(run, scipion_project.get_views(), scipion_project.get_training()):
        if run.getParam(parameter).allowsNull.get():
            shown = run.evalParamCondition(parameter)
            assert not shown or run.getParam(parameter).isImportant(), parameter
            assert "optional" not in run.getParam(parameter).label.get()


def test_the_untouched_training_learns_from_phantoms_alone(project):
    run = project.newProtocol(protocols.ProtPolarTrain)
    plain = run.getConfiguration(), run.getTrainingOptions(0)
    filled = fill_in(run, scipion_project.get_views(), scipion_project.get_training())
    assert {"likeParticles", "inputModel", "inputVolumes", "inputParticles"} <= set(filled)
    assert (run.getConfiguration(), run.getTrainingOptions(0)) == plain
    assert run.validate() == []
    run.useLikeParticles.set(True)
    assert "--like" in run.getTrainingOptions(0)


def test_a_question_without_its_input_is_said_before_the_run(project):
    run = project.newProtocol(protocols.ProtPolarTrain, useLikeParticles=True)
    (error,) = run.validate()
    assert "Choose *Particles to be like*" in error


@pytest.mark.parametrize("name", OWN)
def test_choices_begin_with_the_default(project, name):
    run = project.newProtocol(getattr(protocols, name))
    for parameter, param in run.getDefinition().iterParams():
        if isinstance(param, EnumParam):
            assert int(param.default.get()) == 0, parameter


def test_what_comes_out_stands_under_output(project):
    run = project.newProtocol(protocols.ProtPolarDenoise)
    sections = {
        section.getLabel(): {name for name, _ in section.iterParams()}
        for section in run.getDefinition().iterSections()
    }
    assert {"ctfOutput", "outputBox", "makeClasses"} <= sections["Output"]
