"""Trains the toy classifier, alone or as one of a team that `torchrun` started.

`python team_training.py FOLDER`: rank 0 writes `weights.safetensors` and `outcome.json`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from toy_classifier import toy_batches, toy_classifier, toy_recipe

from houndsight.events import Event
from houndsight.training.trainer import Trainer


def main() -> None:
    """Train two epochs and write what came out."""
    torch.set_num_threads(1)
    folder, heard = Path(sys.argv[1]), list[Event]()
    # 44 photos in batches of 8 leave ranks with 4 and 4, or 4 and 3.
    recipe = toy_recipe(epochs=2, accumulation=2, ema_decay=0.9)
    classifier = toy_classifier(dropout=0.0)
    trainer = Trainer(classifier, recipe, folder=folder, listeners=[heard.append])
    result = trainer.fit(*toy_batches(recipe, train=45, valid=23))
    rank = int(os.environ.get("RANK", "0"))
    outcome = {"metrics": result.metrics, "events": len(heard), "reason": result.reason}
    (folder / f"outcome-{rank}.json").write_text(json.dumps(outcome))
    if rank == 0:
        save_file(classifier.state_dict(), folder / "weights.safetensors")


if __name__ == "__main__":
    main()
