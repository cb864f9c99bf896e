"""Packaging of scipion-em-polardenoise.

The base install is the Scipion wing: a plugin that the GUI imports, Python 3.8 and no torch. The
extra `engine` adds what the denoiser itself needs; it installs where the torch libraries of the
field exist (Python >= 3.11) and is empty elsewhere, so that an older Scipion still gets the plugin
and runs the engine from another environment.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
REPOSITORY = "https://github.com/scipion-em/scipion-em-polardenoise"


def read_version():
    """Read `__version__` as text: importing the package needs what is about to be installed."""
    text = (HERE / "polardenoise" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r"^__version__ = [\"']([^\"']+)[\"']", text, re.MULTILINE).group(1)


def read_description():
    """Read the README, with links and pictures that hold outside the repository as well."""
    text = (HERE / "README.rst").read_text(encoding="utf-8")
    text = re.sub(r"<((?!https?:)[^<>`\s]+)>`", rf"<{REPOSITORY}/blob/main/\1>`", text)
    raw = REPOSITORY.replace("github.com", "raw.githubusercontent.com") + "/main"
    return re.sub(r"(\.\. image:: )(?!https?:)", rf"\g<1>{raw}/", text)


ENGINE = [
    requirement + '; python_version >= "3.11"'
    for requirement in [
        "torch>=2.4",
        "torch-ctf>=0.6",
        "torch-fourier-shift>=0.6",
        "gemmi>=0.7",
        "safetensors>=0.4",
        "msgspec>=0.19",
        "scipy>=1.10",
        "matplotlib",
        "pillow",
        "jinja2>=3.1",
        "markupsafe",
    ]
]

DOCUMENTATION = [
    requirement + '; python_version >= "3.11"'
    for requirement in ["sphinx>=8", "pydata-sphinx-theme>=0.16"]
]

DEVELOPMENT = [
    *DOCUMENTATION,
    "scipion-app>=3.8",
    "scipion-em-relion>=5.0.2",
    "pytest>=8",
    "hypothesis>=6.100",
    "pytest-timeout",
    "pytest-xdist",
    "starfile>=0.5",
    "torch-fourier-shell-correlation>=0.6",
    "torch-fourier-slice>=0.6",
    "ruff",
    "mypy",
    "import-linter>=2.3",
    "pyyaml",
]

setup(
    name="scipion-em-polardenoise",
    version=read_version(),
    description="Joint denoising of whole cryo-EM particle sets with the polar transformer",
    long_description=read_description(),
    long_description_content_type="text/x-rst",
    author="polardenoise developers",
    url=REPOSITORY,
    project_urls={
        "Source": REPOSITORY,
        "Issues": f"{REPOSITORY}/issues",
        "Changes": f"{REPOSITORY}/blob/main/CHANGES.rst",
        "Paper": "https://arxiv.org/abs/2506.11283",
    },
    license="GPL-3.0-or-later",
    keywords=(
        "scipion cryo-em cryo-electron-microscopy single-particle-analysis denoising "
        "transformer pytorch relion cryosparc structural-biology"
    ),
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Environment :: GPU",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.8",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Bio-Informatics",
        "Topic :: Scientific/Engineering :: Image Processing",
    ],
    python_requires=">=3.8",
    packages=find_packages(include=["polardenoise", "polardenoise.*"]),
    package_data={
        "polardenoise": [
            "*.png",
            "protocols.conf",
            "engine/report/*.j2",
            "pretrained/*/*",
            "templates/*.json.template",
        ]
    },
    install_requires=["scipion-pyworkflow>=3.11.2", "scipion-em>=3.11", "numpy", "mrcfile"],
    extras_require={"engine": ENGINE, "docs": DOCUMENTATION, "dev": DEVELOPMENT},
    entry_points={
        "pyworkflow.plugin": ["polardenoise = polardenoise"],
        "console_scripts": ["polardenoise = polardenoise.engine.cli:main"],
    },
)
