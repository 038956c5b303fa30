"""Whole small scripts, run as SageMaker would run them."""

from __future__ import annotations

import json

TELL = """
import json, os, sys
print("RESULT " + json.dumps({"argv": sys.argv, "env": dict(os.environ), "cwd": os.getcwd(),
                              "path": sys.path[:2]}))
"""


def test_a_script_finds_its_place(platform, channel):
    platform.put("data/train/a/1.txt", "one")
    spec = platform.spec(
        {"train.py": TELL},
        hyperparameters={"batch-size": "32", "lr": '"0.1"', "name": '"a b"'},
        channels=(channel("training", "data/train"),),
    )
    ended = platform.run(spec)
    assert ended.codes == {"algo-1": 0}, ended.log
    said = ended.said()
    assert said["argv"] == ["train.py", "--batch-size", "32", "--lr", "0.1", "--name", "a b"]
    ml = said["env"]["SM_MODEL_DIR"].removesuffix("/model")
    assert said["cwd"] == f"{ml}/code" == said["path"][0]
    assert said["env"]["SM_CHANNEL_TRAINING"] == f"{ml}/input/data/training"
    assert json.loads(said["env"]["SM_HPS"]) == {"batch-size": 32, "lr": "0.1", "name": "a b"}
    assert said["env"]["SM_HP_BATCH-SIZE"] == "32"
    for line in ("Training Env:", "Invoking script with the following command:", "Reporting training SUCCESS"):
        assert line in ended.log
