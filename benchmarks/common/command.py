"""The command line of polardenoise, run in this process."""

from polardenoise.engine.cli import main as polardenoise


def run(*words: str) -> None:
    """Run a command of polardenoise; a failure is an error."""
    if polardenoise(list(words)) != 0:
        raise RuntimeError(f"polardenoise {' '.join(words)} failed")
