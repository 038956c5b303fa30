"""Serves a saved tiny model on a free port: `python serve_tiny.py MODEL SECONDS_A_BATCH`."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from houndsight.models.artifact import ModelArtifact
from houndsight.serving.handler import ImageClassifier
from houndsight.serving.server import serve
from houndsight.serving.settings import ServingSettings


class Slow(ImageClassifier):
    def predict(self, batch: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        print("computing", flush=True)
        time.sleep(float(sys.argv[2]))
        return super().predict(batch)


settings = ServingSettings(port=0, compute_threads=1, decode_threads=1)
handler = Slow(ModelArtifact.load(Path(sys.argv[1])), settings)
serve(handler, settings, ready=lambda address: print(address, flush=True))
print("done", flush=True)
