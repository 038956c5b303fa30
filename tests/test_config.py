"""Settings: where values come from, and what is said about wrong ones."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from houndsight.config import BESIDE_DATA, SECTIONS, Settings, resolve, setting
from houndsight.errors import SettingError


@dataclass(frozen=True, kw_only=True)
class KennelSettings(Settings):
    """Settings of a test."""

    section: ClassVar[str] = "kennel"
    beside_data: ClassVar[bool] = True

    dogs: int = setting(3, minimum=1, maximum=10)
    """How many dogs."""
    weight_kg: float = setting(20.0, minimum=0.5)
    """What one weighs."""
    coat: str = setting("short", choices=("short", "long"))
    """Its coat."""
    name: str | None = setting(None)
    """Its name."""
    barks: bool = setting(False)
    """Whether it barks."""
    sizes: tuple[int, ...] = setting((1, 2))
    """Some
    numbers."""


def test_meanings_stand_under_the_fields() -> None:
    helps = {f.name: f.help for f in KennelSettings.describe()}
    assert helps["dogs"] == "How many dogs."
    assert helps["sizes"] == "Some\nnumbers."


def test_settings_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        KennelSettings().dogs = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("dogs", 0, "kennel.dogs is 0; it must be at least 1"),
        ("dogs", 11, "kennel.dogs is 11; it must be at most 10"),
        ("dogs", 2.5, "kennel.dogs is 2.5; it must be of type int"),
        ("dogs", True, "must be of type int"),
        ("dogs", "many", "kennel.dogs is 'many'"),
        ("dogs", None, "kennel.dogs is None"),
        ("weight_kg", float("nan"), "kennel.weight_kg is nan"),
        ("coat", "curly", "one of short, long"),
        ("barks", "maybe", "kennel.barks is 'maybe'"),
        ("name", 7, "kennel.name is 7"),
        ("sizes", "1,x", "kennel.sizes is '1,x'"),
    ],
)
def test_a_wrong_value_is_named(field: str, value: object, said: str) -> None:
    with pytest.raises(SettingError, match=said.replace(".", r"\.").replace("'", "'")):
        KennelSettings(**{field: value})  # type: ignore[arg-type]


def test_the_stronger_source_wins(tmp_path: Path) -> None:
    user, data = tmp_path / "user.toml", tmp_path / "photos"
    data.mkdir()
    user.write_text("[kennel]\ndogs = 4\nweight_kg = 5\nsizes = [7]\n")
    (data / "houndsight.toml").write_text("[kennel]\ndogs = 5\ncoat = 'long'\n")
    resolved = resolve(
        KennelSettings,
        given={"name": "Rex", "barks": None},
        environ={"HOUNDSIGHT_KENNEL_WEIGHT_KG": "6.5", "HOUNDSIGHT_KENNEL_NAME": "Bello"},
        user_file=user,
        data_folder=data,
    )
    expected = KennelSettings(dogs=4, weight_kg=6.5, coat="long", name="Rex", sizes=(7,))
    assert resolved.value == expected
    assert resolved.sources == {
        "dogs": str(user),
        "weight_kg": "HOUNDSIGHT_KENNEL_WEIGHT_KG",
        "coat": str(data / "houndsight.toml"),
        "name": "command line",
        "barks": "default",
        "sizes": str(user),
    }


def test_a_misspelt_name_in_a_file_is_not_ignored(tmp_path: Path) -> None:
    file = tmp_path / "houndsight.toml"
    file.write_text("[kennel]\ndoggs = 4\n")
    with pytest.raises(SettingError, match="has no setting 'doggs'"):
        resolve(KennelSettings, environ={}, user_file=file)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[kenel]\ndogs = 4\n", r"no section \[kenel\]; did you mean kennel\?"),
        ("dogs = 4\n", r"no section \[dogs\]\. There are "),
        ("[kennel]\ndoggs = 4\n", r"'doggs'; did you mean dogs\?"),
    ],
)
def test_a_misspelt_section_in_a_file_is_not_ignored(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "houndsight.toml"
    for given in ({"user_file": file}, {"user_file": tmp_path / "none", "data_folder": tmp_path}):
        file.write_text(text)
        with pytest.raises(SettingError, match=said):
            resolve(KennelSettings, environ={}, **given)
        file.write_text("[data]\nof = 'another room'\n")
        assert resolve(KennelSettings, environ={}, **given).value == KennelSettings()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("HOUNDSIGHT_KENNEL_DOGGS", r"has no such setting; did you mean HOUNDSIGHT_KENNEL_DOGS\?"),
        ("HOUNDSIGHT_KENEL_DOGS", r"no section KENEL; did you mean HOUNDSIGHT_KENNEL_DOGS\?"),
        ("HOUNDSIGHT_KENNEL_XYZ", r"has no such setting\. Correct or unset it"),
    ],
)
def test_a_misspelt_variable_is_not_ignored(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        resolve(KennelSettings, environ={name: "3"}, user_file=tmp_path / "none")


def test_other_variables_are_left_alone(tmp_path: Path) -> None:
    names = ("HOME", "CACHE", "WEIGHTS", "WATCH", "DATA_SEED", "STUDIO_PORT")
    environ = {f"HOUNDSIGHT_{name}": "x" for name in names}
    resolve(KennelSettings, environ=environ, user_file=tmp_path / "none")


def test_the_sections_are_those_of_the_settings_classes() -> None:
    from houndsight.jobs.endpoints.settings import EndpointsSettings
    from houndsight.jobs.settings import JobsSettings
    from houndsight.pipeline import SECTIONS as OF_A_RUN
    from houndsight.serving.settings import ServingSettings

    classes = (*OF_A_RUN, ServingSettings, JobsSettings, EndpointsSettings)
    assert sorted(SECTIONS) == sorted(cls.section for cls in classes)
    assert set(BESIDE_DATA) == {cls.section for cls in classes if cls.beside_data}


def test_a_broken_file_is_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "houndsight.toml"
    file.write_text("[kennel\n")
    with pytest.raises(SettingError, match="is not valid TOML"):
        resolve(KennelSettings, environ={}, user_file=file)


def test_json_and_back() -> None:
    before = KennelSettings(dogs=7, sizes=(3, 4))
    again = KennelSettings.from_json({**before.to_json(), "from_a_later_version": 1})
    assert again == before
