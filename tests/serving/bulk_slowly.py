"""Predicts a folder and says each batch: `python bulk_slowly.py MODEL FOLDER OUT SECONDS`."""

import sys
import time
from pathlib import Path

import numpy as np

from houndsight.models.artifact import ModelArtifact
from houndsight.serving import bulk
from houndsight.serving.backends import InferenceBackend, load_backend


class Saying:
    """A backend that says how many photos it was given, then takes its time."""

    def __init__(self, backend: InferenceBackend) -> None:
        self.backend = backend

    def predict(self, batch: np.ndarray) -> np.ndarray:
        print(len(batch), flush=True)
        time.sleep(float(sys.argv[4]))
        return self.backend.predict(batch)


bulk.load_backend = lambda *args: Saying(load_backend(*args))  # type: ignore[attr-defined]
model, folder, out = map(Path, sys.argv[1:4])
found = bulk.predict_folder(ModelArtifact.load(model), folder, out, batch_size=4, workers=0)
print("finished", found.photos, found.errors, found.reused, flush=True)
