"""The one door: how every protocol runs the engine and reads what it says."""

import json
import os
import shlex
import subprocess
import sys

from pyworkflow.protocol import GPU_LIST, USE_GPU
from pyworkflow.protocol.params import GE, LEVEL_ADVANCED, BooleanParam, IntParam, StringParam


class EngineRunner:
    """Run engine commands from a protocol's steps; mixed into the protocols, which bring `runJob`.

    A command prints its progress into the run's `logs/run.stdout`, and the command line stands
    there too: pasted into a terminal in the project's folder it gives the same result.
    """

    def defineGpuParams(self, form):
        """Add Scipion's row for GPUs to the form; without a GPU the engine runs on the processor."""
        form.addHidden(
            USE_GPU,
            BooleanParam,
            default=True,
            label="Use GPU if there is one?",
            help="*Yes*: run on the GPU given below; where the machine has none, the run goes on the "
            "processor and says so.\n*No*: run on the processor.",
        )
        form.addHidden(
            GPU_LIST,
            StringParam,
            default="0",
            label="GPU id",
            help="Number of the GPU, from 0, as nvidia-smi lists them. One is used.",
        )

    def defineSeedParam(self, form, help_text):
        """Add the random seed to the form, for experts; the help says what it decides."""
        form.addParam(
            "seed",
            IntParam,
            default=0,
            validators=[GE(0)],
            expertLevel=LEVEL_ADVANCED,
            label="Random seed",
            help=help_text,
        )

    def runEngine(self, command, arguments, summary_path, uses_device=False):
        """Run one command of the engine.

        Parameters
        ----------
        command : str
            For example `denoise`.
        arguments : list
            What follows it; numbers are written as text.
        summary_path : str
            Where the summary goes (`--json`).
        uses_device : bool
            The command takes `--device`.

        Raises
        ------
        RuntimeError
            With the engine's own line, if it says why it stopped.
        """
        words = [str(word) for word in arguments]
        on_gpu = uses_device and self.usesGpu() and bool(self.getGpuList())
        if uses_device:
            words += ["--device", "auto" if self.usesGpu() else "cpu"]
        words += ["--json", summary_path]
        # A queue hands out its own GPUs and numbers them itself.
        on_gpu = on_gpu and not self.useQueue()
        line = " ".join(shlex.quote(word) for word in [command, *words])
        program = self.getPlugin().getEngineProgram(gpu=on_gpu)
        if on_gpu:
            # Scipion %-formats the arguments of a command that waits for GPUs.
            line = line.replace("%", "%%")
        said_before = get_size(self.getStderrLog())
        try:
            self.runJob(program, line, env=self.getEngineEnviron(), numberOfMpi=1)
        except subprocess.CalledProcessError as error:
            sys.stderr.flush()
            reason = read_last_line(self.getStderrLog(), said_before)
            raise RuntimeError(reason or f"polardenoise {command} failed: {error}") from None

    def getEngineEnviron(self):
        """Return the environment of engine programs: the plugin's, with the threads of the form."""
        environ = self.getPlugin().getEnviron()
        threads = self.numberOfThreads.get() or 0
        if threads > 0:
            environ["OMP_NUM_THREADS"] = str(threads)
        return environ

    def readSummary(self, name):
        """Read a summary of the engine in `extra/`; an empty dict where there is none yet."""
        try:
            with open(self._getExtraPath(name), encoding="utf-8") as file:
                return json.load(file)
        except (OSError, ValueError):
            return {}

    def describeInput(self, pointer):
        """Describe an input for the steps' arguments, so that a changed input runs them again.

        Parameters
        ----------
        pointer : Pointer
            Of the form.

        Returns
        -------
        list
            Which output of which run, its own id (a run that is started again makes new ones) and
            its size; None without an input.
        """
        item = pointer.get()
        if item is None:
            return None
        described = [pointer.getUniqueId(), str(item.getObjId())]
        if hasattr(item, "getSize"):
            described.append(item.getSize())
        return described


def get_size(path):
    """Return the size of a file in bytes, 0 where there is none."""
    return os.path.getsize(path) if path and os.path.exists(path) else 0


def read_last_line(path, start):
    """Return the last line of text that a file got after byte `start`, or an empty text."""
    if get_size(path) <= start:
        return ""
    with open(path, encoding="utf-8", errors="replace") as file:
        file.seek(start)
        lines = [line.strip() for line in file if line.strip()]
    return lines[-1] if lines else ""
