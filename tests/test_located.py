"""Located: YAML values that know their place, and errors that say it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.located import ConfigError, Located, load, nearest


def value(text: str) -> Located:
    """Return the value behind `key: ` in line 2."""
    (pair,) = load(f"# a comment\nkey: {text}\n", "house.yaml").entries()
    return pair[1]


def refusal(marked: str) -> str:
    """Read text in which » stands before what is wrong; return what the error says of it."""
    before, mark, after = marked.partition("»")
    assert mark, "the test marks no place"
    line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    with pytest.raises(ConfigError) as caught:
        load(before + after, "house.yaml").mapping(("meters", "listeners"), ("meters",))
    where, _, message = str(caught.value).partition(": ")
    assert where == f"house.yaml:{line}:{column}", caught.value
    return message


@pytest.mark.parametrize(
    ("marked", "message"),
    [
        ("»", "the file is empty"),
        ("»\n\n# nothing\n", "the file is empty"),
        ("---\n»", "expected 'word: value' lines, found nothing"),
        ("»[1]", "expected 'word: value' lines, found a list"),
        ("  »house", "expected 'word: value' lines, found one value"),
        ("»listeners: 1", "'meters' is missing here"),
        ("meters: 1\n»meters: 2", "'meters' comes twice"),
        ("meters: 1\n»metres: 2", "unknown word 'metres', did you mean 'meters'?"),
        ("meters: 1\n»x: 2", "unknown word 'x'; known are meters, listeners"),
        ("meters: 1\n»[x]: 2", "expected one value, found a list"),
        ("meters: 1\n»{x: 1}: 2", "expected one value, found 'word: value' lines"),
        ("meters: 1\n»\tlisteners: 2", "found character '\\t' that cannot start any token"),
        ("meters: 'x\n»", "found unexpected end of stream"),
        ("meters: [1, 2\nlisteners»: 3\n", "expected ',' or ']', but got ':'"),
        (
            "meters: »*house\n",
            "found undefined alias: a value that starts with * & or ! needs quotes",
        ),
    ],
)
def test_an_error_points_at_what_is_wrong(marked: str, message: str) -> None:
    assert refusal(marked) == message


def test_a_mapping_has_its_values_by_word_in_the_order_of_the_file() -> None:
    words = load("b: 1\na: 2\n", "house.yaml").mapping(("a", "b", "c"), ("a",))
    assert [(word, value.text()) for word, value in words.items()] == [("b", "1"), ("a", "2")]


def test_keys_of_a_free_mapping_know_their_places_too() -> None:
    ((key, inner),) = load("\n  house: {}\n", "house.yaml").entries()
    assert key.text() == "house"
    assert str(key.error("is no place")) == "house.yaml:2:3: is no place"
    assert inner.entries() == []


def test_a_list_has_its_items_in_order() -> None:
    assert [item.text() for item in value("[a, 2, '']").items()] == ["a", "2", ""]
    assert value("[]").items() == []


@pytest.mark.parametrize(
    ("text", "found"), [("5", "one value"), ("", "nothing"), ("{a: 1}", "'word: value' lines")]
)
def test_what_is_no_list_is_refused(text: str, found: str) -> None:
    with pytest.raises(ConfigError, match=rf"^house\.yaml:2:\d+: expected a list, found {found}$"):
        value(text).items()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("abc", "abc"),
        ("1.50", "1.50"),
        ("0x1F", "0x1F"),
        ("'1'", "1"),
        ("yes", "yes"),
        ("2024-07-01", "2024-07-01"),
        ("", ""),
        ("|\n  two\n  lines", "two\nlines\n"),
    ],
)
def test_a_text_is_what_was_written(text: str, found: str) -> None:
    assert value(text).text() == found


@pytest.mark.parametrize("text", ["[a]", "{a: 1}"])
def test_what_is_no_single_value_is_no_text(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^house\.yaml:2:6: expected one value, found "):
        value(text).text()


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), ("-5", -5), ("100", 100), ("0x10", 16), ("'7'", 7), ("+7", 7)]
)
def test_a_whole_number_is_decimal_or_hexadecimal(text: str, number: int) -> None:
    assert value(text).integer(-5, 100) == number


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-6", "-6 is not between -5 and 100"),
        ("101", "101 is not between -5 and 100"),
        ("1.0", "'1.0' is no whole number"),
        ("ten", "'ten' is no whole number"),
        ("''", "'' is no whole number"),
        ("[1]", "expected one value, found a list"),
    ],
)
def test_another_number_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        value(text).integer(-5, 100)
    assert str(caught.value) == f"house.yaml:2:6: {message}"


@pytest.mark.parametrize("text", ["9" * 5000, "0x" + "f" * 5000, "-0b" + "1" * 20_000])
def test_a_number_of_any_length_is_refused_with_a_config_error(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^house\.yaml:2:6: "):
        value(f"'{text}'").integer(0, 65535)


@pytest.mark.parametrize(
    ("text", "number"),
    [("5", 5), ("-5", -5), ("0x10", 16), ("1.5", 1.5), ("-1e3", -1000.0), ("3.0", 3.0)],
)
def test_a_number_is_an_integer_where_it_is_written_as_one(text: str, number: float) -> None:
    found = value(text).number()
    assert found == number
    assert type(found) is type(number)


@pytest.mark.parametrize("text", ["x", "''", "1,5", "0x"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^house\.yaml:2:6: '.*' is no number$"):
        value(text).number()


def test_a_choice_is_one_of_its_words() -> None:
    assert value("tcp").choice(("tcp", "serial"), "source") == "tcp"


def test_another_choice_is_refused_with_the_nearest_word() -> None:
    with pytest.raises(ConfigError) as caught:
        value("seriel").choice(("tcp", "serial"), "source")
    assert str(caught.value) == "house.yaml:2:6: unknown source 'seriel', did you mean 'serial'?"


def test_the_nearest_word_is_named_or_a_few_or_none() -> None:
    assert nearest("tcpp", ["tcp", "serial"]) == ", did you mean 'tcp'?"
    assert nearest("zzz", ["tcp", "serial"]) == "; known are tcp, serial"
    assert nearest("zzz", [f"word{n}" for n in range(20)]).startswith("; known are word0, word1")
    assert nearest("zzz", [f"word{n}" for n in range(21)]) == ""


@pytest.mark.parametrize("text", ["a: \x00", "a: \x1b[0m", "a: \ud800"])
def test_a_character_that_yaml_forbids_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^house\.yaml[:\d]*: .*that YAML does not allow"):
        load(text, "house.yaml")


def test_the_place_of_an_error_counts_characters_not_bytes() -> None:
    assert refusal("meters: 'Zähler ü'\n»lïsteners: 1").startswith("unknown word 'lïsteners'")
    with pytest.raises(ConfigError, match=r"^house\.yaml:1:13: wrong$"):
        raise load("[ä, 'ö', ü, b]", "house.yaml").items()[3].error("wrong")


@settings(deadline=None)
@given(text=st.text(max_size=100))
def test_any_text_is_loaded_or_refused_with_a_config_error(text: str) -> None:
    try:
        said = str(load(text, "house.yaml").error("x"))
    except ConfigError as error:
        said = str(error)
    assert said.startswith("house.yaml:")


KEY_DIGITS = "8C1F0A77E2B94D3566D0F1A2B3C4D5E6"


@pytest.mark.parametrize(
    "written",
    [
        KEY_DIGITS,
        KEY_DIGITS[:-1],
        KEY_DIGITS * 2,
        " ".join(KEY_DIGITS[i : i + 2] for i in range(0, 32, 2)),
        ", ".join(f"0x{KEY_DIGITS[i : i + 2]}" for i in range(0, 32, 2)),
        " ".join(KEY_DIGITS[i : i + 4] for i in range(0, 32, 4)),
        "-".join(KEY_DIGITS[i : i + 4] for i in range(0, 32, 4)),
        " ".join(KEY_DIGITS[i : i + 8] for i in range(0, 32, 8)),
        ", ".join(KEY_DIGITS[i : i + 16] for i in range(0, 32, 16)),
    ],
)
@pytest.mark.parametrize("behind", [" does not exist", " cannot be read", ": bad", "'", "…"])
def test_what_looks_like_a_key_is_hidden_and_nothing_else(written: str, behind: str) -> None:
    shown = str(ConfigError(f"file {written}{behind}"))
    assert shown == f"file (hidden: it looks like a key){behind}"


@pytest.mark.parametrize(
    "text",
    [
        "disk/550e8400-e29b-41d4-a716-446655440000/config.yaml:1:1: the file is empty",
        "[2001:0db8:85a3:0000:0000:8a2e:0370:7334]:5020 is no address",
        "usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0 does not exist",
        "0123456789abcdef is short",
    ],
)
def test_what_is_no_key_is_shown(text: str) -> None:
    assert str(ConfigError(text)) == text
