"""What is tried on a line that nobody knows, in which order."""

from gateway.line_settings import LINE_SETTINGS, candidates


def texts(baud: int | None = None, parity: str | None = None) -> list[str]:
    return [str(each) for each in candidates(baud, parity)]


def test_wired_mbus_is_tried_first_then_optical_heads_then_p1() -> None:
    assert texts()[:3] == ["2400 baud 8E1", "9600 baud 8N1", "115200 baud 8N1"]


def test_each_setting_is_tried_once() -> None:
    assert len(set(texts())) == len(LINE_SETTINGS)


def test_what_the_user_says_holds_in_all_that_is_tried() -> None:
    assert texts(baud=2400) == ["2400 baud 8E1", "2400 baud 8N1"]
    assert texts(parity="even") == ["2400 baud 8E1", "9600 baud 8E1"]
    assert texts(baud=115200, parity="none") == ["115200 baud 8N1"]


def test_a_setting_that_no_known_meter_has_is_tried_as_it_was_said() -> None:
    assert texts(baud=19200, parity="odd") == ["19200 baud 8O1"]
    assert texts(baud=19200) == ["19200 baud 8E1", "19200 baud 8N1"]
    assert texts(parity="odd") == ["2400 baud 8O1", "9600 baud 8O1", "115200 baud 8O1"]
