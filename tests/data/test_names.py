import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from houndsight.data.names import readable_names


def shown(*originals: str) -> list[str]:
    return [name.name for name in readable_names(originals)]


def test_catalogue_numbers_go_and_underscores_become_spaces() -> None:
    assert shown("001.Affenpinscher", "002.Afghan_hound") == ["Affenpinscher", "Afghan hound"]
    assert shown("n02085620-Chihuahua", "n02085620-German_shepherd") == [
        "Chihuahua",
        "German shepherd",
    ]
    assert shown("n02086240-Shih-Tzu") == ["Shih-Tzu"]


def test_originals_are_kept() -> None:
    (name,) = readable_names(["n02085620-German_shepherd"])
    assert name.original == "n02085620-German_shepherd"


def test_numbers_that_mean_something_stay() -> None:
    assert shown("7_segment", "cat") == ["7 segment", "cat"]
    assert shown("0", "1", "2") == ["0", "1", "2"]
    assert shown("2020", "n02085620-") == ["2020", "n02085620-"]


def test_numbers_that_every_class_has_go() -> None:
    assert shown("1_cat", "2-dog", "10 bird") == ["cat", "dog", "bird"]


def test_classes_that_would_read_the_same_keep_their_own_names() -> None:
    assert shown("German_shepherd", "n02106662-German_shepherd", "cat") == [
        "German_shepherd",
        "n02106662-German_shepherd",
        "cat",
    ]


def test_characters_that_steer_a_terminal_are_not_shown() -> None:
    (name,) = shown("ca\x1b[31mt\u202e")
    assert name == "ca\ufffd[31mt\ufffd"


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), unique=True, max_size=12))
def test_any_names_become_different_printable_ones(originals: list[str]) -> None:
    names = readable_names(originals)
    assert [name.original for name in names] == originals
    assert len({name.name for name in names}) == len(originals)
    for name in names:
        assert name.name.strip()
        assert not any(unicodedata.category(c).startswith("C") for c in name.name)
