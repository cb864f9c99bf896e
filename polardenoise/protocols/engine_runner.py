"""The one door: how every protocol runs the engine and reads what it says."""

import os
import re
import shlex
import subprocess
import sys

from pyworkflow.protocol import GPU_LIST, USE_GPU
from pyworkflow.protocol.params import GE, LEVEL_ADVANCED, BooleanParam, IntParam, StringParam

from polardenoise.constants import DEFAULT_THREADS
from polardenoise.protocols.optional_inputs import OptionalInputs
from polardenoise.protocols.run_settings import RememberedSettings, read_json

ENGINE_THREADS_HELP = (
    "Processor threads of each engine process. More than four help little with images of this size."
)


# What a process that was killed (SIGKILL) returns, directly and through a shell: often for want of memory.
KILLED = (-9, 137)
# Commands that keep what they have done.
GOES_ON = ("denoise", "train")
# Of a log, bytes in which the last line of progress stands.
LOG_END = 4096


class EngineRunner(OptionalInputs, RememberedSettings):
    """Run engine commands from a protocol's steps; mixed into the protocols, which bring `runJob`.

    A command prints its progress into the run's `logs/run.stdout`, and the command line stands
    there too: pasted into a terminal in the project's folder it gives the same result.
    """

    def defineGpuParams(self, form, several="One is used."):
        """Add Scipion's row for GPUs to the form; without a GPU the engine runs on the processor.

        Parameters
        ----------
        form : Form
            Of the protocol.
        several : str
            What the help says of more GPUs than one.
        """
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
            help=f"Number of the GPU, from 0, as nvidia-smi lists them. {several}",
        )

    def defineParallelParams(self, form, steps_at_once):
        """Add Scipion's threads (one, and one for each step at once) and those of the engine to a form."""
        form.addParallelSection(
            threads=1 + steps_at_once,
            mpi=0,
            binThreads=DEFAULT_THREADS,
            binThreadsHelp=ENGINE_THREADS_HELP,
        )

    def warnAboutIdleGpus(self):
        """Say what to set so that every GPU given is used; a list of warnings, empty if all is well."""
        count, workers = len(self.getGpuList()), max(self.numberOfThreads.get() - 1, 1)
        if not self.usesGpu() or count <= workers:
            return []
        return [
            f"{count} GPUs are given, but {workers} can be at work at once: set *Scipion threads* to "
            f"{count + 1} (one for each GPU, and one more)."
        ]

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

    def processImportDict(self, importDict, importDir):
        """Keep the label and the comment that a workflow file gives a run: Scipion 3.11 loses them."""
        self.setObjLabel(importDict.get("object.label") or self.getObjLabel())
        self.setObjComment(importDict.get("object.comment") or "")
        return importDict

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
        # Written last: once the command is back it proves success. A queue tells nothing else.
        if os.path.exists(summary_path):
            os.remove(summary_path)
        try:
            self.runJob(program, line, env=self.getEngineEnviron(), numberOfMpi=1)
        except subprocess.CalledProcessError as error:
            sys.stderr.flush()
            reason = read_last_line(self.getStderrLog(), said_before)
            if error.returncode in KILLED:
                reason = word_kill(command)
            raise RuntimeError(reason or f"polardenoise {command} failed: {error}") from None
        if not os.path.exists(summary_path):
            raise RuntimeError(f"polardenoise {command} did not finish; its job's log says why.")

    def getEngineEnviron(self):
        """Return the environment of engine programs: the plugin's, with the threads of the form."""
        environ = self.getPlugin().getEnviron()
        threads = self.getBinThreads() or 0
        if threads > 0:
            environ["OMP_NUM_THREADS"] = str(threads)
        return environ

    def readSummary(self, name):
        """Read a summary of the engine in `extra/`; an empty dict where there is none yet."""
        return read_json(self._getExtraPath(name)) or {}

    def tellProgress(self):
        """Say how far a run that is at work has come: a list of lines for the summary, quickly made."""
        if not self.isActive():
            return ["Not ready yet."]
        progress = read_progress(self.getStdoutLog())
        return [f"At work: {progress}."] if progress else ["At work."]

    def tellTime(self):
        """Say how long a finished run has taken: a list of lines."""
        seconds = self.getElapsedTime().total_seconds() if self.isFinished() else 0
        return [f"Took {max(1, round(seconds / 60))} min."] if seconds >= 1 else []

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


def word_kill(command):
    """Say in one line that a command was killed, and what to do."""
    then = "Continue goes on from what it has kept" if command in GOES_ON else "start it again"
    return (
        f"polardenoise {command} was killed: out of memory? Free some, or choose fewer particles per "
        f"chunk or images per set where the form has them; {then}."
    )


def read_progress(path):
    """Read the last line of progress in the end of a log, for example `denoise: 8/20 images, 3 images/s`."""
    size = get_size(path)
    if not size:
        return ""
    with open(path, "rb") as file:
        file.seek(max(0, size - LOG_END))
        text = file.read().decode("utf-8", errors="replace")
    found = re.findall(
        r"^(?:\[[#.]+\] )?([a-z ]+(?: \(.*\))?: (?:\d+/\d+|step \d+).*)$", text, re.MULTILINE
    )
    return found[-1].strip() if found else ""
