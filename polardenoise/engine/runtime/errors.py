"""The errors that a user is meant to read."""


class InputError(Exception):
    """Something given by the user cannot be used.

    Its text is one line that names the file, the row or the option, and what to do about it. The
    command line prints it without a traceback and exits with code 2.
    """


class SystemFailureError(InputError):
    """The system refused what the program asked of it: a disk is full, a file is gone, a device fails.

    Nothing is wrong with what the user gave: what has been done so far is kept, and the run can go on later.
    """


class UnclearCtfError(InputError):
    """A particle set says nothing, or several things, about what was done to the CTF of its images."""


class TooLargeError(InputError):
    """A molecule is larger than the box; `diameter` says by how much, in Angstrom."""

    def __init__(self, message: str, diameter: float):
        super().__init__(message)
        self.diameter = diameter


def says_out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception means that memory ran out, on the processor or on a GPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def describe_system_error(error: OSError) -> str:
    """Put an error of the system (disk full, no permission) into one line that names the file."""
    reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
    return f"{error.filename}: {reason}" if error.filename else reason
