"""How scripts take their hyperparameters."""

from __future__ import annotations

from .case import Case

CASES = (
    Case(
        name="floats and integers sent as JSON",
        hyperparameters={"lr": '"0.01"', "epochs": "2", "batch_size": "16"},
        script="""
            import argparse
            parser = argparse.ArgumentParser()
            parser.add_argument("--lr", type=float, default=1.0)
            parser.add_argument("--epochs", type=int, default=1)
            parser.add_argument("--batch_size", type=int, default=1)
            args = parser.parse_args()
            print("GOT", args.lr, args.epochs, args.batch_size)
        """,
        logged=[r"GOT 0\.01 2 16", "Invoking script with the following command:"],
    ),
    Case(
        name="a tuned choice with the quotes left on",
        hyperparameters={"batch-size": '"\\"16\\""'},
        script="""
            import argparse
            parser = argparse.ArgumentParser()
            parser.add_argument("--batch-size", type=int)
            print("GOT", parser.parse_args().batch_size)
        """,
        logged=["GOT 16"],
    ),
    Case(
        name="hosts as type=list",
        hyperparameters={"lr": "0.1"},
        script="""
            import argparse, json, os
            parser = argparse.ArgumentParser()
            parser.add_argument("--lr", type=float)
            parser.add_argument("--hosts", type=list, default=json.loads(os.environ["SM_HOSTS"]))
            parser.add_argument("--current-host", type=str, default=os.environ["SM_CURRENT_HOST"])
            parser.add_argument("--num-gpus", type=int, default=os.environ["SM_NUM_GPUS"])
            args = parser.parse_args()
            print("GOT", args.hosts, args.current_host, args.num_gpus >= 0)
        """,
        logged=[r"GOT \['algo-1'\] algo-1 True"],
    ),
    Case(
        name="single letters, booleans, lists and texts with spaces",
        hyperparameters={"b": "true", "layers": "[1, 2]", "name": '"a b"', "note": '"it\'s"'},
        script="""
            import argparse
            parser = argparse.ArgumentParser()
            parser.add_argument("-b", type=str)
            parser.add_argument("--layers", type=str)
            parser.add_argument("--name", type=str)
            parser.add_argument("--note", type=str)
            args = parser.parse_args()
            print("GOT", args.b, args.layers, args.name, args.note)
        """,
        logged=[r"GOT True \[1, 2\] a b it's"],
    ),
    Case(
        name="str2bool of the profiler's utilities",
        hyperparameters={"gpu": '"False"'},
        script="""
            import argparse
            from smdebug.profiler.utils import str2bool
            parser = argparse.ArgumentParser()
            parser.add_argument("--gpu", type=str2bool, default=True)
            print("GOT", parser.parse_args().gpu)
        """,
        logged=["GOT False"],
    ),
    Case(
        name="unknown arguments are let through",
        hyperparameters={"lr": "0.5", "unknown": "1"},
        script="""
            import argparse
            parser = argparse.ArgumentParser()
            parser.add_argument("--lr", type=float)
            args, rest = parser.parse_known_args()
            print("GOT", args.lr, rest)
        """,
        logged=[r"GOT 0\.5 \['--unknown', '1'\]"],
    ),
    Case(
        name="hyperparameters from the environment",
        hyperparameters={"batch-size": "8", "names": '["a"]'},
        script="""
            import json, os
            print("GOT", os.environ["SM_HP_BATCH-SIZE"], json.loads(os.environ["SM_HPS"])["names"])
        """,
        logged=[r"GOT 8 \['a'\]"],
    ),
    Case(
        name="hyperparameters from the file",
        hyperparameters={"lr": "0.25"},
        script="""
            import json
            with open("/opt/ml/input/config/hyperparameters.json") as file:
                print("GOT", json.load(file)["lr"])
        """,
        logged=["GOT 0.25"],
    ),
    Case(
        name="a shell script as entry point",
        entry="train.sh",
        hyperparameters={"lr": "0.5"},
        script="""
            echo "GOT $@"
            python helper.py
        """,
        files={"helper.py": "import sys\nprint('HELPED', sys.version_info.major)\n"},
        logged=["GOT --lr 0.5", "HELPED 3"],
    ),
    Case(
        name="a module beside the script",
        script="""
            from helpers.data import answer
            print("GOT", answer())
        """,
        files={"helpers/__init__.py": "", "helpers/data.py": "def answer():\n    return 42\n"},
        logged=["GOT 42"],
    ),
    Case(
        name="requirements with what the machine has already",
        script="""
            import torch, colour_of_requirements
            print("GOT", torch.__version__, colour_of_requirements.NAME)
        """,
        files={
            "requirements.txt": "torch==1.8.0\nsmdebug\nsagemaker==2.1\n./local\n",
            "local/pyproject.toml": (
                "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n"
                "[project]\nname = 'colour'\nversion = '1'\n"
            ),
            "local/backend.py": """
                import pathlib, zipfile
                INFO = "colour-1.dist-info/"
                METADATA = "Metadata-Version: 2.1\\nName: colour\\nVersion: 1\\n"
                WHEEL = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
                def build_wheel(folder, config_settings=None, metadata_directory=None):
                    name = "colour-1-py3-none-any.whl"
                    with zipfile.ZipFile(pathlib.Path(folder) / name, "w") as wheel:
                        wheel.writestr("colour_of_requirements.py", "NAME = 'blue'")
                        wheel.writestr(INFO + "METADATA", METADATA)
                        wheel.writestr(INFO + "WHEEL", WHEEL)
                        wheel.writestr(INFO + "RECORD", "")
                    return name
            """,
        },
        logged=["GOT 2.* blue", "torch==1.8.0"],
    ),
)
