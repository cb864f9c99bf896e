"""Joint denoising of single-particle cryo-EM images: a Scipion plugin and its PyTorch engine.

Two wings share this package. The Scipion wing (everything but ``engine``) describes protocols and
objects to Scipion and imports no torch; the engine imports nothing of Scipion. Scipion finds the
class ``Plugin`` here, but it is resolved only when it is asked for: importing pwem is slow and creates
folders under ``SCIPION_HOME``, which an engine command must never do.
"""

__version__ = "0.1.0"

_logo = "polardenoise_logo.png"
_references = ["anden2025"]


def __getattr__(name):
    """Import the Scipion plugin class the first time that Scipion asks for it.

    Parameters
    ----------
    name : str
        The attribute that was not found in the module.

    Returns
    -------
    type
        ``polardenoise.plugin.Plugin``, and nothing else.

    Raises
    ------
    AttributeError
        For every other name, as Python does.
    """
    if name == "Plugin":
        from polardenoise.plugin import Plugin

        return Plugin
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
