"""A quiet machine for what is timed: whoever measures holds a lock, and the standing training waits meanwhile.

    python -m benchmarks.common.quiet COMMAND...        (holds it while the command runs)

The lock is the kernel's (`flock`), on one file for all checkouts of a user: that of a dead process does not count.
"""

import fcntl
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Who asks holds the lock for a moment, too.
TIMES_TO_ASK, SECONDS_BETWEEN = 3, 0.02


def name_quiet_file() -> Path:
    """Name the file that is locked: in the folder of temporary files, or where `POLARDENOISE_QUIET` says."""
    usual = Path(tempfile.gettempdir()) / f"polardenoise-{os.getuid()}.quiet"
    return Path(os.environ.get("POLARDENOISE_QUIET") or usual)


@contextmanager
def open_quiet_file() -> Iterator[int]:
    """Open the file that is locked; closing it gives the lock up."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name_quiet_file(), flags, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def keeping_quiet() -> Iterator[None]:
    """Keep the machine quiet for a while; several may do so at the same time."""
    with open_quiet_file() as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield


def is_quiet_wanted() -> bool:
    """Tell whether anyone keeps the machine quiet; two that ask at the same moment do not take one another for it."""
    with open_quiet_file() as descriptor:
        for _ in range(TIMES_TO_ASK):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(SECONDS_BETWEEN)
            else:
                return False
    return True


def main() -> int:
    """Run a command on a quiet machine; gives its exit status, or 2 where there is none to run."""
    command = sys.argv[1:]
    if not command:
        print("name the command: python -m benchmarks.common.quiet COMMAND...", file=sys.stderr)
        return 2
    with keeping_quiet():
        try:
            return subprocess.run(command, check=False).returncode
        except OSError as error:
            print(f"{command[0]}: cannot be started ({error.strerror})", file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main())
