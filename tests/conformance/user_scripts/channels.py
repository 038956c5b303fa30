"""Where scripts find their photos, and where they leave what they made."""

from __future__ import annotations

from .case import Case

COUNT = """
    import os
    def count(folder):
        return sum(len(files) for _, _, files in os.walk(folder))
"""

CASES = (
    Case(
        name="SM_CHANNEL_TRAINING",
        script=COUNT
        + """
    print("GOT", count(os.environ["SM_CHANNEL_TRAINING"]), os.environ["SM_CHANNELS"])
        """,
        logged=[r'GOT 6 \["training"\]'],
    ),
    Case(
        name="SM_CHANNEL_TRAIN, TEST and VALIDATION",
        channels=("train", "test", "validation"),
        script=COUNT
        + """
    print("GOT", [count(os.environ["SM_CHANNEL_" + n]) for n in ("TRAIN", "TEST", "VALIDATION")])
        """,
        logged=[r"GOT \[6, 6, 6\]"],
    ),
    Case(
        name="a path that is hard-coded",
        script="""
            from torchvision.datasets import ImageFolder
            found = ImageFolder("/opt/ml/input/data/training/train")
            print("GOT", len(found), found.classes)
            open("/opt/ml/model/model.pth", "w").write("weights")
        """,
        logged=[r"GOT 2 \['001.Cat', '002.Dog'\]"],
        archive=["model.pth"],
    ),
    Case(
        name="FastFile",
        input_mode="FastFile",
        script="""
            import os
            from PIL import Image
            folder = os.environ["SM_CHANNEL_TRAINING"] + "/train/001.Cat"
            print("GOT", [Image.open(os.path.join(folder, n)).size for n in os.listdir(folder)])
        """,
        logged=[r"GOT \[\(8, 8\)\]"],
    ),
    Case(
        name="a script that writes into its channel",
        script="""
            import os
            folder = os.environ["SM_CHANNEL_TRAINING"] + "/train/001.Cat"
            for name in os.listdir(folder):
                with open(os.path.join(folder, name), "r+b") as file:
                    file.write(b"broken")
            os.mkdir(os.environ["SM_CHANNEL_TRAINING"] + "/new")
            print("WROTE")
        """,
        logged=["WROTE"],
    ),
    Case(
        name="model, output and checkpoints",
        checkpoints=True,
        script="""
            import os, torch
            torch.save({"w": torch.ones(2)}, os.path.join(os.environ["SM_MODEL_DIR"], "model.pth"))
            os.makedirs(os.environ["SM_MODEL_DIR"] + "/code", exist_ok=True)
            open(os.environ["SM_MODEL_DIR"] + "/code/inference.py", "w").write("# mine")
            open(os.path.join(os.environ["SM_OUTPUT_DATA_DIR"], "curve.csv"), "w").write("1,2")
            os.makedirs("/opt/ml/checkpoints", exist_ok=True)
            open("/opt/ml/checkpoints/last.pt", "w").write("3")
        """,
        archive=["model.pth", "code/inference.py"],
        output=["curve.csv"],
    ),
    Case(
        name="two hosts that find each other",
        hosts=2,
        script="""
            import os, json, socket
            import torch, torch.distributed as dist
            hosts, me = json.loads(os.environ["SM_HOSTS"]), os.environ["SM_CURRENT_HOST"]
            os.environ.setdefault("MASTER_ADDR", hosts[0])
            os.environ.setdefault("MASTER_PORT", "7777")
            dist.init_process_group("gloo", rank=hosts.index(me), world_size=len(hosts))
            value = torch.ones(1) * (hosts.index(me) + 1)
            dist.all_reduce(value)
            print("GOT", me, value.item(), len({socket.gethostbyname(h) for h in hosts}) > 0)
        """,
        logged=[r"GOT algo-1 3\.0 True", r"GOT algo-2 3\.0 True"],
    ),
)
