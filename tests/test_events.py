import pytest

from houndsight import events
from houndsight.events import Emitter, EpochStarted, Event, StageStarted, StepEnded


def test_listeners_hear_every_event_in_the_order_they_were_added() -> None:
    heard: list[tuple[str, Event]] = []
    emit = Emitter([lambda event: heard.append(("first", event))])
    emit.add(lambda event: heard.append(("second", event)))
    started = EpochStarted(epoch=0, step=0)
    emit(started)
    assert heard == [("first", started), ("second", started)]


def test_a_listener_added_later_hears_only_what_comes_later() -> None:
    emit, heard = Emitter(), []
    emit(EpochStarted(epoch=0, step=0))
    emit.add(heard.append)
    emit(EpochStarted(epoch=1, step=5))
    assert [event.epoch for event in heard] == [1]


def test_an_emitter_is_a_listener_of_another() -> None:
    heard: list[Event] = []
    Emitter([Emitter([heard.append])])(StageStarted(stage="check", text="Checking"))
    assert len(heard) == 1


def test_a_listeners_error_is_not_swallowed() -> None:
    def broken(_event: Event) -> None:
        raise RuntimeError("broken listener")

    with pytest.raises(RuntimeError, match="broken listener"):
        Emitter([broken])(EpochStarted(epoch=0, step=0))


def test_events_are_frozen_and_keyword_only() -> None:
    event = EpochStarted(epoch=0, step=0)
    with pytest.raises(AttributeError):
        event.epoch = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        EpochStarted(0, 0)  # type: ignore[misc]


def test_every_event_type_is_public_and_explained() -> None:
    for name, kind in vars(events).items():
        if isinstance(kind, type) and issubclass(kind, Event):
            assert name in events.__all__ and kind.__doc__
    assert StepEnded.__name__ in (Event.__doc__ or "")


def test_the_loop_of_the_docstring_names_only_events_that_exist() -> None:
    loop = Event.__doc__ or ""
    named = [line.split("# ")[1].strip() for line in loop.splitlines() if "# " in line]
    assert len(named) == 11 and all(issubclass(getattr(events, name), Event) for name in named)
