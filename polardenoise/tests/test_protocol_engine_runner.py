"""How protocols call the engine: GPUs, queues, threads, and a job that did not finish."""

import os
import re
import subprocess

import pytest

from polardenoise.tests import scipion_project  # noqa: F401  (sets the environment before pyworkflow)

from pyworkflow.utils import Environ, process  # isort: skip

from polardenoise.protocols import ProtPolarDenoise, ProtPolarTrain

pytestmark = pytest.mark.usefixtures("project")


@pytest.fixture
def make_run(project):
    """Make a run whose jobs are noted instead of started; each writes its summary, as the engine does."""

    def make(finishes=True, **params):
        run = project.newProtocol(ProtPolarDenoise, binThreads=3, **params)
        run.setWorkingDir("Runs/000000_Noted")
        run.jobs = []
        os.makedirs(run._getLogsPath(), exist_ok=True)

        def note(program, arguments, env, numberOfMpi):
            run.jobs.append((program, arguments, env, numberOfMpi))
            if finishes:
                with open("summary.json", "w") as file:
                    file.write("{}")

        run.runJob = note
        return run

    return make


def read_command(job, gpus):
    """Return the command line that Scipion makes of a job."""
    program, arguments, _, _ = job
    return process.buildRunCommand(program, arguments, 1, None, Environ(), gpuList=gpus).strip()


def names_gpus(command, gpus):
    """Tell whether a command names GPUs; fast_commands may have put its folder of programs in front."""
    return re.search(rf"(^|&& )CUDA_VISIBLE_DEVICES={gpus} ", command) is not None


def test_a_gpu_is_named_to_the_engine_by_scipion(make_run):
    run = make_run(gpuList="0,1")
    run.runEngine("denoise", ["50% of it.star"], "summary.json", uses_device=True)
    (job,) = run.jobs
    command = read_command(job, [1])
    assert names_gpus(command, "1")
    assert "'50% of it.star'" in command
    assert "--device auto" in command
    assert names_gpus(read_command(job, [0, 1]), "0,1")
    assert job[2]["OMP_NUM_THREADS"] == "3"
    assert job[3] == 1


def test_a_queue_numbers_its_gpus_itself(make_run):
    run = make_run()
    run._useQueue.set(True)
    run.runEngine("denoise", ["in.star"], "summary.json", uses_device=True)
    assert "CUDA_VISIBLE_DEVICES" not in read_command(run.jobs[0], [])
    assert "--device auto" in run.jobs[0][1]


def test_on_the_processor_no_gpu_is_touched(make_run):
    run = make_run(useGpu=False)
    run.runEngine("denoise", ["100%.star"], "summary.json", uses_device=True)
    command = read_command(run.jobs[0], [])
    assert "CUDA_VISIBLE_DEVICES" not in command
    assert "100%.star" in command
    assert "--device cpu" in command


def test_a_job_that_left_no_summary_did_not_finish(make_run):
    """A queue tells nothing else; and what an earlier job left must not stand for this one."""
    with open("summary.json", "w") as file:
        file.write("{}")
    with pytest.raises(RuntimeError, match="did not finish"):
        make_run(finishes=False).runEngine("denoise", ["in.star"], "summary.json")


def test_idle_gpus_are_pointed_out(project):
    def warn(**params):
        return " ".join(project.newProtocol(ProtPolarDenoise, **params)._warnings())

    assert "set *Scipion threads* to 3" in warn(gpuList="0,1")
    assert warn(gpuList="0,1", numberOfThreads=3) == ""
    assert warn(gpuList="0,1", useGpu=False) == ""
    # One training uses one GPU: only that of each half can use two.
    training = project.newProtocol(ProtPolarTrain, gpuList="0,1")
    assert training._warnings() == []
    training.trainOn.set(1)
    training.perHalf.set(True)
    assert "set *Scipion threads* to 3" in " ".join(training._warnings())


@pytest.mark.parametrize("code", [-9, 137])
def test_a_killed_engine_asks_about_memory(make_run, code):
    """Continue goes on where the engine keeps what it has done; other commands start again."""
    run = make_run()

    def kill(*_, **__):
        raise subprocess.CalledProcessError(code, "polardenoise")

    run.runJob = kill
    with pytest.raises(RuntimeError, match=r"out of memory\? .* Continue goes on"):
        run.runEngine("denoise", ["in.star"], "summary.json")
    with pytest.raises(RuntimeError, match=r"out of memory\? .* start it again"):
        run.runEngine("evaluate", ["in.star"], "summary.json")


def test_a_run_at_work_says_how_far_it_has_come(make_run, monkeypatch):
    run = make_run()
    assert run.summary() == ["Not ready yet."]
    monkeypatch.setattr(run, "isActive", lambda: True)
    assert run.summary() == ["At work."]
    with open(run.getStdoutLog(), "w") as log:
        log.write("read and check: 20/20 images, took less than 0.5 s\n")
        log.write("contrast: bright in half 1\n")
        log.write("denoise: 8/20 images, 3 images/s, 4.0 s to go\n00001: a line of Scipion\n")
    assert run.summary() == ["At work: denoise: 8/20 images, 3 images/s, 4.0 s to go."]
    with open(run.getStdoutLog(), "a") as log:
        log.write(
            "train: step 40, loss 0.1, validation relative MSE 0.2, 9 images/s, 4.0 s to go\n"
        )
    assert run.summary()[0].startswith("At work: train: step 40")
