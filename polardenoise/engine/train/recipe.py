"""Training recipes: what images are drawn from and how the network learns, as one frozen description."""

import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from polardenoise.architectures import ARCHITECTURES
from polardenoise.engine.runtime.errors import InputError


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
    learning_rate, warmup_steps, weight_decay, gradient_norm : float
        AdamW with a linear warm-up, a cosine decay to zero over the length, and clipped gradients.
    precision : str
        "bfloat16" (mixed precision, where the device multiplies in it) or "float32".
    validation_sets : int
        Sets of 32 one-view images at SNR 0.05 without CTF that the history's relative MSE is measured on.
    noise_images : int
        Images of pure noise, without and with CTFs each, that a joint network is measured on at the end.
    """

    sizes: dict[str, Any] = field(default_factory=dict)
    images_per_step: int = 96
    images_per_set: tuple[int, ...] = (8, 16, 32, 32, 48, 96)
    view_modes: dict[str, float] = field(
        default_factory=lambda: {"one": 0.25, "few": 0.12, "cone": 0.48, "random": 0.15}
    )
    snr: tuple[float, float] = (0.015, 0.3)
    fill: tuple[float, float] = (0.4, 0.9)
    blur: tuple[float, float] = (0.0, 200.0)
    ctf_share: float = 0.5
    microscopes: tuple[tuple[float, float], ...] = (
        (300.0, 2.7),
        (200.0, 2.7),
        (300.0, 0.01),
        (200.0, 1.4),
    )
    amplitude_contrast: tuple[float, ...] = (0.07, 0.1)
    defocus: tuple[float, float] = (6_000.0, 28_000.0)
    phase_plate_share: float = 0.0
    shift_share: float = 0.35
    largest_shift: float = 2.0
    noise_only_share: float = 0.03
    junk_share: float = 0.0
    coloured_share: float = 0.0
    learning_rate: float = 8e-4
    warmup_steps: int = 300
    weight_decay: float = 0.01
    gradient_norm: float = 1.0
    precision: str = "bfloat16"
    validation_sets: int = 6
    noise_images: int = 1024

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
    return lay_file_over(choose_preset(preset, architecture), file)


def lay_file_over(recipe: Recipe, file: Path | None) -> Recipe:
    """Change a recipe as a recipe file says.

    Parameters
    ----------
    recipe : Recipe
        What the file leaves out.
    file : Path or None
        A JSON object with fields of `Recipe`.

    Raises
    ------
    InputError
        If the file cannot be read or names a field that a recipe does not have.
    """
    if file is None:
        return recipe
    try:
        changes = json.loads(file.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{file}: cannot be read as a recipe ({error}); give a JSON file"
        ) from error
    except json.JSONDecodeError as error:
        raise InputError(
            f"{file}: line {error.lineno} is not JSON ({error.msg}); mend it"
        ) from error
    return recipe_from_dict(changes, recipe, str(file))


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
    known = {entry.name: getattr(base, entry.name) for entry in fields(Recipe)}
    clean: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in known:
            raise InputError(
                f"{source}: '{name}' is no setting of a recipe; known are {', '.join(known)}"
            )
        wanted = known[name]
        value = freeze(value)
        number = isinstance(wanted, (int, float)) and isinstance(value, (int, float))
        if not number and type(value) is not type(wanted):
            raise InputError(
                f"{source}: '{name}' should look like {json.dumps(wanted)}, not {value!r}"
            )
        clean[name] = value
    recipe = replace(base, **clean)
    check_recipe(recipe, source)
    return recipe


def check_recipe(recipe: Recipe, source: str) -> None:
    """Refuse values that no training can use; `source` is the file that an error names.

    Raises
    ------
    InputError
        Names the setting and what it may be.
    """
    known_modes = ("one", "few", "cone", "random")
    shares = {name: getattr(recipe, name) for name in known_shares()}
    ranges = {name: getattr(recipe, name) for name in ("snr", "fill", "blur", "defocus")}
    for name, numbers in ranges.items():
        if not are_numbers(numbers):
            raise InputError(f"{source}: {name}: two numbers, the smaller first; mend the recipe")
    rules = {
        "images_per_step: at least 1": recipe.images_per_step >= 1,
        "images_per_set: one or more whole numbers of at least 1": bool(recipe.images_per_set)
        and all(isinstance(images, int) and images >= 1 for images in recipe.images_per_set),
        f"view_modes: shares of {', '.join(known_modes)}": set(recipe.view_modes)
        <= set(known_modes)
        and all(share >= 0 for share in recipe.view_modes.values())
        and sum(recipe.view_modes.values()) > 0,
        **{
            f"{name}: two numbers, the smaller first": len(pair) == 2 and 0 <= pair[0] <= pair[1]
            for name, pair in ranges.items()
        },
        "snr and fill: more than 0, fill at most 1": min(recipe.snr, default=0) > 0
        and min(recipe.fill, default=0) > 0
        and max(recipe.fill) <= 1,
        **{f"{name}: 0 to 1": 0 <= share <= 1 for name, share in shares.items()},
        "microscopes: pairs of a voltage in kV and a spherical aberration in mm": bool(
            recipe.microscopes
        )
        and all(
            isinstance(pair, tuple) and len(pair) == 2 and are_numbers(pair) and pair[0] > 0
            for pair in recipe.microscopes
        ),
        "amplitude_contrast: one or more fractions of 0 to 1": bool(recipe.amplitude_contrast)
        and are_numbers(recipe.amplitude_contrast)
        and all(0 <= one <= 1 for one in recipe.amplitude_contrast),
        "learning_rate and gradient_norm: more than 0": min(
            recipe.learning_rate, recipe.gradient_norm
        )
        > 0,
        "largest_shift, weight_decay, warmup_steps: not negative": min(
            recipe.largest_shift, recipe.weight_decay, recipe.warmup_steps
        )
        >= 0,
        "precision: bfloat16 or float32": recipe.precision in ("bfloat16", "float32"),
        "validation_sets: at least 1": recipe.validation_sets >= 1,
        "noise_images: at least 1": recipe.noise_images >= 1,
    }
    for rule, kept in rules.items():
        if not kept:
            raise InputError(f"{source}: {rule}; mend the recipe")


def known_shares() -> list[str]:
    """Name the settings that are shares, 0 to 1."""
    return [entry.name for entry in fields(Recipe) if entry.name.endswith("_share")]


def are_numbers(values: tuple[Any, ...]) -> bool:
    """Tell whether all values are numbers."""
    return all(isinstance(value, (int, float)) for value in values)


def freeze(value: Any) -> Any:
    """Turn JSON's lists, also those in lists, into tuples."""
    return tuple(freeze(one) for one in value) if isinstance(value, list) else value
