import gc

import pytest

from ucuie.startup import collector_paused, is_interrupted


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


def test_ctrl_c_is_found_behind_other_errors() -> None:
    behind, beside, loop = ImportError(), OSError(), ValueError()
    behind.__cause__ = beside.__context__ = KeyboardInterrupt()
    loop.__context__ = OSError()
    loop.__context__.__context__ = loop
    found = [is_interrupted(error) for error in (KeyboardInterrupt(), behind, beside, loop, None)]
    assert found == [True, True, True, False, False]
