"""The one error a user is meant to read."""


class InputError(Exception):
    """Something given by the user cannot be used.

    Its text is one line that names the file, the row or the option, and what to do about it. The
    command line prints it without a traceback and exits with code 2.
    """
