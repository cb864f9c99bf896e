"""The plugin as Scipion finds it: discovery, cost, texts, the program it runs, and its forms, untouched."""

import configparser
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from polardenoise.tests import scipion_project

import polardenoise  # isort: skip
import polardenoise.protocols as protocols  # isort: skip
from pwem import Domain  # isort: skip
from pyworkflow.object import PointerList  # isort: skip
from pyworkflow.protocol.params import EnumParam, MultiPointerParam, PointerParam  # isort: skip
from polardenoise.constants import ENGINE_LIBRARIES, POLARDENOISE_ENV_ACTIVATION  # isort: skip

# Scipion reads BibTeX with a library that calls pyparsing by its old names.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:bibtexparser")

PACKAGE = Path(polardenoise.__file__).parent
PROTOCOLS = {
    "ProtPolarAdapt": "adapt denoiser",
    "ProtPolarDenoise": "denoise particles",
    "ProtPolarEvaluate": "evaluate",
    "ProtPolarImportModel": "import model",
    "ProtPolarReconstruct": "reconstruct",
    "ProtPolarSelect": "select particles",
    "ProtPolarSimulate": "simulate particles",
    "ProtPolarTrain": "train denoiser",
}


@pytest.fixture
def environment(tmp_path):
    return {**os.environ, **scipion_project.make_environment(tmp_path)}


@pytest.fixture
def plugin(monkeypatch):
    found = Domain.getPluginModule("polardenoise").Plugin
    monkeypatch.setattr(found, "_vars", dict(found._vars))
    return found


def run_python(environment, *words):
    finished = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, env=environment, check=False
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def test_inspect_is_clean(environment):
    said = run_python(environment, "-m", "scipion", "inspect", "polardenoise")
    for line in ("constants:  loaded", "convert:  loaded", "protocols:  loaded"):
        assert line in said
    assert "error" not in said.lower()


def test_scipion_lists_the_protocols(environment):
    said = run_python(environment, "-m", "scipion", "protocols")
    for name, label in PROTOCOLS.items():
        (line,) = [line for line in said.splitlines() if name in line]
        assert line.split("\t")[0].strip() == "polardenoise"
        assert f"polardenoise - {label}" in line


def test_importing_the_plugin_is_cheap_and_brings_no_torch(environment):
    code = (
        "import time, sys; import pwem, pwem.protocols; from pwem import Domain; began = time.process_time();"
        "Domain.registerPlugin('polardenoise'); import polardenoise.protocols, polardenoise.objects,"
        "polardenoise.convert.convert; print(time.process_time() - began, 'torch' in sys.modules)"
    )
    seconds, torch = run_python(environment, "-c", code).split()[-2:]
    assert float(seconds) < 1
    assert torch == "False"


def test_scipion_knows_folder_name_logo_and_references():
    module = Domain.getPluginModule("polardenoise")
    assert module._pluginInstance.getName() == "polardenoise"
    assert Path(module._pluginInstance.getPath()) == PACKAGE
    assert set(module._references) <= set(module._bibtex.keys())
    for protocol in Domain.getProtocols().values():
        if protocol.__name__ in PROTOCOLS:
            assert set(protocol()._citations()) <= set(module._bibtex.keys())
            with Image.open(protocol.getPluginLogoPath()) as logo:
                assert logo.format == "PNG"
                assert logo.size == (128, 128)


def test_every_parameter_has_a_label_and_our_own_a_help():
    for name in PROTOCOLS:
        protocol = Domain.getProtocols()[name]()
        assert protocol.__doc__
        for parameter, definition in protocol.getDefinition().iterParams():
            # Scipion draws the GPU's row by itself.
            assert parameter in ("useGpu", "gpuList") or definition.label.get(), (name, parameter)
            given = ("runName", "runMode", "useGpu", "gpuList", "inputParticles")
            if parameter not in given:
                assert definition.help.get(), (name, parameter)


def test_the_tree_of_protocols_names_ours():
    parser = configparser.ConfigParser()
    parser.optionxform = str
    parser.read(PACKAGE / "protocols.conf")
    tree = json.loads(parser["PROTOCOLS"]["Protocols SPA"])
    text = json.dumps(tree)
    assert {section["text"] for section in tree} == {"Imports", "Particles", "3D"}
    for name in PROTOCOLS:
        assert f'"{name}"' in text


def test_the_engine_runs_where_its_libraries_are(plugin):
    assert plugin.validateInstallation() == []
    assert plugin.getEngineProgram() == f"{sys.executable} -m polardenoise.engine"
    on_gpu = plugin.getEngineProgram(gpu=True)
    assert on_gpu % {"GPU": "0,1"} == f"CUDA_VISIBLE_DEVICES=0,1 {plugin.getEngineProgram()}"
    assert plugin.getActiveVersion() == polardenoise.__version__


def test_a_missing_library_is_named_with_the_cure(plugin, monkeypatch):
    monkeypatch.setitem(ENGINE_LIBRARIES, "no_such_module", "no-such-package")
    said = " ".join(plugin.validateInstallation())
    assert "no-such-package" in said
    assert "pip install" in said
    assert "installb polardenoise" in said
    assert plugin.getEngineProgram().endswith("python -m polardenoise.engine")
    assert "conda activate polardenoise-" in plugin.getEngineProgram()


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # as on a Python that has none: neither found nor imported
from pwem import Domain
from pyworkflow.gui.project.viewprotocols_extra import ProtocolTreeConfig
tree = ProtocolTreeConfig.load(Domain, sys.argv[1])
def walk(menu):
    for item in menu:
        yield item
        yield from walk(item)
for item in walk(tree[ProtocolTreeConfig.ALL_PROTOCOLS]):
    if (item.tag or "").startswith("protocol"):
        print("tag", item.value, item.tag)
protocol = Domain.getProtocols()["ProtPolarTrain"]()
print("errors", " ".join(protocol.validateInstallation()))
Domain.getViewers(), Domain.getWizards(), Domain.getObjects()["PolarModel"]
print("torch", sys.modules["torch"])
"""


def test_without_torch_the_tree_shows_ours_greyed_with_the_reason(environment):
    """And the others as they were: nothing else of Scipion minds."""
    said = run_python(environment, "-c", WITHOUT_TORCH, str(PACKAGE / "protocols.conf"))
    lines = [line.split(" ", 2) for line in said.splitlines()]
    tags = {line[1]: line[2] for line in lines if line[0] == "tag"}
    greyed = {name for name, tag in tags.items() if tag == "protocol-disabled"}
    # Others may be greyed for reasons of their own.
    assert set(PROTOCOLS) <= greyed
    assert len(greyed) < len(tags) / 2
    (reason,) = [line for line in said.splitlines() if line.startswith("errors")]
    for words in ("missing: torch.", "pip install", "installb polardenoise", "scipion.conf"):
        assert words in reason
    assert "torch None" in said


def test_a_run_says_what_is_missing_before_it_starts(plugin, monkeypatch):
    monkeypatch.setitem(ENGINE_LIBRARIES, "no_such_module", "no-such-package")
    for name in PROTOCOLS:
        errors = " ".join(Domain.getProtocols()[name].validateInstallation())
        assert "no-such-package" in errors, name


def test_a_facility_names_its_own_environment(plugin):
    plugin._vars[POLARDENOISE_ENV_ACTIVATION] = "source /opt/100%/activate;"
    assert plugin.validateInstallation() == []
    expected = "source /opt/100%/activate && python -m polardenoise.engine"
    assert plugin.getEngineProgram() == expected
    on_gpu = plugin.getEngineProgram(gpu=True) % {"GPU": "1"}
    assert on_gpu == expected.replace("python", "CUDA_VISIBLE_DEVICES=1 python")


def test_engine_environment_has_no_pythonpath(plugin, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    assert "PYTHONPATH" not in plugin.getEnviron()
    assert plugin.getEnviron()["PATH"] == os.environ["PATH"]


def test_listing_binaries_does_nothing(plugin, tmp_path, monkeypatch):
    class Installer:
        packages = {}

        def addPackage(self, name, **facts):
            self.packages[name] = facts

    monkeypatch.chdir(tmp_path)
    plugin.defineBinaries(Installer())
    facts = Installer.packages["polardenoise"]
    assert facts["version"] == polardenoise.__version__
    assert facts["default"] is False
    assert "torch-ctf" in facts["commands"][1][0]
    assert list(tmp_path.iterdir()) == []


# --------------------------- the forms, untouched ----------------------------------------
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


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
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


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
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
