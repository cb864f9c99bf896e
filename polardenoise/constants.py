"""Names and numbers that the Scipion wing shares: variables, versions, the engine's needs."""

import os

# Configuration variables (scipion.conf or the environment).
POLARDENOISE_HOME = "POLARDENOISE_HOME"
POLARDENOISE_ENV_ACTIVATION = "POLARDENOISE_ENV_ACTIVATION"

# The engine has the plugin's own version: both travel in one package.
V0_1_0 = "0.1.0"
SUPPORTED_VERSIONS = [V0_1_0]

ENGINE_MODULE = "polardenoise.engine"
ENGINE_PYTHON = (3, 11)

# What the engine imports, as Python finds it, and what pip calls it.
ENGINE_LIBRARIES = {
    "msgspec": "msgspec",
    "torch": "torch",
    "torch_ctf": "torch-ctf",
    "torch_fourier_shift": "torch-fourier-shift",
    "gemmi": "gemmi",
    "safetensors": "safetensors",
    "numpy": "numpy",
    "scipy": "scipy",
    "mrcfile": "mrcfile",
    "matplotlib": "matplotlib",
    "PIL": "pillow",
    "jinja2": "jinja2",
    "markupsafe": "markupsafe",
}

# Processor threads that a form proposes; more help little with images of this size.
DEFAULT_THREADS = min(4, os.cpu_count() or 1)

# Choices of a form: projects store the place in this list, so names are only ever added at its end.
SHIPPED_MODELS = ["base", "base-dncnn"]
SHIPPED_MODELS_HELP = (
    "*base*: polar transformer, images are denoised together; for everyone.\n"
    "*base-dncnn*: single-image network, for comparison."
)
