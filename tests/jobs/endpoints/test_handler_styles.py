"""Inference scripts in the manner of public ones, each with a request and what comes of it."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from houndsight.jobs.endpoints.worker.causes import trouble_of
from houndsight.jobs.endpoints.worker.handlers import Answer, Script

Load = Callable[..., Script]


class Doubler(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


def saved(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def scripted() -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch calls TorchScript deprecated
        torch.jit.save(torch.jit.trace(Doubler(), torch.ones(2)), buffer)
    return buffer.getvalue()


def photo(kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 10), (200, 30, 30)).save(buffer, kind)
    return buffer.getvalue()


def npy(value: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(value))
    return buffer.getvalue()


def linear(inputs: int = 3, outputs: int = 2) -> bytes:
    torch.manual_seed(0)
    return saved(torch.nn.Sequential(torch.nn.Linear(inputs, outputs)).state_dict())


NETWORK = """
import io, json, os
import torch
from PIL import Image

def net(outputs=2):
    return torch.nn.Sequential(torch.nn.Linear(3, outputs))

def model_fn(model_dir):
    model = net()
    with open(os.path.join(model_dir, "model.pth"), "rb") as f:
        model.load_state_dict(torch.load(f, map_location="cpu"))
    return model.eval()
"""
PHOTO_INPUT = """
def input_fn(request_body, content_type='image/jpeg'):
    if content_type == 'image/jpeg':
        assert isinstance(request_body, bytearray), type(request_body)
        image = Image.open(io.BytesIO(request_body))
        return torch.tensor(image.resize((1, 1)).getpixel((0, 0))).float()[None] / 255
    raise Exception('Requested unsupported ContentType in content_type: {}'.format(content_type))
"""
JPEG, JSON, CSV, NPY = "image/jpeg", "application/json", "text/csv", "application/x-npy"


@dataclass(frozen=True)
class Style:
    """Files of the archive, a request, and the answer: text in it, or what a failure says."""

    name: str
    files: Mapping[str, bytes | str]
    body: bytes = b"[1, 2]"
    content_type: str = JSON
    accept: str = ""
    answers: str = ""
    answer_type: str = JSON
    fails: str = ""
    """In the script's own last line."""
    advice: str = ""
    stage: str = ""
    at_load: bool = False
    program: str = "inference.py"
    extra: Mapping[str, str] = field(default_factory=dict)


def code(text: str) -> dict[str, bytes | str]:
    return {"code/inference.py": text}


WORKS = [
    Style("TorchScript alone, JSON", {"model.pt": scripted()}, answers="[2.0, 4.0]"),
    Style("TorchScript named otherwise", {"net.pth": scripted()}, answers="[2.0, 4.0]"),
    Style(
        "TorchScript, CSV in and out",
        {"model.pt": scripted()},
        body=b"1,2\n3,4",
        content_type=CSV,
        accept=CSV,
        answers="2.0,4.0\n6.0,8.0",
        answer_type=CSV,
    ),
    Style(
        "TorchScript, NPY in",
        {"model.pt": scripted()},
        body=npy(np.float32([1, 2])),
        content_type=NPY,
        answers="[2.0, 4.0]",
    ),
    Style(
        "several types accepted",
        {"m.pt": scripted()},
        accept="image/png, text/csv",
        answers="2.0\n4.0",
        answer_type=CSV,
    ),
    Style("accept anything", {"model.pt": scripted()}, accept="*/*", answers="[2.0, 4.0]"),
    Style(
        "state_dict, image/jpeg as bytearray",
        {"model.pth": linear(), **code(NETWORK + PHOTO_INPUT)},
        body=photo(),
        content_type=JPEG,
        answers="[[",
    ),
    Style(
        "JSON as str",
        {
            "model.pth": linear(),
            **code(
                NETWORK + "def input_fn(body, content_type):\n"
                "    assert isinstance(body, str)\n"
                "    return torch.tensor(json.loads(body)['pixels'])[None]\n"
            ),
        },
        body=b'{"pixels": [1.0, 2.0, 3.0]}',
        answers="[[",
    ),
    Style(
        "JSON with a charset",
        code("def model_fn(d): return len\ndef input_fn(b, t): return b\n"),
        body='"\u00e9"'.encode(),
        content_type="application/json; charset=utf-8",
        answers="3",
    ),
    Style(
        "predict_fn that counts labels",
        code(
            "def model_fn(model_dir): return ['affenpinscher', 'boxer']\n"
            "def input_fn(body, t): return int(body)\n"
            "def predict_fn(i, model): return model[i]\n"
        ),
        body=b"1",
        content_type=CSV,
        answers='"boxer"',
    ),
    Style(
        "output_fn with body and type",
        code(
            "def model_fn(d): return str.upper\n"
            "def input_fn(b, t): return b\n"
            "def predict_fn(x, m): return m(x)\n"
            "def output_fn(p, accept): return p, 'text/plain'\n"
        ),
        body=b"a",
        content_type=CSV,
        accept=JSON,
        answers="A",
        answer_type="text/plain",
    ),
    Style(
        "output_fn that returns bytes",
        code(
            "def model_fn(d): return None\n"
            "def input_fn(b, t): return b\n"
            "def predict_fn(x, m): return bytes(x)[::-1]\n"
            "def output_fn(p, accept): return p\n"
        ),
        body=b"abc",
        content_type="application/octet-stream",
        accept="image/png",
        answers="cba",
        answer_type="image/png",
    ),
    Style(
        "output_fn that returns a dictionary",
        code(
            "def model_fn(d): return None\n"
            "def input_fn(b, t): return 1\n"
            "def predict_fn(x, m): return x\n"
            "def output_fn(p, accept): return {'class': p}\n"
        ),
        answers='{"class": 1}',
    ),
    Style(
        "transform_fn alone",
        code(
            "def model_fn(d): return 3\n"
            "def transform_fn(model, body, content_type, accept):\n"
            "    return f'{model} {body} {content_type} {accept}', 'text/plain'\n"
        ),
        body=b"x",
        content_type=CSV,
        answers="3 x text/csv application/json",
        answer_type="text/plain",
    ),
    Style(
        "transform_fn with context",
        code(
            "def model_fn(d, context): return context.system_properties['model_dir']\n"
            "def transform_fn(model, body, t, accept, context):\n"
            "    context.set_response_header(0, 'X-Amzn-SageMaker-Custom-Attributes', 'mine')\n"
            "    told = context.get_request_header(0, 'x-amzn-sagemaker-custom-attributes')\n"
            "    return f\"{told} {model.rsplit('/')[-1]}\"\n"
        ),
        extra={"X-Amzn-SageMaker-Custom-Attributes": "yours"},
        answers="yours model",
    ),
    Style(
        "context everywhere",
        code(
            "def model_fn(d, context): return 2\n"
            "def input_fn(b, t, context):\n"
            "    return context.get_all_request_header(0)['CONTENT-TYPE']\n"
            "def predict_fn(x, m, context): return x * m\n"
            "def output_fn(p, a, context): return p + context.model_name\n"
        ),
        answers=f"{JSON}{JSON}model",
    ),
    Style(
        "context with a default",
        code(
            "def model_fn(model_dir, context=None): return 2\n"
            "def input_fn(b, t, context=None): return context is not None\n"
            "def predict_fn(x, m): return [x, m]\n"
        ),
        answers="[true, 2]",
    ),
    Style(
        "a status of the script's own",
        code(
            "def model_fn(d): return 2\n"
            "def transform_fn(m, b, t, a, context):\n"
            "    context.set_response_status(418, 'teapot')\n"
            "    return 'short and stout'\n"
        ),
        answers="short and stout",
    ),
    Style(
        "a module beside the script",
        {
            **code("from helpers_of_mine import load as model_fn\ndef input_fn(b, t): return 4\n"),
            "code/helpers_of_mine.py": "def load(d): return lambda x: x + 1\n",
        },
        answers="5",
    ),
    Style(
        "a dependency that the SDK packed",
        {
            **code("from packed_by_sdk import load as model_fn\ndef input_fn(b, t): return 4\n"),
            "code/lib/packed_by_sdk.py": "def load(d): return lambda x: x + 1\n",
        },
        answers="5",
    ),
    Style(
        "the training script as entry point",
        {
            "model.pth": linear(),
            "code/train_model.py": "import argparse, os\n"
            + NETWORK
            + PHOTO_INPUT
            + "if __name__ == '__main__':\n"
            "    argparse.ArgumentParser().parse_args()\n    os.environ['SM_MODEL_DIR']\n",
        },
        body=photo(),
        content_type=JPEG,
        program="train_model.py",
        answers="[[",
    ),
    Style(
        "a script in a folder",
        {
            "code/src/serve-it.py": "import neighbour\nmodel_fn = neighbour.f\n"
            "def input_fn(b, t): return 1\ndef predict_fn(x, m): return m\n",
            "code/src/neighbour.py": "def f(d): return 7\n",
        },
        program="src/serve-it.py",
        answers="7",
    ),
    Style(
        "pip install at import",
        code(
            "import subprocess, sys\n"
            "subprocess.check_call([sys.executable, '-m', 'pip', '--version'])\n"
            "def model_fn(d): return 1\ndef input_fn(b, t): return 1\n"
            "def predict_fn(x, m): return m\n"
        ),
        answers="1",
    ),
    Style(
        "tensors inside a dictionary",
        code(
            "import torch\n"
            "def model_fn(d): return lambda x: {'p': torch.ones(2, requires_grad=True)}\n"
            "def input_fn(b, t): return 1\n"
        ),
        answers='{"p": [1.0, 1.0]}',
    ),
    Style(
        "warm-up and before",
        code(
            "seen = []\n"
            "def pre_model_fn(model_dir): seen.append('pre')\n"
            "def model_fn(d): return seen\n"
            "def model_warmup_fn(model_dir, model): model.append('warm')\n"
            "def input_fn(b, t): return None\n"
            "def predict_fn(x, m): return m\n"
        ),
        answers='["pre", "warm"]',
    ),
]
FAILS = [
    Style(
        "nothing in the archive",
        {},
        fails="exactly one .pth or .pt",
        at_load=True,
        stage="model_fn",
    ),
    Style(
        "missing model_fn, a state_dict",
        {"model.pth": linear(), **code("def input_fn(b, t): return b\n")},
        fails="model.pth: it is no TorchScript",
        stage="model_fn",
        at_load=True,
    ),
    Style(
        "two models",
        {"a.pth": scripted(), "b.pth": scripted()},
        fails="the archive holds a.pth, b.pth",
        at_load=True,
    ),
    Style(
        "another head",
        {"model.pth": linear(3, 5), **code(NETWORK)},
        fails="size mismatch for 0.weight",
        advice="0.weight is (5, 3) in the file and (2, 3) in the network",
        stage="model_fn",
        at_load=True,
    ),
    Style(
        "another backbone",
        {"model.pth": saved({"layer1.0.conv1.weight": torch.ones(1)}), **code(NETWORK)},
        fails="Error(s) in loading state_dict for Sequential",
        advice="the network has 0.weight, 0.bias and the file has not; the file has layer1.0.conv1",
        at_load=True,
    ),
    Style(
        "DataParallel",
        {"model.pth": saved({"module.0.weight": torch.ones(2, 3)}), **code(NETWORK)},
        fails="loading state_dict",
        advice="saved from DataParallel",
        at_load=True,
    ),
    Style(
        "a whole model where a state_dict is wanted",
        {"model.pth": saved(torch.nn.Linear(3, 2)), **code(NETWORK)},
        fails="Weights only load failed",
        advice="save model.state_dict()",
        at_load=True,
    ),
    Style(
        "a file that is not there",
        {"best.pth": linear(), **code(NETWORK)},
        fails="FileNotFoundError",
        advice="The archive holds best.pth, code/inference.py",
        at_load=True,
    ),
    Style(
        "a state_dict returned as the model",
        {
            "model.pth": linear(),
            **code("import torch\ndef model_fn(d): return torch.load(d + '/model.pth')\n"),
        },
        fails="model_fn returned OrderedDict, which cannot be called",
        stage="predict_fn",
    ),
    Style(
        "a package that is missing",
        code("import cv2_that_is_nowhere\n"),
        fails="No module named 'cv2_that_is_nowhere'",
        advice="Name cv2_that_is_nowhere in a requirements.txt",
        stage="importing inference.py",
        at_load=True,
    ),
    Style(
        "a script that does not parse",
        code("def model_fn(d):\nreturn 1\n"),
        fails="IndentationError: expected an indented block",
        stage="importing",
        at_load=True,
    ),
    Style(
        "transform_fn beside the others",
        code("def model_fn(d): 1\ndef transform_fn(m, b, t, a): 1\ndef predict_fn(x, m): 1\n"),
        fails="transform_fn and also predict_fn",
        at_load=True,
    ),
    Style(
        "exception in input_fn",
        {"model.pth": linear(), **code(NETWORK + PHOTO_INPUT)},
        body=photo("PNG"),
        content_type="image/png",
        fails="Exception: Requested unsupported ContentType in content_type: image/png",
        stage="input_fn",
    ),
    Style(
        "exception in predict_fn",
        {"model.pth": linear(), **code(NETWORK)},
        body=b"[[1, 2]]",
        fails="mat1 and mat2 shapes cannot be multiplied",
        stage="predict_fn",
    ),
    Style(
        "exception in output_fn",
        code(
            "def model_fn(d): return 1\ndef input_fn(b, t): return 1\n"
            "def predict_fn(x, m): return 1\n"
            "def output_fn(p, a): raise ValueError('cannot write ' + a)\n"
        ),
        accept="image/gif",
        fails="ValueError: cannot write image/gif",
        stage="output_fn",
    ),
    Style(
        "exception in transform_fn",
        code("def model_fn(d): return 1\ndef transform_fn(m, b, t, a): return 1 / 0\n"),
        fails="ZeroDivisionError: division by zero",
        stage="transform_fn",
    ),
    Style(
        "no input_fn for photos",
        {"model.pth": linear(), **code(NETWORK)},
        body=photo(),
        content_type=JPEG,
        fails="Content type image/jpeg is not supported",
        stage="input_fn",
    ),
    Style(
        "no output_fn for a type",
        {"model.pt": scripted()},
        accept="image/png",
        fails="Content type image/png is not supported",
        stage="output_fn",
    ),
    Style(
        "what JSON cannot hold",
        code("def model_fn(d): return lambda x: object()\ndef input_fn(b, t): return 1\n"),
        fails="returned object, which is no JSON",
        stage="output_fn",
    ),
    Style(
        "arguments that cannot be",
        code("def model_fn(d): return 1\ndef input_fn(b): return 1\n"),
        fails="input_fn takes 1 arguments but 2 were given",
        stage="input_fn",
    ),
    Style(
        "a body that is no JSON",
        {"model.pt": scripted()},
        body=b"{",
        fails="JSONDecodeError",
        stage="input_fn",
    ),
    Style(
        "a body that is no UTF-8",
        {"model.pt": scripted()},
        body=b"\xff",
        fails="UnicodeDecodeError",
        stage="decoding the body",
    ),
    Style(
        "pickles in an NPY body",
        {"model.pt": scripted()},
        body=npy(np.array([{}], dtype=object)),
        content_type=NPY,
        fails="ValueError: Object arrays cannot be loaded",
        stage="input_fn",
    ),
]


def ask(script: Script, style: Style) -> Answer:
    headers = {"Content-Type": style.content_type, **style.extra}
    if style.accept:
        headers["Accept"] = style.accept
    return script.answer(style.body, headers)


@pytest.mark.parametrize("style", WORKS, ids=lambda style: style.name)
def test_scripts_that_work(style: Style, load_script: Load) -> None:
    answer = ask(load_script(style.files, style.program), style)
    assert style.answers in answer.body.decode()
    assert answer.headers["content-type"] == style.answer_type
    assert answer.status == (418 if "own" in style.name else 200)


@pytest.mark.parametrize("style", FAILS, ids=lambda style: style.name)
def test_scripts_that_fail_say_why(style: Style, load_script: Load, tmp_path: Path) -> None:
    script = Script(str(tmp_path / "model"), "")
    with pytest.raises(Exception) as caught:
        try:
            script = load_script(style.files, style.program)
            assert not style.at_load
            ask(script, style)
        except Exception as error:
            stages = [getattr(f, "f_locals", {}).get("self") for f in _frames(error)]
            script = next((s for s in stages if isinstance(s, Script)), script)
            raise
    trouble = trouble_of(caught.value, tmp_path / "model")
    assert style.fails in trouble.message
    assert style.advice in trouble.advice
    assert script.stage.startswith(style.stage)
    assert json.dumps(trouble.to_json())


def _frames(error: BaseException) -> list[Any]:
    frames, trace = [], error.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    return frames


def test_the_line_that_the_person_wrote_is_named(load_script: Load, tmp_path: Path) -> None:
    text = "import json\n\ndef model_fn(d):\n    return json.loads('{')\n"
    with pytest.raises(ValueError) as caught:
        load_script(code(text))
    trouble = trouble_of(caught.value, tmp_path / "model")
    assert trouble.where == "inference.py, line 4, in model_fn"


def test_a_photo_by_its_url(load_script: Load, photo_server: str) -> None:
    text = """
import json, urllib.request
def model_fn(d): return len
def input_fn(body, content_type):
    return urllib.request.urlopen(json.loads(body)["url"]).read()
"""
    style = Style("url", {}, body=json.dumps({"url": photo_server}).encode())
    assert ask(load_script(code(text)), style).body == str(len(photo())).encode()


@pytest.fixture
def photo_server():
    import http.server
    import threading

    class Photo(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(photo())

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Photo)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/dog.jpg"
    server.shutdown()
    server.server_close()
    thread.join()
