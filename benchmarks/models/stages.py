"""The stages of the standing training: a list of recipes and lengths, and which of them comes next."""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.input_files import read_json

STAGES = Path(__file__).with_name("standing.json")


class Stage(msgspec.Struct, forbid_unknown_fields=True):
    """A part of a training with a learning rate that decays to zero over its own steps.

    Attributes
    ----------
    name : str
        Of its folder.
    steps : int
        Gradient steps.
    recipe : dict
        Settings in which it differs from the list's recipe.
    """

    name: Annotated[str, Meta(pattern="^[a-z0-9-]+$")]
    steps: Annotated[int, Meta(ge=1, le=10**9)]
    recipe: dict[str, Any] = {}


class StandingModel(msgspec.Struct, forbid_unknown_fields=True):
    """A network that goes through the stages.

    Attributes
    ----------
    start : str
        The model that it starts from where no checkpoint of it has been kept.
    recipe : dict
        Settings of its own, in every stage.
    """

    start: str
    recipe: dict[str, Any] = {}


class StageList(msgspec.Struct, forbid_unknown_fields=True):
    """What is trained on, for how long, and in which order.

    Attributes
    ----------
    recipe : dict
        Settings of every stage.
    models : dict
        Networks by their names.
    stages : list of Stage
        In their order. A stage that has begun is left as it is; new ones are added behind it.
    """

    recipe: dict[str, Any]
    models: dict[str, StandingModel]
    stages: Annotated[list[Stage], Meta(min_length=1)]


def read_stages(path: Path = STAGES) -> StageList:
    """Read a list of stages.

    Raises
    ------
    InputError
        If it cannot be read, or two stages have one name.
    """
    found = read_json(path, StageList, "give recipe, models and stages")
    names = [stage.name for stage in found.stages]
    if len(set(names)) < len(names):
        raise InputError(f"{path}: stages: two have one name; rename one of them")
    return found


def choose_stage(stages: list[Stage], ended: Collection[str]) -> Stage | None:
    """Choose the first stage whose name is not among those that have ended; None if all have."""
    return next((stage for stage in stages if stage.name not in ended), None)


def lay_recipe(
    found: StageList,
    model: StandingModel,
    stage: Stage,
    sizes: dict[str, Any],
    images_per_step: int | None = None,
) -> dict[str, Any]:
    """Lay the settings of stage and model over those of the list; the model's count most, but for `images_per_step`.

    All sizes are stated, those of the model that the stage starts from where nothing else is said: a state then goes on
    without that model.
    """
    laid = {**found.recipe, **stage.recipe, **model.recipe}
    if images_per_step is not None:
        laid["images_per_step"] = images_per_step
    return laid | {"sizes": sizes | laid.get("sizes", {})}
