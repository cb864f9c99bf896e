"""Several processes, on one machine or many, that share one run: what torchrun starts.

`torchrun --nproc-per-node 2 -m polardenoise.engine denoise ...` starts the same command several times. Process 0
prepares, groups and finishes; batches are dealt out by their number, and all processes write into one file of a file
system that they share. A batch holds the same sets whoever computes it, so that the number of processes changes no
result.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from polardenoise.engine.runtime.errors import InputError, SystemFailureError

#: What torchrun sets.
VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
MOST_PROCESSES = 100_000
#: How long a process waits for another: one that dies is noticed by torchrun, which ends them all.
LONGEST_STAGE = timedelta(days=14)


@dataclass(frozen=True)
class Processes:
    """The processes of this run.

    Attributes
    ----------
    rank, count : int
        Which this one is, from 0, and how many there are.
    local_rank : int
        Which it is on its machine: it takes the GPU of that number.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this is the one that prepares, groups, finishes and speaks."""
        return self.rank == 0

    @contextmanager
    def stage(self) -> Iterator[None]:
        """Run a block on every process; all wait at its end, and leave if it failed in one.

        Raises
        ------
        SystemExit
            With code 2, in the processes where nothing failed; the others raise their own error.
        """
        if self.count == 1:
            yield
            return
        import torch.distributed

        failed = False
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            raise  # torchrun interrupts the others as well
        except BaseException:
            failed = True
            raise
        finally:
            if failed or sys.exc_info()[0] is None:
                states = [False] * self.count
                torch.distributed.all_gather_object(states, failed)
                if any(states) and not failed:
                    raise SystemExit(2)


def find_processes() -> Processes:
    """Read from torchrun's environment variables who we are; alone without them.

    Raises
    ------
    InputError
        If one of them is not what torchrun sets.
    """
    if not all(name in os.environ for name in VARIABLES):
        return Processes()
    count = read_variable("WORLD_SIZE", 1, MOST_PROCESSES)
    rank = read_variable("RANK", 0, count - 1)
    read_variable("MASTER_PORT", 0, 65535)
    local = read_variable("LOCAL_RANK", 0, count - 1) if "LOCAL_RANK" in os.environ else rank
    return Processes(rank, count, local)


def read_variable(name: str, least: int, most: int) -> int:
    """Read a whole number from the environment; an `InputError` where it is none, or not from `least` to `most`."""
    text = os.environ[name].strip()
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else -1
    if not least <= number <= most:
        raise InputError(
            f"{name}={text[:40]}: torchrun sets a whole number from {least} to {most} in the environment; start the"
            f" command by torchrun, or unset {name}"
        )
    return number


@contextmanager
def joined_processes() -> Iterator[Processes]:
    """Meet the other processes of this run, and part from them at the end.

    They exchange a few bytes only, through gloo: pixels go through files.
    """
    processes = find_processes()
    if processes.count == 1:
        yield processes
        return
    import torch.distributed

    try:
        torch.distributed.init_process_group("gloo", timeout=LONGEST_STAGE)
    except (RuntimeError, ValueError) as error:
        place = f"{os.environ['MASTER_ADDR'][:100]}:{os.environ['MASTER_PORT'][:40]}"
        raise SystemFailureError(
            f"the processes of this run cannot meet at {place} (MASTER_ADDR, MASTER_PORT): {str(error)[:160]}; start"
            " the command by torchrun"
        ) from error
    try:
        yield processes
    finally:
        torch.distributed.destroy_process_group()


def only_first_speaks() -> bool:
    """Silence the standard output of every process but the first; tell whether this one was silenced."""
    if find_processes().is_first:
        return False
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the rest of the process
    return True
