"""An engine that has imported its libraries once: every command that tests run as a program forks from it.

Half of what a command takes on a few small images is the import of torch, and much of the rest are tables that are kept
after their first use. A command forked from a process that has both is a process of its own as ever, with its own
arguments, environment, folder, output and exit code. What tests of starts, signals and kills need is the program
itself, which they start without this.
"""

import atexit
import contextlib
import functools
import gc
import json
import os
import runpy
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

CLIENT = Path(__file__).with_name("warm_engine_client.py")
# Longest request: arguments and environment.
LONGEST = 1 << 20
# Particles and pixels of the set that is denoised to warm up.
FEW, SMALL = 12, 32


@functools.lru_cache(maxsize=None)
def start_warm_engine():
    """Start the process that commands fork from; it ends with this one.

    Returns
    -------
    Path
        A folder with a program `python` that runs `python -m polardenoise.engine COMMAND ...` as the fork, and nothing
        else.
    """
    folder = Path(tempfile.mkdtemp(prefix="polardenoise_warm_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    address, program = folder / "socket", folder / "bin" / "python"
    words = [sys.executable, "-IS", str(CLIENT), str(address)]
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nexec {} "$@"\n'.format(" ".join(map(shlex.quote, words))))
    program.chmod(0o755)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(address))
    listener.listen()  # who comes while it warms up waits
    with listener:
        server = subprocess.Popen(
            [sys.executable, "-m", __name__, str(listener.fileno())],
            pass_fds=[listener.fileno()],
            stdin=subprocess.PIPE,  # its end is ours
            stdout=subprocess.DEVNULL,
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    atexit.register(server.wait)
    atexit.register(server.stdin.close)
    return program.parent


def warm_up():
    """Import what commands need, and denoise a few images with all that is written about them."""
    import numpy as np

    from polardenoise.engine.cli import main
    from polardenoise.engine.particles.mrc import write_stack

    images = np.random.default_rng(0).standard_normal((FEW, SMALL, SMALL)).astype(np.float32)
    write_stack(Path("noise.mrcs"), images, 4.0)
    words = ["--pixel-size", "4", "--ctf-state", "none", "--report", "report", "--device", "cpu"]
    assert main(["denoise", "noise.mrcs", "-o", "denoised.star", *words]) == 0


def serve(listener):
    """Fork for every connection; return when standard input ends, with who started this."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            return
        connection, _ = listener.accept()
        with connection:
            if os.fork() == 0:
                listener.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os._exit(attend(connection))


def attend(connection):
    """Run one command in a fork and send its exit status; a client that goes away takes it along."""
    message, streams, _, _ = socket.recv_fds(connection, LONGEST, 3)
    request = json.loads(message)
    child = os.fork()
    if child == 0:
        connection.close()
        run_command(request, streams)
    ended = os.pidfd_open(child)
    ready, _, _ = select.select([ended, connection], [], [])
    if ended not in ready:
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(OSError):
        connection.sendall(str(code).encode())
    return 0


def run_command(request, streams):
    """Become the command, and end with its exit code: without freeing what the fork shares, which takes a second."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv[1:] = request["arguments"]
    code = 1
    try:
        runpy.run_module("polardenoise.engine", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as found:
        warm_up()
        gc.freeze()  # else each fork copies what the collector touches
        serve(found)
