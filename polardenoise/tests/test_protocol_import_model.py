"""Protocol `import model`: a checked copy in the project, and nothing that is not whole."""

import json
import os
import shutil

import pytest

from polardenoise.tests import scipion_project

from polardenoise.objects import PolarModel  # isort: skip
from polardenoise.convert.model_files import check_model_folder, find_model_folder, is_safetensors
from polardenoise.convert.shipped_models import PRETRAINED_FOLDER
from polardenoise.protocols import ProtPolarImportModel

pytestmark = pytest.mark.usefixtures("project")


@pytest.fixture
def folder(tmp_path):
    """A copy of the shipped single-image network, as a colleague would send it."""
    target = tmp_path / "sent" / "model"
    shutil.copytree(os.path.join(PRETRAINED_FOLDER, "base-dncnn"), target)
    return target


def test_a_folder_becomes_a_model_of_the_project(project, folder):
    run = scipion_project.run_protocol(
        project, ProtPolarImportModel, modelFolder=str(folder.parent)
    )
    model = run.outputModel
    assert isinstance(model, PolarModel)
    assert model.getArchitecture() == "dncnn"
    assert model.getBoxSize() == 64
    assert model.getPath() == run._getExtraPath("model")
    assert (
        model.getWeightsHash() == json.loads((folder / "model.json").read_text())["weights_sha256"]
    )
    # The copy stands by itself.
    shutil.rmtree(folder)
    assert check_model_folder(model.getPath()) == []
    assert "dncnn" in run.summary()[0]


def test_a_changed_parameter_changes_the_output(project, folder):
    """Continue mode: the other model replaces the first, and a failure leaves none."""
    run = scipion_project.run_protocol(project, ProtPolarImportModel, modelFolder=str(folder))
    run.importFrom.set(1)
    project.launchProtocol(run, wait=True)
    assert run.isFinished(), scipion_project.read_log(run)
    assert run.outputModel.getArchitecture() == "polar-transformer"
    assert [name for name, _ in run.iterOutputAttributes()] == ["outputModel"]


def test_what_is_not_whole_is_refused(project, folder, tmp_path):
    def validate(path):
        return " ".join(project.newProtocol(ProtPolarImportModel, modelFolder=str(path)).validate())

    assert validate(folder) == ""
    assert validate(folder / "model.json") == ""
    assert find_model_folder(str(folder.parent)) == str(folder)
    assert "Name the folder" in validate("")
    assert "holds no model.json" in validate(tmp_path)
    weights = folder / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-4])
    assert "not the file that model.json describes" in validate(folder)
    assert not is_safetensors(str(weights))
    weights.write_bytes(b"rubbish")
    assert not is_safetensors(str(weights))
    weights.unlink()
    assert "is missing" in validate(folder)
    (folder / "model.json").write_text("{}")
    assert "no model description" in validate(folder)
