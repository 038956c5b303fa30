"""A realistic run folder, generated: two, four or 120 classes, healthy, poor, stopped or failed."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageDraw

from houndsight.files import append_json_line
from houndsight.findings import Cause, Finding, Severity, State
from houndsight.reporting import Document, build_document
from houndsight.runs import Run, RunStatus

HOSTILE = (
    "</script><script>alert(1)</script>",
    '#eval("1") $x$ *b* @ref \\ `raw`',
    'it\'s "quoted" & <b>bold</b> {{ 7 * 7 }} {% raw %}',
    "🐕‍🦺 emoji 🦮",
    "كلب صيد \u202egnp.exe",
    "狗 犬 개",
    "x" * 300,
    "../../etc/passwd\x00\n\ud800",
)


class FakeRun:
    """Writes the parts of a run folder; each can be left out."""

    def __init__(self, folder: Path, names: Sequence[str], *, per_class: int, skill: float) -> None:
        self.random = np.random.default_rng(len(names))
        self.names, self.skill = list(names), skill
        self.run = Run.create(folder, kind="run", config=CONFIG)
        labels = np.repeat(np.arange(len(names)), self._sizes(per_class))
        self.labels = labels
        self.splits = self.random.choice(["train", "valid", "test"], len(labels), p=[0.7, 0.1, 0.2])
        self.paths = [f"{names[c]}/photo_{i:05d}.jpg" for i, c in enumerate(labels)]

    def _sizes(self, per_class: int) -> np.ndarray:
        spread = self.random.uniform(0.6, 1.4, len(self.names))
        return np.maximum((per_class * spread).astype(int), 8)

    def photos(self) -> None:
        n = len(self.labels)
        table = {
            "id": np.arange(n, dtype=np.int64),
            "path": _texts(self.paths),
            "class_index": self.labels.astype(np.int32),
            "split": list(self.splits),
            "group": [None] * n,
            "hash": [f"{i:032x}" for i in range(n)],
        }
        pq.write_table(pa.table(table), self.run.photos)

    def probabilities(self) -> np.ndarray:
        classes = len(self.names)
        logits = self.random.normal(0, 1, (len(self.labels), classes))
        # Neighbouring classes look alike, so that some pairs are confused more than others.
        for shift, share in ((0, 1.0), (1, 0.45)):
            near = np.minimum(self.labels + shift, classes - 1)
            logits[np.arange(len(logits)), near] += share * self.skill
        if self.skill == 0:
            logits[:, 0] += 2.5
        exponents = np.exp(
            (1.15 + 0.25 * np.log(classes) / 3) * (logits - logits.max(axis=1, keepdims=True))
        )
        return (exponents / exponents.sum(axis=1, keepdims=True)).astype(np.float32)

    def predictions(self) -> None:
        p, keep = self.probabilities(), np.flatnonzero(self.splits != "train")
        flat = pa.array(p[keep].reshape(-1))
        table = {
            "id": keep.astype(np.int64),
            "path": _texts([self.paths[i] for i in keep]),
            "split": list(self.splits[keep]),
            "class_index": self.labels[keep].astype(np.int32),
            "predicted": p[keep].argmax(axis=1).astype(np.int32),
            "confidence": p[keep].max(axis=1),
            "probabilities": pa.FixedSizeListArray.from_arrays(flat, len(self.names)),
        }
        pq.write_table(pa.table(table), self.run.predictions)
        self._metrics(p)

    def _metrics(self, p: np.ndarray) -> None:
        metrics = {}
        for split in ("test", "valid", "train"):
            rows = self.splits == split
            metrics[split] = _figures(p[rows], self.labels[rows], bonus=0.05 * (split == "train"))
        test = self.splits == "test"
        self.run.set_results(
            metrics=metrics,
            protocol="held-out test split",
            reliability={"bins": _bins(p[test], self.labels[test])},
        )

    def curves(self, *, epochs: int = 12, steps: int = 40, broken: bool = False) -> None:
        floor = 0.4 + 1.6 * (self.skill < 2)
        for step in range(1, epochs * steps + 1):
            loss = floor + 2 * np.exp(-step / (2 * steps)) + self.random.normal(0, 0.06)
            if broken and step > steps * epochs // 2:
                loss = float("nan")
            if step % 4 == 0:
                self._row("train", step, (step - 1) // steps, loss, 0.0)
            if step % steps == 0:
                epoch = step // steps - 1
                valid = (
                    floor + 2 * np.exp(-step / (2 * steps)) + 0.05 + 0.004 * max(epoch - 6, 0) ** 2
                )
                self._row("valid", step, epoch, valid, 0.01)

    def _row(self, split: str, step: int, epoch: int, loss: float, gap: float) -> None:
        top1 = float(np.clip(np.exp(-loss) + 0.2 - gap, 0, 1)) if loss == loss else 0.01
        self.run.metrics.write(split=split, step=step, epoch=epoch, loss=loss, top1=top1)

    def trials(self, number: int = 20) -> None:
        for index in range(number):
            decay = float(10 ** self.random.uniform(-6, -1))
            smoothing = float(self.random.uniform(0, 0.2))
            balance = str(self.random.choice(["none", "weights", "logit_adjustment"]))
            rate, batch = (
                float(10 ** self.random.uniform(-3, -1)),
                int(2 ** self.random.integers(5, 10)),
            )
            value = (
                0.5 + 0.08 * (np.log10(decay) + 3) ** 2 / 9 + smoothing + 0.02 * (balance == "none")
            )
            value = float(value + self.random.normal(0, 0.01))
            state = "stopped" if index % 7 == 6 else "completed"
            row = {
                "number": index,
                "parameters": {
                    "learning_rate": rate,
                    "batch_size": batch,
                    "weight_decay": decay,
                    "label_smoothing": smoothing,
                    "balance": balance,
                },
                "metrics": {"nll": value, "top1": 1 - value / 2},
                "value": value,
                "state": state,
                "seconds": float(self.random.uniform(0.2, 1.4)),
            }
            append_json_line(self.run.trials, row)

    def findings(self, found: Sequence[Finding] = ()) -> None:
        self.run.add_findings(list(found) or FINDINGS)

    def images(self) -> None:
        keep = np.flatnonzero(self.splits != "train")
        for index in keep[: 400 if len(self.names) < 10 else len(keep)]:
            self._write(f"photo-{index}.jpg", index, 160)
        for index in keep[:: max(len(keep) // 6, 1)][:6]:
            self._write(f"gradcam-{index}.jpg", index, 224)

    def _write(self, name: str, index: int, edge: int) -> None:
        label = int(self.labels[index])
        hue = np.random.default_rng(label).integers(60, 200, 3)
        image = Image.new("RGB", (edge, edge if index % 3 else edge * 3 // 4), tuple(map(int, hue)))
        draw = ImageDraw.Draw(image)
        x, y = np.random.default_rng(int(index)).integers(10, edge // 2, 2)
        draw.ellipse((int(x), int(y), int(x) + edge // 3, int(y) + edge // 3), fill="#f4e8d8")
        if name.startswith("gradcam"):
            draw.ellipse((int(x), int(y), int(x) + edge // 4, int(y) + edge // 4), fill="#e03020")
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=80)
        (self.run.images / name).write_bytes(buffer.getvalue())

    def results(self, **more: Any) -> None:
        counts = {s: int((self.splits == s).sum()) for s in ("train", "valid", "test")}
        self.run.set_plan(PLAN)
        classes = [{"name": n.encode(errors="replace").decode(), "original": n} for n in self.names]
        for entry in classes:
            entry["original"] = entry["name"]
        told = {
            **RESULTS,
            "classes": classes,
            "splits": counts,
            "data": {
                "source": "/data/photos/hounds",
                "fingerprint": "9f2c7a1d5be04c66",
                "photos": len(self.labels),
                "set_aside": 7,
            },
        }
        self.run.set_results(**{**told, **more})

    def stages(self, names: Sequence[str] = ()) -> None:
        for name, seconds, text in STAGES:
            if not names or name in names:
                self.run.finish_stage(name, seconds=seconds, text=text)


@pytest.fixture
def fake_run(tmp_path: Path) -> Callable[..., Run]:
    """Makes a whole run folder: `fake_run(classes=4)`, `fake_run(names=[...], skill=0)`."""

    def make(
        classes: int = 4,
        *,
        names: Sequence[str] | None = None,
        per_class: int = 120,
        skill: float = 4.0,
        status: RunStatus = RunStatus.COMPLETED,
        findings: Sequence[Finding] = (),
        trials: int = 5,
    ) -> Run:
        folder = tmp_path / f"run-{classes}-{status}-{len(names or ())}-{skill:g}"
        return make_run(
            folder,
            names or class_names(classes),
            per_class=per_class,
            skill=skill,
            status=status,
            findings=findings,
            trials=trials,
        )

    return make


@pytest.fixture(scope="session")
def document(tmp_path_factory: pytest.TempPathFactory) -> Document:
    """The report of a finished run of four classes, with a search of 20 trials."""
    folder = tmp_path_factory.mktemp("four") / "run"
    return build_document(make_run(folder, class_names(4), skill=2.0))


@pytest.fixture(scope="session")
def large_document(tmp_path_factory: pytest.TempPathFactory) -> Document:
    """The report of a finished run of 120 classes."""
    folder = tmp_path_factory.mktemp("large") / "run"
    return build_document(make_run(folder, class_names(120), per_class=30, skill=5.0, trials=5))


@pytest.fixture(scope="session")
def hostile_document(tmp_path_factory: pytest.TempPathFactory) -> Document:
    """The report of a run whose class names and findings try to leave their place."""
    folder = tmp_path_factory.mktemp("hostile") / "run"
    return build_document(make_run(folder, HOSTILE, per_class=30, findings=[NASTY], trials=5))


def make_run(
    folder: Path,
    names: Sequence[str],
    *,
    per_class: int = 120,
    skill: float = 4.0,
    status: RunStatus = RunStatus.COMPLETED,
    findings: Sequence[Finding] = (),
    trials: int = 20,
) -> Run:
    """A run folder with every part a run of that status holds."""
    fake = FakeRun(folder, names, per_class=per_class, skill=skill)
    fake.photos()
    fake.findings(findings)
    if status == RunStatus.COMPLETED:
        fake.results()
        fake.predictions()
        fake.images()
        fake.stages()
    else:
        fake.stages(("check", "backbone", "features"))
        fake.run.set_plan(PLAN)
    fake.trials(trials)
    fake.curves(broken=status == RunStatus.FAILED)
    fake.run.set_status(status, "The disk is full." if status == RunStatus.FAILED else "")
    return fake.run


def class_names(number: int) -> list[str]:
    """Readable names: two and four of solar cells, else breeds by number."""
    if number == 2:
        return ["functional", "defective"]
    if number == 4:
        return ["functional", "possibly defective", "likely defective", "defective"]
    first = ("Afghan", "Basset", "Border", "Irish", "Norfolk", "Scottish", "Welsh", "Bluetick")
    second = (
        "hound",
        "terrier",
        "setter",
        "spaniel",
        "retriever",
        "sheepdog",
        "pointer",
        "collie",
        "springer",
        "griffon",
        "mastiff",
        "coonhound",
        "elkhound",
        "wolfhound",
        "ridgeback",
    )
    return [f"{a} {b}" for a in first for b in second][:number]


def _texts(values: Sequence[str]) -> list[str]:
    return [v.encode(errors="replace").decode() for v in values]


def _figures(p: np.ndarray, labels: np.ndarray, *, bonus: float) -> dict[str, Any]:
    order = np.argsort(-p, axis=1)
    top1 = min(float((order[:, 0] == labels).mean()) + bonus, 1.0)
    top5 = float((order[:, :5] == labels[:, None]).any(axis=1).mean())
    recalls = [float((order[labels == c, 0] == c).mean()) for c in np.unique(labels)]
    half = 1.96 * float(np.sqrt(max(top1 * (1 - top1), 1e-4) / len(labels)))
    return {
        "top1": top1,
        "top5": top5,
        "macro_f1": float(np.mean(recalls)) - 0.004,
        "balanced_accuracy": float(np.mean(recalls)),
        "nll": float(-np.log(p[np.arange(len(p)), labels]).mean()),
        "ece": sum(b["count"] * abs(b["accuracy"] - b["confidence"]) for b in _bins(p, labels))
        / len(labels),
        "brier": float(((p - np.eye(p.shape[1])[labels]) ** 2).sum(axis=1).mean()),
        "count": len(labels),
        "top1_interval": [max(top1 - half, 0.0), min(top1 + half, 1.0)],
    }


def _bins(p: np.ndarray, labels: np.ndarray) -> list[dict[str, float]]:
    sure, right = p.max(axis=1), p.argmax(axis=1) == labels
    index = np.minimum((sure * 15).astype(int), 14)
    return [
        {
            "confidence": float(sure[index == b].mean()),
            "accuracy": float(right[index == b].mean()),
            "count": int((index == b).sum()),
        }
        for b in range(15)
        if (index == b).any()
    ]


CONFIG = {
    "data": {"seed": 0, "valid_share": 0.1, "test_share": 0.2, "group": None, "fit": "auto"},
    "tuning": {"trials": 20, "strategy": "bayesian", "objective": "nll", "parallel": 1},
    "training": {"epochs": 12, "learning_rate": 0.0003, "weight_decay": 0.05, "precision": "auto"},
}
PLAN = {
    "backbone": "resnet50",
    "trials": 20,
    "epochs": 12,
    "minutes": 10,
    "photos_per_second": 68.4,
}
RESULTS = {
    "backbone": {
        "name": "resnet50",
        "weights_hash": "0676ba61b6795bbe",
        "source": "timm",
        "licence": "Apache-2.0",
    },
    "backbone_ranking": [
        {"name": "resnet50", "top1": 0.861, "seconds": 31.2},
        {"name": "efficientnet_lite0", "top1": 0.792, "seconds": 9.8},
        {"name": "mobilenetv3", "top1": 0.771, "seconds": 7.1},
    ],
    "parameters": {"weight_decay": 0.00042, "label_smoothing": 0.05, "balance": "weights"},
    "model": "fine-tuned",
    "candidates": [
        {"model": "linear probe", "valid nll": 0.58, "valid top1": 0.84},
        {"model": "fine-tuned", "valid nll": 0.51, "valid top1": 0.86},
    ],
    "temperature": 1.13,
    "preprocessing": {
        "size": 224,
        "fit": "crop",
        "crop_fraction": 0.875,
        "filter": "bicubic",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "decoder": "pillow",
        "decoder_version": "12.0.0",
    },
}
STAGES = (
    ("check", 8.2, "7 photos set aside"),
    ("backbone", 48.1, "resnet50 won by 6.9 points"),
    ("features", 88.4, "6,000 photos embedded"),
    ("tune", 6.4, "20 trials"),
    ("train", 214.0, "fine-tuned"),
    ("evaluate", 4.9, ""),
    ("report", 6.1, ""),
)
FINDINGS = [
    Finding(
        rule="DuplicatesAcrossSplits",
        where="",
        severity=Severity.WARNING,
        title="14 photos of the test split are near-duplicates of training photos.",
        causes=(
            Cause(
                text="The same scene was photographed several times and split at random.",
                fix="Pass --group with what names the scene, so that it stays on one side.",
                score=0.8,
                evidence="The hashes differ in at most 4 of 64 bits.",
            ),
        ),
        count=14,
        examples=tuple(
            f"Afghan hound/photo_{i:05d}.jpg = photo_{i + 9:05d}.jpg" for i in range(14)
        ),
    ),
    *(
        Finding(
            rule="VanishingGradient",
            where=f"layer{i // 10 + 1}.{i % 10}.conv1",
            severity=Severity.WARNING,
            title=f"The gradient of layer{i // 10 + 1}.{i % 10}.conv1 fell below 1e-7.",
            causes=(
                Cause(
                    text="The learning rate of the early layers decays to nothing.",
                    fix="Raise layer_decay from 0.5 to 0.8.",
                    score=0.7,
                ),
                Cause(text="The layer's output is saturated.", fix="Check the input's scale."),
            ),
            first_step=40,
            last_step=470,
            count=20,
        )
        for i in range(50)
    ),
    Finding(
        rule="UnreadablePhotos",
        where="",
        severity=Severity.INFO,
        title="7 photos cannot be read and were set aside.",
        causes=(
            Cause(text="The files end early: a copy was cut off.", fix="Copy these files again."),
        ),
        count=7,
        examples=tuple(f"defective/broken_{i}.jpg: the file ends early" for i in range(7)),
    ),
    Finding(
        rule="LossNotFalling",
        where="",
        severity=Severity.WARNING,
        state=State.RESOLVED,
        title="The loss did not fall for 30 steps.",
        causes=(Cause(text="Warm-up was long.", fix="Nothing to do: it fell afterwards."),),
        first_step=10,
        last_step=40,
    ),
]
LEAK = Finding(
    rule="DuplicatesAcrossSplits",
    where="",
    severity=Severity.ERROR,
    title="312 of 480 test photos are also in the training split.",
    causes=(
        Cause(
            text="The test folder was made by copying training photos.",
            fix="Delete the copies from train, or let Houndsight draw the splits.",
            score=0.9,
            evidence="Their bytes are identical.",
        ),
    ),
    count=312,
)
NASTY = Finding(
    rule="</style><script>",
    where="<img src=x onerror=alert(1)>",
    severity=Severity.ERROR,
    title='<script>alert(\'title\')</script> #panic("no") $ #read("/etc/passwd") ] } */',
    causes=(
        Cause(text="{{ 7 * 7 }} </dl>", fix='"><svg onload=alert(2)>', score=0.9),
        Cause(text='#import "x"', fix="*bold* _it_ <label> @ref", score=0.1),
    ),
    examples=("<b>bold</b>", "= heading", "- list", "\\u{41}", "]" * 5000),
)
