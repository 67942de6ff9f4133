"""Passwords out of files and the environment: never shown, and each cause in words."""

from pathlib import Path

import pytest

from gateway.keys import read_password
from gateway.located import ConfigError


@pytest.fixture
def password(tmp_path: Path) -> Path:
    path = tmp_path / "mqtt.password"
    path.touch(mode=0o600)
    path.write_text("geheim\r\n")
    return path


def refusal(written: str, folder: Path) -> str:
    with pytest.raises(ConfigError) as problem:
        read_password(written, folder)
    assert "geheim" not in str(problem.value)
    return str(problem.value)


def test_a_password_is_a_line_of_a_file_a_variable_or_a_credential(
    password: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_password("file:mqtt.password", password.parent) == "geheim"
    assert read_password(f"file:{password}", Path("/nowhere")) == "geheim"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(password.parent))
    password.chmod(0o440)  # as systemd hands it over
    assert read_password("credential:mqtt.password", Path("/nowhere")) == "geheim"
    monkeypatch.setenv("TEST_PASSWORD", " with spaces ")
    assert read_password("env:TEST_PASSWORD", password.parent) == " with spaces "


@pytest.mark.parametrize("written", ["geheim", "", "File:geheim", "env", "vault:geheim"])
def test_a_password_in_the_clear_is_refused(written: str, tmp_path: Path) -> None:
    expected = (
        "a password stands in a file, a variable or a credential: "
        "file:PATH, env:NAME or credential:NAME"
    )
    assert refusal(written, tmp_path) == expected


def test_a_file_that_others_can_read_is_refused(password: Path) -> None:
    password.chmod(0o640)
    assert refusal("file:mqtt.password", password.parent) == (
        f"password file {password} can be read by others: chmod 600 {password}"
    )


def test_what_is_no_password_is_said(password: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    folder = password.parent
    password.write_text("\n")
    assert refusal("file:mqtt.password", folder) == f"password file {password} is empty"
    password.write_bytes(b"\xff\xfe")
    assert refusal("file:mqtt.password", folder) == (
        f"password file {password} is no text: save it as UTF-8"
    )
    assert refusal("file:other", folder) == f"password file {folder}/other does not exist"
    assert refusal("file:.", folder) == f"password file {folder} cannot be read: Is a directory"
    assert refusal("env:NOT_SET_HERE", folder) == "environment variable NOT_SET_HERE is not set"
    assert refusal("credential:mqtt.password", folder).startswith(
        "credential mqtt.password is handed over by systemd, which has not started this"
    )
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    assert refusal("credential:mqtt.password", folder) == (
        "credential mqtt.password is no text: save it as UTF-8"
    )
    assert refusal("credential:../x", folder) == (
        "'../x' is no name of a credential; one looks like house.key"
    )
    password.write_text("\n")
    assert refusal("credential:mqtt.password", folder) == "credential mqtt.password is empty"
    monkeypatch.setenv("TEST_PASSWORD", "")
    assert refusal("env:TEST_PASSWORD", folder) == "environment variable TEST_PASSWORD is empty"
