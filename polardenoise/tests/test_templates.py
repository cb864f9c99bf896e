"""The workflow templates: what they offer, and each one run to the end on particles whose truth is known."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch

from polardenoise.tests import scipion_project

from pwem import Domain  # isort: skip
from pyworkflow.project import Manager  # isort: skip
from pyworkflow.template import LocalTemplate  # isort: skip

from polardenoise.engine.cli import main
from polardenoise.engine.imaging.fsc import fourier_shell_correlation
from polardenoise.engine.particles.mrc import read_volume

TEMPLATES = Path(__file__).resolve().parents[1] / "templates"
NAMES = sorted(path.name.split(".")[0] for path in TEMPLATES.glob("*.json.template"))
LOOK, ALIGN = "denoise_and_look", "align_on_denoised_reconstruct_raw"
REFINE, SIMULATE = "refine3D_on_denoised_reconstruct_raw", "simulate_train_denoise_reconstruct"
KEPT, CORRECTED = 0, 1

COUNT, FEW, BOX = 200, 100, 64


@pytest.fixture
def simulated(tmp_path):
    """200 particles of 64 px as a user has them, a STAR file and its stack, and the map they are of."""
    return simulate(tmp_path, COUNT)


def simulate(folder, count):
    words = ["phantom:10005", "--particles", str(count), "--box", str(BOX), "--snr", "0.1"]
    # Scipion imports a STAR file only if its image names are relative.
    with contextlib.chdir(folder):
        assert main(["simulate", *words, "-o", "."]) == 0
    return folder


def describe(simulated):
    """Give the values of a template's fields that say what the particles are."""
    pixel_size = read_volume(simulated / "volume.mrc")[1]
    return {
        "star": simulated / "particles.star",
        "pixel": round(pixel_size, 6),
        "voltage": 300,
        "cs": 2.7,
        "ac": 0.1,
        "gpu": 0,
        "threads": 2,
    }


def read_template(name, **values):
    """Fill a template's fields as the GUI does; those not given keep their defaults."""
    template = LocalTemplate("polardenoise", str(TEMPLATES / f"{name}.json.template"))
    template.replaceEnvVariables()
    template.parseContent()
    for alias, value in values.items():
        assert template.setParamValue(alias, str(value)), alias
    return template


def load_template(project, name, **values):
    """Add a template's workflow to a project; give its runs by their number in the template."""
    path = read_template(name, **values).createTemplateFile()
    runs = project.loadProtocols(path)
    os.remove(path)
    return runs


def run_all(project, runs):
    """Run a workflow in the order of the template, each run to its end."""
    for run in runs.values():
        project.launchProtocol(run, wait=True)
        assert run.isFinished(), f"{run.getErrorMessage()}\n{scipion_project.read_log(run)}"


def read_command(run):
    """Read the command line of a run of relion_refine."""
    lines = Path(run.getStdoutLog()).read_text(errors="replace").splitlines()
    return next(line for line in lines if "relion_refine" in line and "--o " in line)


def read_items(particles, left_out=("_index", "_filename")):
    """Every attribute of every item as text, by id, but where the pixels lie."""
    return {
        item.getObjId(): {
            name: str(value) for name, value in item.getObjDict().items() if name not in left_out
        }
        for item in particles.iterItems()
    }


def assert_same_items(before, after):
    """Every attribute that an item had is there, with its value."""
    assert list(before) == list(after)
    for number, attributes in before.items():
        found = {name: after[number][name] for name in attributes}
        assert found == attributes, number


def correlate_with_truth(path, truth):
    """Correlate a map with the truth, shell by shell up to the Nyquist frequency, `(BOX // 2 + 1,)`."""
    volumes = [torch.from_numpy(np.array(read_volume(name)[0])) for name in (path, truth)]
    return fourier_shell_correlation(*volumes)[: BOX // 2 + 1]


def test_the_gui_offers_them():
    offered = {
        template.name: template
        for template in Domain.getPlugins()["polardenoise"]._pluginInstance.getTemplates()
    }
    assert sorted(offered) == NAMES == sorted([ALIGN, LOOK, REFINE, SIMULATE])
    for template in offered.values():
        assert len(template.description) > 100


@pytest.mark.parametrize("name", NAMES)
def test_every_name_in_them_is_known(name):
    """Scipion skips a parameter that a protocol does not have without a word."""
    template = read_template(name)
    fields = list(template.getParams().values())
    # A field of a title that was there before is lost; one without alias cannot be given headless.
    assert len(fields) == len(template.getContent()) // 2
    assert all(field.getAlias() for field in fields)
    template._replaceFields()
    for protocol in json.loads("".join(template.getContent())):
        protocol_class = Domain.getProtocols().get(protocol["object.className"])
        if protocol_class is None:
            pytest.skip(f"{protocol['object.className']} is not installed")
        known = {key for key, _ in protocol_class().iterDefinitionAttributes()}
        own = {key for key in protocol if not key.startswith("object.")}
        assert own <= known, protocol["object.className"]


@pytest.mark.parametrize("name", NAMES)
def test_what_follows_corrects_for_the_ctf_that_the_images_carry(name):
    template = read_template(name)
    template._replaceFields()
    protocols = {one["object.id"]: one for one in json.loads("".join(template.getContent()))}
    for protocol in protocols.values():
        if not protocol["object.className"].startswith("ProtRelion"):
            continue
        source = protocols[protocol["inputParticles"].split(".")[0]]
        corrected = source.get("ctfOutput", KEPT) == CORRECTED
        assert protocol["doCTF"] is not corrected
        if source["object.className"] == "ProtPolarDenoise":
            assert "--dont_check_norm" in protocol["extraParams"]


def test_denoise_and_look_from_the_command_line(relion, warm_engine, tmp_path):
    """`scipion template` itself makes the project; the particles and their classes are as they should be."""
    values = {**describe(simulate(tmp_path, FEW)), "classes": 4, "iterations": 4, "diameter": 0}
    words = [f"{alias}={value}" for alias, value in values.items()]
    template = str(TEMPLATES / f"{LOOK}.json.template")
    command = [sys.executable, "-m", "scipion", "template", template, "--nogui", "--noschedule"]
    subprocess.run([*command, "project_name=look", *words], check=True, capture_output=True)
    before = Path.cwd()
    project = Manager().loadProject("look")
    try:
        runs = dict(enumerate(sorted(project.getRuns(), key=lambda run: run.getObjId()), 1))
        run_all(project, runs)
        imported, denoised = runs[1].outputParticles, runs[2].outputParticles
        assert denoised.getSize() == FEW
        assert_same_items(read_items(imported), read_items(denoised))
        assert denoised.isPhaseFlipped()
        assert denoised.isAmplitudeCorrected()
        assert any("without* CTF correction" in text for text in runs[2].warnings())
        command = read_command(runs[3])
        assert " --dont_check_norm" in command
        assert " --ctf" not in command
        classes = runs[3].outputClasses
        members = [item.getObjId() for one in classes.iterItems() for item in one.iterItems()]
        assert sorted(members) == sorted(item.getObjId() for item in imported.iterItems())
        for one in classes.iterItems():
            if one.getSize() < FEW // 20:
                continue
            index, path = one.getRepresentative().getLocation()
            average = mrcfile.read(path.partition(":")[0])[index - 1]
            assert_a_particle_in_the_middle(average)
    finally:
        os.chdir(before)


def assert_a_particle_in_the_middle(image):
    """The middle of an image is bright and its margin flat."""
    y, x = np.indices(image.shape) - BOX // 2
    radius = np.hypot(x, y)
    middle, margin = image[radius < BOX / 8], image[(radius > 0.42 * BOX) & (radius < 0.5 * BOX)]
    assert middle.mean() - margin.mean() > 5 * margin.std()


@pytest.mark.long
def test_simulate_train_denoise_reconstruct(project):
    runs = load_template(
        project,
        SIMULATE,
        particles=100,
        box=32,
        snr=0.1,
        phantoms="1-4",
        preset=1,
        minutes=1,
        steps=4,
    )
    run_all(project, runs)
    simulation, training, denoising, raw, denoised, evaluation = runs.values()
    assert denoised.getObjLabel() == "reconstruct denoised, FSC"
    assert training.outputModel.getBoxSize() == 32
    noisy = simulation.outputParticles
    assert denoising.outputParticles.getSize() == noisy.getSize() == 100
    assert_same_items(read_items(noisy), read_items(denoising.outputParticles))
    # Noisy images have a relative error of 10, blank ones of 1; four steps of training are hardly more.
    found = evaluation.readSummary("summary.json")
    assert found["particles"] == 100
    assert 0 < found["relative_mse"] < 1.5
    nyquist = 2 * noisy.getSamplingRate()
    for run in (raw, denoised):
        summary = run.readSummary("summary.json")
        assert summary["particles"] == 100
        # Poses are the true ones: the map has to show the molecule.
        assert nyquist <= summary["fsc_0.5_to_reference_angstrom"] < 5 * nyquist
        halves, truth = run.outputFSC.iterItems(iterate=False)
        for curve in (halves, truth):
            frequencies, values = curve.getData()
            assert len(frequencies) == len(values) == 16
            assert np.isfinite(values).all()
            assert np.all(np.abs(values) <= 1 + 1e-6)
            assert frequencies[-1] == pytest.approx(1 / nyquist, rel=1e-4)
            assert values[0] > 0.9
        assert ("consistency" in halves.getObjLabel()) == (run is denoised)


@pytest.mark.long
def test_align_on_denoised_reconstruct_raw(relion, project, simulated):
    truth = simulated / "volume.mrc"
    values = {**describe(simulated), "map": truth, "iterations": 3, "angles": 1, "lowpass": 30}
    runs = load_template(project, ALIGN, **values)
    for number in ("4", "7"):
        # The particles are centred; fewer shifts take less time.
        runs[number].offsetSearchRangePix.set(2)
        project.saveProtocol(runs[number])
    run_all(project, runs)
    imported, aligned = runs["1"].outputParticles, runs["5"].outputParticles
    assert " --ctf" in read_command(runs["4"])
    assert runs["4"].outputClasses[1].getSize() == COUNT

    # The raw particles at other poses: pixels and all else as they were imported.
    assert aligned.getSize() == COUNT
    assert aligned.hasAlignmentProj()
    for one, other in zip(imported.iterItems(iterate=False), aligned.iterItems(), strict=True):
        assert one.getLocation() == other.getLocation()
        assert not np.allclose(one.getTransform().getMatrix(), other.getTransform().getMatrix())
    poses = ("_transform._matrix",)
    assert_same_items(read_items(imported, poses), read_items(aligned, poses))

    # The map of raw particles shows the molecule, also at the poses found on the denoised ones.
    on_denoised, on_raw = (
        correlate_with_truth(runs[number].outputVolume.getFileName(), truth)
        for number in ("6", "8")
    )
    for curve in (on_denoised, on_raw):
        assert curve[1 : BOX // 8].min() > 0.7
