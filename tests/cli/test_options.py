"""Options made from settings classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from houndsight.cli.options import resolve_all
from houndsight.data.settings import DataSettings
from houndsight.errors import SettingError
from houndsight.stages.settings import RunSettings

SECTIONS = [RunSettings, DataSettings]


def test_given_options_and_assignments_end_in_their_sections() -> None:
    resolved = resolve_all(
        SECTIONS, given={"run": {"minutes": 3.0, "seed": None}}, assignments=["data.seed=7"]
    )
    assert resolved["run"].value == RunSettings(minutes=3.0)
    assert resolved["data"].value == DataSettings(seed=7)
    assert resolved["data"].sources["seed"] == "command line"


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("data.sead=7", r"there is no setting data\.sead; did you mean data\.seed\?"),
        ("date.seed=7", r"there is no setting date\.seed; did you mean data\.seed\?"),
        ("x.y=7", r"there is no setting x\.y\. `houndsight config` lists"),
        ("data.seed", "write it as section.field=value"),
        ("seed=7", "write it as section.field=value"),
        ("data.seed=seven", "data.seed is 'seven'"),
    ],
)
def test_a_wrong_assignment_is_named(assignment: str, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        resolve_all(SECTIONS, given={}, assignments=[assignment])


def test_a_file_beside_the_photos_sets_only_data(tmp_path: Path) -> None:
    file = tmp_path / "houndsight.toml"
    file.write_text("[data]\nseed = 4\n")
    resolved = resolve_all(SECTIONS, given={}, data_folder=tmp_path)
    assert resolved["data"].value.seed == 4
    file.write_text("[data]\nseed = 4\n[run]\nminutes = 1\n")
    with pytest.raises(SettingError, match=r"\[run\] is not for a file beside photos"):
        resolve_all(SECTIONS, given={}, data_folder=tmp_path)
