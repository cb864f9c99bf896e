"""The one error a user is meant to read."""


class InputError(Exception):
    """Something given by the user cannot be used.

    Its text is one line that names the file, the row or the option, and what to do about it. The
    command line prints it without a traceback and exits with code 2.
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
