"""Real networks behind endpoints: a state_dict asked with a photo, and what Houndsight saved."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from houndsight.jobs.endpoints.invoking import InvocationError
from tests.jobs.endpoints.conftest import Endpoints
from tests.serving.tiny_model import make_artifact, random_images

pytestmark = pytest.mark.slow
SCRIPT = """
import io, json, logging, os, sys
import torch, torch.nn as nn
import torchvision.models as models
import torchvision.transforms as transforms
from PIL import Image

logger = logging.getLogger(__name__)
logger.setLevel(logging.DEBUG)
logger.addHandler(logging.StreamHandler(sys.stdout))

def model_fn(model_dir):
    model = models.resnet18()
    model.fc = nn.Linear(512, 3)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with open(os.path.join(model_dir, "model.pth"), "rb") as f:
        model.load_state_dict(torch.load(f, map_location=device))
    logger.info("loaded")
    return model.eval()

def input_fn(request_body, content_type="image/jpeg"):
    return Image.open(io.BytesIO(request_body)).convert("RGB")

def predict_fn(image, model):
    prepare = transforms.Compose([transforms.Resize((64, 64)), transforms.ToTensor()])
    with torch.no_grad():
        return model(prepare(image)[None])
"""


def photo() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (80, 60), (30, 160, 90)).save(buffer, "JPEG")
    return buffer.getvalue()


def weights(outputs: int) -> bytes:
    import torchvision

    network = torchvision.models.resnet18()
    network.fc = torch.nn.Linear(512, outputs)
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    return buffer.getvalue()


def test_a_photo_for_a_resnet(endpoints: Endpoints) -> None:
    code = {"code/inference.py": SCRIPT}
    endpoints.create("right", endpoints.model({"model.pth": weights(3), **code}))
    endpoints.create("wrong", endpoints.model({"model.pth": weights(133), **code}))
    assert endpoints.settled("right").status == "InService"
    answer = endpoints.invoke("right", photo(), content_type="image/jpeg")
    assert np.array(json.loads(answer.body)).shape == (1, 3)
    endpoints.logged("right", "loaded")
    wrong = endpoints.settled("wrong")
    assert wrong.status == "Failed"
    assert (
        "fc.weight is (133, 512) in the file and (3, 512) in the network"
        in (wrong.detail["failure_reason"])
    )


def test_what_houndsight_saved(endpoints: Endpoints, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    artifact = make_artifact()
    artifact.save(folder, graph="openvino", check_images=random_images(4))
    files: dict[str, bytes | str] = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    endpoints.in_service("ours", endpoints.model(files))
    reply = endpoints.invoke("ours", photo(), content_type="image/jpeg")
    [prediction] = json.loads(reply.body)["predictions"]
    expected = artifact.predict(photo()).top(1)[0][0]
    assert prediction["class"] == expected[0]
    assert prediction["probability"] == pytest.approx(expected[1], abs=1e-3)
    with pytest.raises(InvocationError, match=r"client error \(415\)") as refused:
        endpoints.invoke("ours", b"a,b", content_type="text/csv")
    assert refused.value.fields["OriginalStatusCode"] == 415
    endpoints.update("ours", endpoints.model(files))
    assert endpoints.settled("ours").status == "InService"
