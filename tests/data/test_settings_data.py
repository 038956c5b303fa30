import pytest

from houndsight.config import resolve
from houndsight.data.settings import DataSettings
from houndsight.errors import SettingError


def test_every_field_says_what_it_means() -> None:
    for field in DataSettings.describe():
        assert len(field.help) > 40, field.name


@pytest.mark.parametrize("group", ["level:1", "column:patient", r"pattern:(p\d+)_"])
def test_groups_have_three_forms(group: str) -> None:
    assert DataSettings(group=group).group == group


@pytest.mark.parametrize(
    "group",
    [
        "patient",
        "level:0",
        "level:x",
        "level:-1",
        "column:",
        "pattern:(",
        "pattern:p",
        "pattern:(a)(b)",
    ],
)
def test_other_groups_are_refused_with_the_forms(group: str) -> None:
    with pytest.raises(SettingError, match=r"data\.group is"):
        DataSettings(group=group)


def test_shares_leave_most_photos_to_train_on() -> None:
    with pytest.raises(SettingError, match=r"data\.valid_share is 0\.9; it must be at most"):
        DataSettings(valid_share=0.9)


def test_an_empty_variable_unsets_the_group() -> None:
    assert resolve(DataSettings, environ={"HOUNDSIGHT_DATA_GROUP": ""}).value.group is None
