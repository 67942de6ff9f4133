"""What MQTT readers publish, back to bytes."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sources.payloads import ENCODINGS, octets_of
from tests.sources.ear import simulated

TELEGRAM = simulated().push().telegram


@given(st.binary(max_size=31))
def test_every_encoding_brings_the_bytes_back(octets: bytes) -> None:
    assert octets_of(octets, "binary") == octets
    assert octets_of(octets.hex().encode(), "hex") == octets
    assert octets_of(base64.b64encode(octets), "base64") == octets


@pytest.mark.parametrize(
    "payload",
    [
        TELEGRAM.hex().encode(),
        TELEGRAM.hex().upper().encode(),
        TELEGRAM.hex(" ").encode() + b"\r\n",
        TELEGRAM.hex("\n", 16).encode(),
    ],
)
def test_hex_may_be_upper_case_with_spaces_and_line_ends(payload: bytes) -> None:
    assert octets_of(payload, "hex") == TELEGRAM


def test_base64_may_have_line_ends() -> None:
    assert octets_of(base64.encodebytes(TELEGRAM), "base64") == TELEGRAM


@pytest.mark.parametrize(
    ("payload", "encoding", "expected"),
    [
        (b"68F", "hex", "is not an even number of hex digits, as encoding=hex says"),
        (b"68-FA", "hex", "is not an even number of hex digits, as encoding=hex says"),
        (TELEGRAM, "hex", "is not an even number of hex digits, as encoding=hex says"),
        (b"aPo", "base64", "is not base64, as encoding=base64 says"),
        (TELEGRAM, "base64", "is not base64, as encoding=base64 says"),
        (b'{"raw":"68FA"}', "base64", "is not base64, as encoding=base64 says"),
        (TELEGRAM.hex().encode(), "binary", "is hex digits, not bytes: encoding=hex reads them"),
    ],
)
def test_a_payload_that_is_none_says_why(payload: bytes, encoding: str, expected: str) -> None:
    with pytest.raises(ValueError, match=r".") as problem:
        octets_of(payload, encoding)
    assert str(problem.value) == expected


@given(st.binary(), st.sampled_from(ENCODINGS))
def test_any_payload_gives_bytes_or_one_sentence(payload: bytes, encoding: str) -> None:
    try:
        octets_of(payload, encoding)
        said = ""
    except ValueError as problem:
        said = str(problem)
    assert said == "" or said.startswith("is ")
