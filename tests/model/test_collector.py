"""The garbage collector rests while a model is loaded."""

import gc

import pytest

from ucuie.model import collector_paused


def test_the_collector_pauses_and_leaves_alone_what_came_to_stay() -> None:
    assert gc.isenabled()
    frozen = gc.get_freeze_count()
    try:
        with collector_paused():
            assert not gc.isenabled()
        assert gc.isenabled()
        assert gc.get_freeze_count() > frozen
    finally:
        gc.unfreeze()


def test_the_collector_goes_on_after_an_error_and_stays_off_where_it_was() -> None:
    try:
        with pytest.raises(ValueError, match="no model"), collector_paused():
            raise ValueError("no model")
        assert gc.isenabled()
        gc.disable()
        with collector_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
        gc.unfreeze()
