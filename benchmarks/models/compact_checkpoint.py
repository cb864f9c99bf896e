"""Compact checkpoints of the standing training: weights, card and curves, a few MB that are committed."""

import hashlib
import json
import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.common.timing import describe_device
from benchmarks.models.keep_checkpoint import drop_private_facts
from polardenoise.engine.networks.checkpoint import read_card
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.files import Outputs, make_folder, write_json
from polardenoise.engine.train.history import plot_history, read_history, write_history

#: How often, a second apart, a model is read that a training is just saving.
TRIES = 20


@dataclass(frozen=True)
class Lineage:
    """What a standing training has gone through.

    Attributes
    ----------
    stages : list of dict
        "name", "steps", "images", "minutes" and "processor" of each stage that has ended, in their order.
    under_way : dict or None
        The same of the stage in whose middle a checkpoint was kept.
    """

    stages: list[dict[str, Any]] = field(default_factory=list)
    under_way: dict[str, Any] | None = None

    @property
    def ended(self) -> list[str]:
        """Names of the stages that have ended."""
        return [stage["name"] for stage in self.stages]

    def count(self, what: str) -> float:
        """Sum "steps", "images" or "minutes" of what has been trained."""
        return sum(part[what] for part in (*self.stages, self.under_way) if part is not None)

    def add(self, part: dict[str, Any], ended: bool) -> "Lineage":
        """Add a stage; one that was under way before counts as a part of itself."""
        stages = list(self.stages)
        if self.under_way is not None:
            stages.append({**self.under_way, "name": f"part of {self.under_way['name']}"})
        return Lineage([*stages, part]) if ended else Lineage(stages, part)


def read_lineage(model: Path) -> Lineage:
    """Read what a model has gone through; nothing, where it is none or none of a standing training."""
    if not (model / "model.json").exists():
        return Lineage()
    return Lineage(**read_card(model).trained_on.get("standing", {}))


def copy_start(model: Path, start: Path) -> None:
    """Copy the model that a stage starts from: the checkpoint may be another before the stage has ended."""
    make_folder(start)
    for name in ("weights.safetensors", "history.csv", "model.json"):
        shutil.copy2(model / name, start)


def keep_stage(start: Path, training: Path, checkpoint: Path, stage: str, ended: bool) -> None:
    """Write the model of a stage, as it was saved last, as the compact checkpoint.

    Parameters
    ----------
    start : Path
        The model that the stage started from, from `copy_start`.
    training : Path
        Folder of the stage, which may be training just now.
    checkpoint : Path
        Receives weights.safetensors, model.json, history.csv of all stages together, and history.png.
    stage : str
        Its name.
    ended : bool
        Whether it has: if not, a training that goes on from this checkpoint alone begins the stage anew, with these
        weights.

    Raises
    ------
    InputError
        If the stage has saved no model yet.
    """
    weights, facts = read_model(training / "model")
    before = read_lineage(start)
    trained = facts["trained_on"]
    part = {"name": stage, **{key: trained[key] for key in ("steps", "images", "minutes")}}
    part["processor"] = describe_device(torch.device(trained["device"]))
    drop_private_facts(facts)
    trained["init"] = read_card(start).name
    trained["standing"] = asdict(before.add(part, ended))
    facts["name"] = checkpoint.name
    with Outputs() as outputs:
        outputs.lend(checkpoint / "weights.safetensors").write_bytes(weights)
        rows = join_histories(start / "history.csv", before, training / "history.csv")
        write_history(outputs.lend(checkpoint / "history.csv"), rows)
        write_json(outputs.lend(checkpoint / "model.json"), facts)
    plot_history(checkpoint / "history.csv", checkpoint / "history.png")


def read_model(folder: Path) -> tuple[bytes, dict[str, Any]]:
    """Read weights and card that belong together from a folder that a training may be writing."""
    for _ in range(TRIES):
        if not (folder / "model.json").exists():
            break
        facts = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        # Read once, and hashed as read: the file may be replaced at any moment.
        weights = (folder / "weights.safetensors").read_bytes()
        if hashlib.sha256(weights).hexdigest() == facts["weights_sha256"]:
            return weights, facts
        time.sleep(1.0)
    raise InputError(f"{folder}: holds no model yet; wait a minute")


def join_histories(earlier: Path, before: Lineage, current: Path) -> list[dict[str, str]]:
    """Append the rows of a stage to those of the stages before it, all of them counted from the first.

    The model that the first stage starts from has a history of its own, which is left out.
    """
    steps, images = int(before.count("steps")), int(before.count("images"))
    seconds = 60 * before.count("minutes")
    rows = read_history(earlier) if steps else []
    for row in read_history(current) if current.exists() else []:
        counted = {
            "step": str(int(row["step"]) + steps),
            "seconds": f"{float(row['seconds']) + seconds:.1f}",
            "images": str(int(row["images"]) + images),
        }
        rows.append({**row, **counted})
    return rows
