import pytest

from houndsight.config import resolve
from houndsight.errors import SettingError
from houndsight.serving.settings import ServingSettings


def test_limits_are_on_by_default() -> None:
    settings = ServingSettings()
    assert settings.max_upload_bytes and settings.max_pixels == 100_000_000
    assert settings.host == "127.0.0.1" and settings.url_networks == ()


def test_lists_come_from_the_environment() -> None:
    environ = {
        "HOUNDSIGHT_SERVING_URL_NETWORKS": "10.0.0.0/8,fd00::/8",
        "HOUNDSIGHT_SERVING_URL_PORTS": "80,8080",
    }
    settings = resolve(ServingSettings, environ=environ).value
    assert settings.url_networks == ("10.0.0.0/8", "fd00::/8")
    assert settings.url_ports == (80, 8080)
    empty = resolve(ServingSettings, environ={"HOUNDSIGHT_SERVING_URL_NETWORKS": ""}).value
    assert [n for n in empty.url_networks if n] == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"url_networks": ("10.0.0.1/8",)}, "write it as 10.1.0.0/16"),
        ({"formats": ("jpeg", "svg")}, "'svg'"),
        ({"port": 70_000}, "at most 65535"),
        ({"backend": "abacus"}, "one of auto, openvino"),
    ],
)
def test_wrong_values_are_named(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        ServingSettings(**changes)
