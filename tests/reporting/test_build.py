from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from houndsight.findings import Cause, Finding, Severity, State
from houndsight.reporting import build_document, worst_mistakes
from houndsight.reporting.document import Code, Document, Facts, Findings, Gallery, Note, Table
from houndsight.reporting.sections.findings import group_findings
from houndsight.runs import Run, RunStatus

SECTIONS = [
    "findings",
    "data",
    "results",
    "curves",
    "search",
    "classes",
    "calibration",
    "photos",
    "time",
    "repeat",
]


def finding(where: str, severity: Severity = Severity.WARNING, rule: str = "Rule") -> Finding:
    return Finding(
        rule=rule,
        where=where,
        severity=severity,
        title=f"{where} is off.",
        causes=(
            Cause(text="unlikely", fix="b", score=0.1),
            Cause(text="likely", fix="a", score=0.9),
        ),
    )


@pytest.mark.parametrize("name", ["document", "large_document", "hostile_document"])
def test_a_finished_run_has_every_section(request: pytest.FixtureRequest, name: str) -> None:
    document: Document = request.getfixturevalue(name)
    assert [s.id for s in document.sections] == SECTIONS
    assert not document.missing
    assert len({c.id for c in document.charts()}) == len(document.charts())
    assert all(c.alt and c.title for c in document.charts())


def test_findings_come_first_and_fifty_layers_are_one() -> None:
    groups = group_findings(
        [finding("a", Severity.ERROR, "Grave"), *(finding(f"l{i}") for i in range(50))]
    )
    assert [g.rule for g in groups] == ["Grave", "Rule"]
    assert groups[1].scope.startswith("and 49 more places")
    assert len(groups[1].examples) == 12 and groups[1].left_out == 38
    assert [r.cause for r in groups[1].remedies] == ["likely", "unlikely"]


def test_settled_findings_stand_apart() -> None:
    groups = group_findings([finding("a"), replace(finding("b"), state=State.RESOLVED)])
    assert [g.resolved for g in groups] == [False, True]


def test_a_run_that_has_just_begun_says_what_is_missing(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    run = Run.create(tmp_path_factory.mktemp("new"), kind="run", config={})
    document = build_document(run)
    assert document.verdict.label == "Still running"
    assert any("photos.parquet is not there" in line for line in document.missing)
    assert [s.id for s in document.sections] == ["findings", "data", "repeat"]


@pytest.mark.parametrize("status", [RunStatus.STOPPED, RunStatus.FAILED])
def test_a_run_that_ended_early(fake_run: Callable[..., Run], status: RunStatus) -> None:
    document = build_document(fake_run(status=status))
    assert document.missing[0].startswith("The run ")
    assert "classes" not in {s.id for s in document.sections}


@pytest.mark.parametrize(
    "name",
    ["photos.parquet", "predictions.parquet", "trials.jsonl", "metrics.jsonl", "findings.jsonl"],
)
@pytest.mark.parametrize("how", ["missing", "damaged"])
def test_any_part_may_be_missing_or_damaged(
    fake_run: Callable[..., Run], name: str, how: str
) -> None:
    run = fake_run()
    path = run.folder / name
    path.unlink() if how == "missing" else path.write_bytes(b"\x00\xff{]")
    document = build_document(run)
    assert document.verdict.level in ("good", "soso", "poor")
    if name != "findings.jsonl":
        assert any(name in line for line in document.missing)


def test_pictures_that_are_missing_or_damaged_are_left_out(fake_run: Callable[..., Run]) -> None:
    run = fake_run(skill=2.0)
    for path in run.images.iterdir():
        path.write_bytes(b"no picture") if path.name.startswith("photo") else path.unlink()
    photos = next(s for s in build_document(run).sections if s.id == "photos")
    assert all(isinstance(b, Note) for b in photos.blocks)


def test_galleries_show_the_disputed_labels_and_do_not_repeat_a_photo(
    fake_run: Callable[..., Run],
) -> None:
    run = fake_run(skill=2.0)
    table = pq.read_table(run.photos)
    trained = table.filter(pc.equal(table["split"], "train")).slice(0, 1).to_pylist()[0]
    worst = worst_mistakes(pq.read_table(run.predictions), most=1)
    mistake = table.filter(pc.is_in(table["id"], pa.array(worst))).to_pylist()[0]
    (run.images / f"photo-{trained['id']}.jpg").write_bytes(b"\xff\xd8\xff\xff\xd9")
    row = {"given": "functional", "suggested": "defective", "suggested_probability": 0.97}
    disputed = replace(
        finding("", rule="DisputedLabels"),
        where="",
        plot={"photos": [{"path": photo["path"], **row} for photo in (mistake, trained)]},
    )
    run.add_findings([disputed])
    galleries = [
        b for s in build_document(run).sections for b in s.blocks if isinstance(b, Gallery)
    ]
    assert [g.title for g in galleries][:2] == ["Worst mistakes", "More labels to doubt"]
    assert galleries[1].photos[0].lines == (
        "labelled functional", "looks like defective, 97\u00a0%", trained["path"],
    )  # fmt: skip
    told = [p.lines[-1] for g in galleries[:2] for p in g.photos]
    assert mistake["path"] in told and len(set(told)) == len(told)


def test_the_protocol_says_which_figure_is_which(fake_run: Callable[..., Run]) -> None:
    run = fake_run()
    run.set_results(protocol="repeated k-fold, 5 folds three times")
    document = build_document(run)
    assert "each held out in turn" in document.verdict.text
    results = next(s for s in document.sections if s.id == "results")
    notes = [b.text for b in results.blocks if isinstance(b, Note)]
    assert "is not itself measured" in notes[0]
    table = next(b for b in results.blocks if isinstance(b, Table))
    assert table.columns[1].title == "K-fold"


def test_settings_are_exact(document: Document) -> None:
    repeat = next(s for s in document.sections if s.id == "repeat")
    rows = [row for block in repeat.blocks for row in getattr(block, "rows", ())]
    assert ("weight decay", "0.00042") in rows
    assert ("learning rate", "0.0003") in rows
    assert ("Data fingerprint", "9f2c7a1d5be04c66") in rows


def test_trials_are_ranked_and_the_best_is_marked(document: Document) -> None:
    search = next(s for s in document.sections if s.id == "search")
    table = next(b for b in search.blocks if isinstance(b, Table))
    values = [row[1].value for row in table.rows]
    assert values == sorted(values, key=float) and table.marked == 0
    assert "2 stopped early" in search.lead


def test_a_run_without_findings_says_so(fake_run: Callable[..., Run]) -> None:
    run = fake_run()
    (run.folder / "findings.jsonl").unlink()
    section = build_document(run).sections[0]
    assert section.id == "findings" and not any(isinstance(b, Findings) for b in section.blocks)


def test_a_table_of_labels_is_called_by_its_folder(fake_run: Callable[..., Run]) -> None:
    run = fake_run()
    told = {"source": "/data/solar-cells/labels.csv", "photos": 3}
    run.set_results(data=told)
    assert build_document(run).title == "solar-cells"
    run.set_results(data={**told, "source": "labels.csv"})
    assert build_document(run).title == "labels.csv"


def test_averaged_predictions_are_told_from_the_mean_over_repeats(
    fake_run: Callable[..., Run],
) -> None:
    run = fake_run()
    metrics = run.results["metrics"]
    test = {**metrics["test"], "top1": metrics["test"]["top1"] - 0.02}
    run.set_results(metrics={"test": test}, protocol="repeated 5-fold cross-validation")
    section = next(s for s in build_document(run).sections if s.id == "results")
    note = next(b for b in section.blocks if isinstance(b, Note))
    assert "Top-1 is the mean over the repeats" in note.text


def test_small_things_are_left_out(fake_run: Callable[..., Run]) -> None:
    """Top-5 of four classes, and the times of trials that were fitted all at once."""
    run = fake_run(classes=4)
    rows = [json.loads(line) | {"seconds": 0.01} for line in run.trials.read_text().splitlines()]
    run.trials.write_text("".join(json.dumps(row) + "\n" for row in rows))
    tables = [b for s in build_document(run).sections for b in s.blocks if isinstance(b, Table)]
    assert not any(row[0].text == "Top-5" for table in tables for row in table.rows)
    trials = next(t for t in tables if t.columns[0].title == "Trial")
    assert "Time" not in [column.title for column in trials.columns]


def test_a_scaled_weight_decay_is_told_as_searched_too(fake_run: Callable[..., Run]) -> None:
    run = fake_run()
    best = json.loads(run.trials.read_text().splitlines()[0])["parameters"]
    run.set_results(parameters={**best, "weight_decay": 7.5})
    section = next(s for s in build_document(run).sections if s.id == "repeat")
    rows = dict(
        next(
            b
            for b in section.blocks
            if isinstance(b, Facts) and b.title == "Chosen hyperparameters"
        ).rows
    )
    assert rows["weight decay"].startswith("7.5 (")
    assert "in the search" in rows["weight decay"]


def section(document: Document, name: str) -> str:
    """Everything a section says, as one text."""
    return repr(next(s for s in document.sections if s.id == name)).replace("\\xa0", " ")


def test_candidates_that_were_only_timed_are_not_called_probed(
    fake_run: Callable[..., Run],
) -> None:
    run = fake_run()
    timed = {"top1": None, "photos": 0, "seconds": 1.5, "why": ""}
    ranking = [
        {"name": "resnet50", "photos_per_second": 47.001, **timed},
        {"name": "resnet101", "photos_per_second": 4.2001, **timed},
    ]
    run.set_results(backbone_ranking=ranking)
    results = next(s for s in build_document(run).sections if s.id == "results")
    table = next(b for b in results.blocks if isinstance(b, Table) and "Backbones" in b.caption)
    assert "probed on" not in table.caption and "timed but not probed" in table.caption
    assert [c.title for c in table.columns] == ["Backbone", "Photos per second", "Time"]
    assert [row[1].text for row in table.rows] == ["47", "4.2"]


def test_a_cross_validated_run_tells_of_no_split_and_no_unmeasured_rate(
    fake_run: Callable[..., Run],
) -> None:
    run = fake_run()
    run.set_results(protocol="repeated k-fold, 5 folds three times")
    run.set_plan({"protocol": "repeated k-fold", "trials": 5, "photos_per_second": 0.0})
    document = build_document(run)
    data = section(document, "data")
    assert "train 3" not in data and "held out in turn" in data
    assert "photos/s" not in data
    search = next(s for s in document.sections if s.id == "search")
    assert "by cross-validation on all photos" in search.lead
    assert "validation photos" not in search.lead


def test_a_linear_probe_misses_no_learning_curve(fake_run: Callable[..., Run]) -> None:
    run = fake_run()
    (run.folder / "metrics.jsonl").unlink()
    assert any("learning curve" in line for line in build_document(run).missing)
    run.set_results(model="linear probe")
    assert not any("learning curve" in line for line in build_document(run).missing)


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        (["run", "a b", "--out", "runs/x", "--trials", "3"], "run 'a b' --trials 3"),
        (["run", "p", "--out=runs/x", "--backbone", "auto"], "run p"),
        (["run", "--resume", "runs/x"], "run /data/photos/hounds"),
    ],
)
def test_the_command_can_be_repeated(
    fake_run: Callable[..., Run], typed: list[str], shown: str
) -> None:
    run = fake_run()
    record = json.loads((run.folder / "run.json").read_text())
    record["environment"]["command"] = ["/opt/bin/houndsight", *typed]
    (run.folder / "run.json").write_text(json.dumps(record))
    repeat = next(s for s in build_document(Run.open(run.folder)).sections if s.id == "repeat")
    code = next(b for b in repeat.blocks if isinstance(b, Code))
    assert code.text == f"houndsight {shown} --backbone resnet50"
