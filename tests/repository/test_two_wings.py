"""Two wings and one door: neither side imports the other's world."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import requires

import pytest

from polardenoise.constants import ENGINE_LIBRARIES
from tests.places import PACKAGE, REPOSITORY

SCIPION = {"pwem", "pyworkflow", "relion", "scipion", "xmipp3", "tkinter"}
HEAVY = {"torch", "torch_ctf", "torch_fourier_slice", "gemmi", "safetensors"}
#: For Parakeet's files alone, where it is installed.
PARAKEET_LIBRARIES = {"h5py"}

ENGINE_FILES = sorted((PACKAGE / "engine").rglob("*.py"))
SCIPION_FILES = sorted(
    path
    for path in PACKAGE.rglob("*.py")
    if not {"engine", "tests"} & set(path.relative_to(PACKAGE).parts)
)


def name_of(path):
    return str(path.relative_to(PACKAGE))


def imported_modules(tree):
    """List the absolute names of everything imported anywhere in a file, functions included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def loaded_modules(code, environment=None):
    """List the top-level names in `sys.modules` after running `code` in a fresh interpreter."""
    code += "\nimport sys; print('LOADED', *sorted({name.split('.')[0] for name in sys.modules}))"
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert finished.returncode == 0, finished.stderr
    return set(finished.stdout.rsplit("LOADED", 1)[1].split())


@pytest.mark.parametrize("path", ENGINE_FILES, ids=name_of)
def test_engine_imports_nothing_of_scipion(path):
    for module in imported_modules(ast.parse(path.read_text())):
        assert module.split(".")[0] not in SCIPION, module
        if module.startswith("polardenoise"):
            shared = ("polardenoise.engine", "polardenoise.architectures", "polardenoise.counts")
            assert module.startswith(shared) or module in (
                "polardenoise",
                "polardenoise.__version__",
            ), module


@pytest.mark.parametrize("path", SCIPION_FILES, ids=name_of)
def test_scipion_wing_imports_nothing_of_the_engine(path):
    for module in imported_modules(ast.parse(path.read_text())):
        assert module.split(".")[0] not in HEAVY, module
        assert "engine" not in module.split("."), module


@pytest.mark.parametrize("path", SCIPION_FILES, ids=name_of)
def test_scipion_wing_reads_as_python_38(path):
    ast.parse(path.read_text(), feature_version=(3, 8))


def test_declared_libraries_are_the_imported_ones():
    imported = {
        module.split(".")[0]
        for path in ENGINE_FILES
        for module in imported_modules(ast.parse(path.read_text()))
        if not module.startswith(".")
    }
    imported -= {*sys.stdlib_module_names, "polardenoise"}
    assert imported - PARAKEET_LIBRARIES == set(ENGINE_LIBRARIES)
    required = requires("scipion-em-polardenoise") or []
    names = {re.match(r"[A-Za-z0-9-]+", requirement).group() for requirement in required}
    assert set(ENGINE_LIBRARIES.values()) <= names


def test_engine_modules_load_no_scipion():
    modules = [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for path in ENGINE_FILES
        if path.name != "__main__.py"
    ]
    imports = "\n".join(f"import {module}" for module in modules)
    assert not loaded_modules(imports) & SCIPION


def test_engine_command_loads_no_scipion(tmp_path):
    code = (
        "from polardenoise.engine.cli import main\n"
        f"assert main(['simulate', 'phantom:1', '-o', {str(tmp_path / 'particles')!r},"
        " '--particles', '2', '--box', '16']) == 0"
    )
    assert not loaded_modules(code) & SCIPION


def test_package_loads_neither_world():
    assert not loaded_modules("import polardenoise") & (SCIPION | HEAVY)


def test_plugin_loads_no_torch(tmp_path):
    environment = dict(
        os.environ,
        SCIPION_HOME=str(tmp_path),
        SCIPION_USER_DATA=str(tmp_path / "user"),
        SCIPION_DOMAIN="pwem",
    )
    code = "import polardenoise; polardenoise.Plugin; import polardenoise.protocols"
    loaded = loaded_modules(code, environment)
    assert "pwem" in loaded
    assert not loaded & HEAVY


def test_only_the_scipion_wing_is_linted_as_an_old_python():
    """A star in ruff's patterns crosses folders: modules beside the folders are named one by one."""
    with (REPOSITORY / "pyproject.toml").open("rb") as file:
        ruff = tomllib.load(file)["tool"]["ruff"]
    patterns = ruff["per-file-target-version"]
    assert "polardenoise/*.py" not in patterns | ruff["lint"]["per-file-ignores"]
    modules = {str(path.relative_to(REPOSITORY)) for path in PACKAGE.glob("*.py")}
    assert modules == {name for name in patterns if name.count("/") == 1 and "*" not in name}
