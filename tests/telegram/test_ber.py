"""BER lengths, as the simulator writes them and as nobody should."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator import frames as encode
from gateway.telegram import ber


@given(count=st.integers(0, 0xFFFF), before=st.binary(max_size=4), behind=st.binary(max_size=4))
def test_any_length_is_read_back_with_the_place_behind_it(
    count: int, before: bytes, behind: bytes
) -> None:
    written = encode.length(count)
    octets = before + written + behind
    assert ber.length(octets, len(before)) == (count, len(before) + len(written))


def test_a_length_may_be_written_longer_than_it_needs_to_be() -> None:
    assert ber.length(bytes.fromhex("8105"), 0) == (5, 2)
    assert ber.length(bytes.fromhex("820005"), 0) == (5, 3)


@pytest.mark.parametrize("octets", ["", "81", "82", "8201", "80", "83000001", "ff", "fe0e"])
def test_a_length_that_breaks_off_or_is_too_long_is_none(octets: str) -> None:
    assert ber.length(bytes.fromhex(octets), 0) is None
    assert ber.length(b"\0" + bytes.fromhex(octets), 1) is None
