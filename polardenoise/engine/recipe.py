"""What a training draws its images from and how long it learns: one frozen, JSON-able description."""

import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from polardenoise.engine.errors import InputError


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
    shift_share, largest_shift : float
        Share of sets whose images are off centre, and by how many pixels at most in x and in y.
    noise_only_share : float
        Share of images without a particle, and of sets without any: their target is zero.
    learning_rate, warmup_steps, weight_decay, gradient_norm : float
        AdamW with a linear warm-up, a cosine decay to zero over the length, and clipped gradients.
    precision : str
        "bfloat16" (mixed precision) or "float32".
    validation_sets : int
        Sets of 32 one-view images at SNR 0.05 without CTF that the history's relative MSE is measured on.
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
    shift_share: float = 0.35
    largest_shift: float = 2.0
    noise_only_share: float = 0.03
    learning_rate: float = 8e-4
    warmup_steps: int = 300
    weight_decay: float = 0.01
    gradient_norm: float = 1.0
    precision: str = "bfloat16"
    validation_sets: int = 6

    def as_dict(self) -> dict[str, Any]:
        """Give the recipe as plain data for JSON."""
        return asdict(self)


#: Small enough for a test to train in seconds on 32 px images.
TINY = Recipe(
    sizes={
        "box": 32,
        "rings": 16,
        "angles": 64,
        "hidden": 32,
        "query": 16,
        "value": 32,
        "before": 2,
        "after": 2,
    },
    images_per_step=32,
    images_per_set=(8, 16),
    warmup_steps=10,
    precision="float32",
    validation_sets=2,
)

#: For the DnCNN. Its batch norm must see many molecules, SNRs and CTFs at once: with whole sets in a batch it learns to
#: read the conditions off the batch, and fails with the running averages of inference.
DNCNN = replace(Recipe(), images_per_set=(2,))
TINY_DNCNN = replace(TINY, sizes={"box": 32, "depth": 5, "channels": 16}, images_per_set=(2,))
TINY_UNET = replace(TINY, sizes={"box": 32, "channels": 8, "levels": 3})


def choose_recipe(preset: str, architecture: str, file: Path | None) -> Recipe:
    """Take a preset and lay a recipe file over it.

    Parameters
    ----------
    preset : str
        "tiny" or "base".
    architecture : str
        The network's name, on which the tiny sizes depend.
    file : Path or None
        A JSON object with fields of `Recipe`.

    Raises
    ------
    InputError
        If the file cannot be read or names a field that a recipe does not have.
    """
    recipes = {
        "tiny": {"dncnn": TINY_DNCNN, "unet": TINY_UNET},
        "base": {"dncnn": DNCNN},
    }
    recipe = recipes[preset].get(architecture, {"tiny": TINY, "base": Recipe()}[preset])
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
        value = tuple(value) if isinstance(value, list) else value
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
    shares = (recipe.ctf_share, recipe.shift_share, recipe.noise_only_share)
    ranges = {name: getattr(recipe, name) for name in ("snr", "fill", "blur")}
    for name, numbers in ranges.items():
        if not all(isinstance(number, (int, float)) for number in numbers):
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
        "ctf_share, shift_share, noise_only_share: 0 to 1": all(0 <= one <= 1 for one in shares),
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
    }
    for rule, kept in rules.items():
        if not kept:
            raise InputError(f"{source}: {rule}; mend the recipe")
