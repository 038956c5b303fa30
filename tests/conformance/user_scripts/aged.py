"""Scripts of 2019 to 2021 on the libraries of today."""

from __future__ import annotations

from .case import Case

CASES = (
    Case(
        name="a pretrained network, asked for the old way",
        weights=True,
        script="""
            import os, torch, torchvision.models as models
            model = models.resnet18(pretrained=True)
            for parameter in model.parameters():
                parameter.requires_grad = False
            model.fc = torch.nn.Linear(model.fc.in_features, 133)
            torch.save(model.state_dict(), os.path.join(os.environ["SM_MODEL_DIR"], "model.pth"))
            print("GOT", float(model.conv1.weight.detach()[0, 0, 0, 0]))
        """,
        logged=[r"GOT 0\.5"],
        archive=["model.pth"],
    ),
    Case(
        name="a whole model saved and loaded",
        script="""
            import os, torch
            path = os.path.join(os.environ["SM_MODEL_DIR"], "model.pth")
            torch.save(torch.nn.Linear(2, 3), path)
            print("GOT", torch.load(path).weight.shape)
        """,
        logged=[r"GOT torch.Size\(\[3, 2\]\)"],
        archive=["model.pth"],
    ),
    Case(
        name="names that Pillow, numpy and torchvision have removed",
        script="""
            import numpy as np
            from PIL import Image
            from torchvision import transforms
            photo = Image.new("RGB", (20, 10)).resize((8, 8), Image.ANTIALIAS)
            print("GOT", np.float(1.5), np.int(2), np.bool(1), transforms.Scale(4)(photo).size)
        """,
        logged=[r"GOT 1\.5 2 True \(4, 4\)"],
    ),
    Case(
        name="a scheduler that talks",
        script="""
            import torch
            from torch.optim.lr_scheduler import ReduceLROnPlateau
            optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
            scheduler = ReduceLROnPlateau(optimizer, patience=0, verbose=True)
            for loss in (1.0, 2.0, 3.0):
                scheduler.step(loss)
            print("GOT", optimizer.param_groups[0]["lr"] < 0.1)
        """,
        logged=["GOT True"],
    ),
    Case(
        name="the addresses of torchvision's weights",
        script="""
            from torchvision.models.resnet import model_urls
            print("GOT", model_urls["resnet50"].startswith("https://"))
        """,
        logged=["GOT True"],
    ),
    Case(
        name="a truncated photo, let through",
        script="""
            import io
            from PIL import Image, ImageFile
            ImageFile.LOAD_TRUNCATED_IMAGES = True
            whole = io.BytesIO()
            Image.new("RGB", (64, 64), "red").save(whole, "JPEG")
            print("GOT", Image.open(io.BytesIO(whole.getvalue()[:-20])).convert("RGB").size)
        """,
        logged=[r"GOT \(64, 64\)"],
    ),
)
