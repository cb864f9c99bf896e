"""The plugin as Scipion sees it: variables, environment, the engine's program, what to install."""

import importlib.util
import os
import shlex
import sys

import pwem
import pyworkflow.utils as pwutils
from pyworkflow import VarTypes

from polardenoise.constants import (
    ENGINE_LIBRARIES,
    ENGINE_MODULE,
    ENGINE_PYTHON,
    POLARDENOISE_ENV_ACTIVATION,
    POLARDENOISE_HOME,
    SUPPORTED_VERSIONS,
    V0_1_0,
)

# Written by the last command of the installation: its presence says that the environment is complete.
INSTALLED_FLAG = "ENGINE_INSTALLED"


class Plugin(pwem.Plugin):
    """Describe polardenoise to Scipion.

    The protocols never import the engine: they run `<python> -m polardenoise.engine`. Which Python
    that is, is decided here and nowhere else:

    1. the environment that a facility names in ``POLARDENOISE_ENV_ACTIVATION``;
    2. Scipion's own Python, where the engine's libraries can be imported;
    3. the private environment that ``scipion installb polardenoise`` builds.
    """

    # Scipion looks for the plugin's folder and label through the class's module, and expects the package.
    __module__ = "polardenoise"

    _homeVar = POLARDENOISE_HOME
    _supportedVersions = SUPPORTED_VERSIONS
    _url = "https://github.com/scipion-em/scipion-em-polardenoise"
    _processingField = ["SPA"]  # noqa: RUF012 - Scipion's attribute

    @classmethod
    def _defineVariables(cls):
        cls._defineEmVar(
            POLARDENOISE_HOME,
            f"polardenoise-{V0_1_0}",
            description="Folder of the engine's private environment, used only where Scipion's own "
            "Python lacks the engine's libraries.",
            var_type=VarTypes.FOLDER,
        )
        cls._defineVar(
            POLARDENOISE_ENV_ACTIVATION,
            "",
            description="Command that activates an environment in which the engine runs "
            f"(`python -m {ENGINE_MODULE}`), for example one with a GPU build of torch. Empty: "
            "Scipion's own Python, else the private environment.",
            var_type=VarTypes.STRING,
        )

    @classmethod
    def getEnviron(cls):
        """Return the environment that engine programs run in.

        Returns
        -------
        pyworkflow.utils.Environ
            This process's environment without ``PYTHONPATH``, which would mix Scipion's packages
            into another Python's.
        """
        environ = pwutils.Environ(os.environ)
        environ.pop("PYTHONPATH", None)
        return environ

    @classmethod
    def getActiveVersion(cls, home=None, versions=None):
        """Return the version of the engine: it travels with the plugin, so theirs are one."""
        return V0_1_0

    @classmethod
    def getMissingLibraries(cls):
        """List what the engine imports and this Python does not have; nothing is imported to know.

        Returns
        -------
        list of str
            The names that pip knows, and the Python version where it is too old; empty when the
            engine runs here.
        """
        missing = [
            package
            for module, package in ENGINE_LIBRARIES.items()
            if importlib.util.find_spec(module) is None
        ]
        if sys.version_info[:2] < ENGINE_PYTHON:
            missing.insert(0, "Python >= {}.{}".format(*ENGINE_PYTHON))
        return missing

    @classmethod
    def getEngineActivation(cls):
        """Return the shell command that enters the engine's environment.

        Returns
        -------
        str
            Empty when the engine runs in Scipion's own Python, else a command ready for ``&&``.
        """
        named = (cls.getVar(POLARDENOISE_ENV_ACTIVATION) or "").strip()
        if not named and not cls.getMissingLibraries():
            return ""
        activation = named or f"conda activate polardenoise-{V0_1_0}"
        if activation.startswith("conda "):
            activation = f"{cls.getCondaActivationCmd()} {activation}"
        return activation.rstrip("; &").strip()

    @classmethod
    def getEngineProgram(cls, gpu=False):
        """Return the program that runs the engine, as ``runJob`` takes it.

        Parameters
        ----------
        gpu : bool
            Put `CUDA_VISIBLE_DEVICES=%(GPU)s` in front, which Scipion fills in with the GPUs given
            to the run. Leave it out under a queue, which numbers its GPUs itself.

        Returns
        -------
        str
            For example `CUDA_VISIBLE_DEVICES=%(GPU)s /path/to/python -m polardenoise.engine`.
        """
        activation = cls.getEngineActivation()
        python = "python" if activation else shlex.quote(sys.executable)
        if gpu:
            # Scipion %-formats a program that waits for GPUs: any other % has to survive that.
            activation, python = activation.replace("%", "%%"), python.replace("%", "%%")
        program = f"{python} -m {ENGINE_MODULE}"
        if gpu:
            program = "CUDA_VISIBLE_DEVICES=%(GPU)s " + program
        return f"{activation} && {program}" if activation else program

    @classmethod
    def validateInstallation(cls):
        """Say what the engine lacks and how to get it; files and flags only, nothing is run.

        Returns
        -------
        list of str
            Empty when a protocol can run.
        """
        if (cls.getVar(POLARDENOISE_ENV_ACTIVATION) or "").strip():
            return []
        missing = cls.getMissingLibraries()
        if not missing or os.path.exists(cls.getHome(INSTALLED_FLAG)):
            return []
        return [
            f"The engine of polardenoise cannot run here, missing: {', '.join(missing)}.",
            "Install it in Scipion's own Python (3.11 or later): pip install \"scipion-em-polardenoise"
            '[engine]", or build its private environment: scipion3 installb polardenoise,',
            f"or name an environment that has it: {POLARDENOISE_ENV_ACTIVATION} in scipion.conf.",
        ]

    @classmethod
    def defineBinaries(cls, env):
        """Tell Scipion how to build the private environment; called also just to list it.

        Conda brings the Python, pip the libraries. The plugin's own folder is linked into the
        environment by a path file, so that engine and plugin are always the same version.
        """
        name = f"polardenoise-{V0_1_0}"
        source = os.path.dirname(os.path.abspath(__file__))
        conda = cls.getCondaActivationCmd()
        requirements = " ".join(sorted(set(ENGINE_LIBRARIES.values())))
        write_path_file = (
            'python -c "import os, site; '
            "open(os.path.join(site.getsitepackages()[0], 'polardenoise.pth'), 'w')"
            ".write(os.path.abspath('source'))\""
        )
        python = "{}.{}".format(*ENGINE_PYTHON)
        steps = [
            f"{conda} conda activate {name}",
            f"python -m pip install {requirements}",
            "mkdir -p source",
            f"ln -sfn {shlex.quote(source)} source/polardenoise",
            write_path_file,
            f"python -m {ENGINE_MODULE} --help > /dev/null",
            f"touch {INSTALLED_FLAG}",
        ]
        commands = [
            (
                f"{conda} conda create -y -n {name} python={python} && touch ENVIRONMENT_CREATED",
                "ENVIRONMENT_CREATED",
            ),
            (" && ".join(steps), INSTALLED_FLAG),
        ]
        env.addPackage(
            "polardenoise",
            version=V0_1_0,
            tar="void.tgz",
            commands=commands,
            neededProgs=[] if conda else ["conda"],
            # Scipion's own Python serves where it has the libraries: build nothing unasked then.
            default=bool(cls.getMissingLibraries()),
        )
