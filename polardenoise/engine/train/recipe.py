"""Training recipes: what images are drawn from and how the network learns, as one frozen description."""

import itertools
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from msgspec import Meta

from polardenoise.architectures import ARCHITECTURES
from polardenoise.engine.networks.model_limits import check_sizes
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.input_files import convert_data, read_json, shorten

# What a recipe's numbers may be: msgspec holds a file against these.
Share = Annotated[float, Meta(ge=0, le=1)]
Ratio = Annotated[float, Meta(ge=1e-6, le=1e6)]
Fill = Annotated[float, Meta(ge=0.01, le=1)]
Blur = Annotated[float, Meta(ge=0, le=1e5)]
Defocus = Annotated[float, Meta(ge=0, le=1e6)]
Frequency = Annotated[float, Meta(ge=0, le=100)]
Power = Annotated[float, Meta(ge=1e-6, le=1e6)]
Voltage = Annotated[float, Meta(ge=10, le=5000)]
Aberration = Annotated[float, Meta(ge=-20, le=50)]
ViewMode = Literal["one", "few", "cone", "random"]

#: `Recipe.floor_snr` where nothing else is said.
FLOOR_SNR = 0.03


@dataclass(frozen=True)
class Recipe:
    """The whole of a training apart from its sources and its length.

    Attributes
    ----------
    sizes : dict
        Sizes of the network where they differ from the architecture's defaults.
    images_per_step : int
        Images of one gradient step, divided into sets.
    images_per_set : tuple of int
        Set sizes K; each step draws one.
    view_modes : dict
        Shares of sets whose images show "one" view, a "few" views (2 to 8), a "cone" of views (half-angle up to 40
        degrees, some strays) or "random" views.
    snr : tuple of float
        Range of the signal-to-noise ratio, drawn log-uniformly (mean squared clean pixel over the whole box, CTF
        included, over noise variance).
    fill : tuple of float
        Range of the molecule's diameter over the box.
    blur : tuple of float
        Range of the B-factor added to that of the source, in Angstrom^2.
    ctf_share : float
        Share of sets with a CTF; the others have none.
    microscopes : tuple of tuple of float
        Voltage in kV and spherical aberration in mm of the microscopes that a set's CTFs are of, drawn evenly.
    amplitude_contrast : tuple of float
        Fractions of amplitude contrast, drawn evenly.
    defocus : tuple of float
        Range of a set's middle defocus, in Angstrom.
    phase_plate_share : float
        Share of sets with a phase plate, of those with a CTF.
    shift_share, largest_shift : float
        Share of sets whose images are off centre, and by how many pixels at most in x and in y.
    noise_only_share : float
        Share of images without a particle, and of sets without any: their target is zero.
    junk_share : float
        Share of images that show any molecule, at the set's SNR, instead of the set's own.
    coloured_share : float
        Share of sets whose noise has the spectrum of real images' corners, to a power between 0 and 1.5.
    whitened_share : float
        Share of the sets with coloured noise or ice whose noise is made white, as `denoise` does it for a network that
        learned from such sets.
    real_share : float
        Share of sets that show what the next four settings speak of; the others show none of it.
    neighbour_share : float
        Share of images into which another copy of the molecule reaches from the side; it is not in the target.
    contrast_spread : float
        Standard deviation of the logarithm of what each particle is multiplied by, in the target as well.
    slope : float
        Root mean square of sloping backgrounds in standard deviations of the noise; not in the target.
    ice : float
        The structure of the ice, seen through each image's CTF: its standard deviation over that of the noise is drawn
        for each set between 0 and this; not in the target.
    ice_spread : float
        Standard deviation of the logarithm of what the ice of each image is multiplied by.
    defocus_error : float
        Standard deviation of the error of the defocus that the network is told, in Angstrom.
    shrinking : float
        By how much at most each set's molecule is shrunken along three directions of its own; half of the sets then
        show its mirror image. 0: molecules are as they are.
    joined_share : float
        Share of sets that show two molecules grown together, see :mod:`.unlisted_molecules`.
    whitening_error : float
        By how much at most the power of noise at coarse frequencies is taken for more than it is, as a logarithm, where
        sets are made white. Corners of crowded boxes have several times as much of it as their middles.
    noise_spectrum : tuple of tuple of float
        Pairs of a frequency in 1/Angstrom, ascending from 0, and the power of coloured noise there, up to a factor.
        Empty: the measured spectrum that is shipped. `simulate.noise_spectrum` prints that of empty boxes.
    floor_snr : float
        SNR below which a set counts less and less in the loss.
    learning_rate, warmup_steps, weight_decay, gradient_norm : float
        AdamW with a linear warm-up, a cosine decay to zero over the length, and clipped gradients.
    averaging : float
        What the moving average of the weights, which is then validated and saved, keeps of itself at a step; 0: the
        weights themselves are.
    precision : str
        "bfloat16" (mixed precision, where the device multiplies in it) or "float32".
    validation_sets : int
        Sets of 32 one-view images at SNR 0.05 without CTF that the history's relative MSE is measured on.
    noise_images : int
        Images of pure noise, without and with CTFs each, that a joint network is measured on at the end.
    """

    sizes: dict[str, Any] = field(default_factory=dict)
    images_per_step: Annotated[int, Meta(ge=1, le=4096)] = 96
    images_per_set: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=4096)], ...], Meta(min_length=1)
    ] = (8, 16, 32, 32, 48, 96)
    view_modes: dict[ViewMode, Share] = field(
        default_factory=lambda: {"one": 0.25, "few": 0.12, "cone": 0.48, "random": 0.15}
    )
    snr: tuple[Ratio, Ratio] = (0.015, 0.3)
    fill: tuple[Fill, Fill] = (0.4, 0.9)
    blur: tuple[Blur, Blur] = (0.0, 200.0)
    ctf_share: Share = 0.5
    microscopes: Annotated[tuple[tuple[Voltage, Aberration], ...], Meta(min_length=1)] = (
        (300.0, 2.7),
        (200.0, 2.7),
        (300.0, 0.01),
        (200.0, 1.4),
    )
    amplitude_contrast: Annotated[tuple[Share, ...], Meta(min_length=1)] = (0.07, 0.1)
    defocus: tuple[Defocus, Defocus] = (6_000.0, 28_000.0)
    phase_plate_share: Share = 0.0
    shift_share: Share = 0.35
    largest_shift: Annotated[float, Meta(ge=0, le=64)] = 2.0
    noise_only_share: Share = 0.03
    junk_share: Share = 0.0
    coloured_share: Share = 0.0
    whitened_share: Share = 0.0
    real_share: Share = 1.0
    neighbour_share: Share = 0.0
    contrast_spread: Annotated[float, Meta(ge=0, le=2)] = 0.0
    slope: Annotated[float, Meta(ge=0, le=100)] = 0.0
    ice: Annotated[float, Meta(ge=0, le=100)] = 0.0
    ice_spread: Annotated[float, Meta(ge=0, le=2)] = 0.0
    defocus_error: Annotated[float, Meta(ge=0, le=1e5)] = 0.0
    shrinking: Annotated[float, Meta(ge=0, le=0.9)] = 0.0
    joined_share: Share = 0.0
    whitening_error: Annotated[float, Meta(ge=0, le=4)] = 0.0
    noise_spectrum: tuple[tuple[Frequency, Power], ...] = ()
    floor_snr: Ratio = FLOOR_SNR
    learning_rate: Annotated[float, Meta(gt=0, le=10)] = 8e-4
    warmup_steps: Annotated[int, Meta(ge=0, le=10**9)] = 300
    weight_decay: Annotated[float, Meta(ge=0, le=10)] = 0.01
    gradient_norm: Annotated[float, Meta(gt=0, le=1e6)] = 1.0
    averaging: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    validation_sets: Annotated[int, Meta(ge=1, le=200)] = 6
    noise_images: Annotated[int, Meta(ge=1, le=4096)] = 1024

    def as_dict(self) -> dict[str, Any]:
        """Give the recipe as plain data for JSON."""
        return asdict(self)


#: Small enough for a test to train in seconds on 32 px images; sizes are those of the architecture's table entry.
TINY = Recipe(
    images_per_step=32,
    images_per_set=(8, 16),
    warmup_steps=10,
    precision="float32",
    validation_sets=2,
    noise_images=64,
)

PRESETS = {"base": Recipe(), "tiny": TINY}


def choose_preset(preset: str, architecture: str) -> Recipe:
    """Take a preset, changed by what the architecture needs.

    Parameters
    ----------
    preset : str
        "tiny" or "base".
    architecture : str
        A key of `ARCHITECTURES`.
    """
    entry = ARCHITECTURES[architecture]
    sizes = entry.tiny if preset == "tiny" else {}
    return replace(PRESETS[preset], sizes=dict(sizes), **entry.recipe)


def choose_recipe(preset: str, architecture: str, file: Path | None) -> Recipe:
    """Take a preset and lay a recipe file over it, as `choose_preset` and `lay_file_over`."""
    return lay_file_over(choose_preset(preset, architecture), architecture, file)


def lay_file_over(recipe: Recipe, architecture: str, file: Path | None) -> Recipe:
    """Change a recipe as a recipe file says.

    Parameters
    ----------
    recipe : Recipe
        What the file leaves out.
    architecture : str
        A key of `ARCHITECTURES`, whose sizes the file may name.
    file : Path or None
        A JSON object with fields of `Recipe`.

    Raises
    ------
    InputError
        If the file cannot be read or names a field that a recipe does not have.
    """
    if file is None:
        return recipe
    changes: object = read_json(file, object, "give a recipe, a JSON object of settings")
    recipe = recipe_from_dict(changes, recipe, str(file))
    check_sizes(architecture, recipe.sizes, str(file))
    return recipe


def recipe_from_dict(changes: Any, base: Recipe, source: str) -> Recipe:
    """Lay plain data over a recipe; `source` is the file that an error names.

    Raises
    ------
    InputError
        If a field is unknown or has the wrong type.
    """
    if not isinstance(changes, dict):
        raise InputError(
            f"{source}: a recipe is a JSON object of settings, not a {type(changes).__name__}"
        )
    known = [entry.name for entry in fields(Recipe)]
    for name in changes:
        if name not in known:
            raise InputError(
                f"{source}: '{shorten(name)}' is no setting of a recipe; known are {', '.join(known)}"
            )
    # Lists become tuples and every number is held against its range.
    laid = convert_data({**base.as_dict(), **changes}, Recipe, source, "mend the recipe")
    check_recipe(laid, source)
    return laid


def check_recipe(recipe: Recipe, source: str) -> None:
    """Refuse values that do not go together; `source` is the file that an error names.

    Raises
    ------
    InputError
        Names the setting and what it may be.
    """
    for name in ("snr", "fill", "blur", "defocus"):
        least, most = getattr(recipe, name)
        if least > most:
            raise InputError(f"{source}: {name}: two numbers, the smaller first; mend the recipe")
    frequencies = [frequency for frequency, _ in recipe.noise_spectrum]
    if frequencies and (
        frequencies[0] != 0 or any(a >= b for a, b in itertools.pairwise(frequencies))
    ):
        raise InputError(
            f"{source}: noise_spectrum: pairs of frequency and power, frequencies ascending from 0; mend the recipe"
        )
    if not sum(recipe.view_modes.values()) > 0:
        raise InputError(
            f"{source}: view_modes: shares of {', '.join(get_args(ViewMode))}, not all 0; mend the recipe"
        )
