"""Answers the endpoint's requests: a photo's bytes, or JSON with the URL of one."""

from __future__ import annotations

import io
import json
from pathlib import Path
from urllib.parse import urlparse

import requests
import torch
from PIL import Image
from torch import nn
from torchvision import models, transforms

# As in `network.py`: a photo has to be prepared here as it was in training.
PREPARE = transforms.Compose(
    [
        transforms.Resize(256),
        transforms.CenterCrop(224),
        transforms.ToTensor(),
        transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
    ]
)
PHOTOS = ("image/jpeg", "image/png", "image/webp")
SECONDS = 20
TOP = 5


class Breeds(nn.Module):
    """The trained network and the names of its classes."""

    def __init__(self, classes: list[str]) -> None:
        super().__init__()
        self.classes = classes
        self.network = models.resnet50()
        self.network.fc = nn.Linear(self.network.fc.in_features, len(classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Probabilities `(batch, classes)` of prepared photos `(batch, 3, 224, 224)`."""
        return self.network(images).softmax(dim=1)


def model_fn(model_dir: str) -> Breeds:
    """Load what `network.save` wrote."""
    folder = Path(model_dir)
    model = Breeds(json.loads((folder / "classes.json").read_text()))
    model.network.load_state_dict(torch.load(folder / "model.pth", map_location="cpu"))
    return model.eval()


def input_fn(body: bytes, content_type: str) -> Image.Image:
    """The photo that a request holds or names."""
    if content_type in PHOTOS:
        return Image.open(io.BytesIO(body)).convert("RGB")
    if content_type == "application/json":
        url = json.loads(body)["url"]
        if urlparse(url).scheme not in ("http", "https"):
            raise ValueError(f"{url} is no http or https address")
        reply = requests.get(url, timeout=SECONDS)
        reply.raise_for_status()
        return Image.open(io.BytesIO(reply.content)).convert("RGB")
    raise ValueError(f"a request is {', '.join(PHOTOS)} or application/json, not {content_type}")


@torch.no_grad()
def predict_fn(photo: Image.Image, model: Breeds) -> list[dict[str, object]]:
    """The likeliest breeds of a photo, with their probabilities."""
    probabilities = model(PREPARE(photo).unsqueeze(0))[0]
    likeliest = probabilities.argsort(descending=True)[:TOP].tolist()
    return [
        {"breed": model.classes[index], "probability": round(probabilities[index].item(), 4)}
        for index in likeliest
    ]
