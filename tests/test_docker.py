"""docker/: no engine runs here, so what it would copy, install and start is done without one."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gateway.config import Config

PROJECT = Path(__file__).parents[1]
FOLDER = PROJECT / "docker"
DOCKERFILE = re.sub(r"\\\n\s*", "", (FOLDER / "Dockerfile").read_text())
COMPOSE = (FOLDER / "compose.yaml").read_text()
PATIENCE_S = 300.0


def instructions(word: str) -> list[str]:
    return re.findall(rf"^{word} (.+)$", DOCKERFILE, re.MULTILINE)


def copied() -> list[tuple[str, str]]:
    """What is copied from the project, and where to."""
    lines = [line.split() for line in instructions("COPY") if "--from" not in line]
    return [(source, words[-1]) for words in lines for source in words[:-1]]


def test_all_that_is_copied_exists_and_is_sent_to_the_engine() -> None:
    sent = re.findall(r"^!(.+)$", (PROJECT / ".dockerignore").read_text(), re.MULTILINE)
    assert {source for source, _ in copied()} == set(sent)
    for source, _ in copied():
        assert (PROJECT / source).exists(), source


def test_what_it_runs_as_has_no_rights() -> None:
    assert instructions("USER") == ["1000:1000"]
    service = yaml.safe_load(COMPOSE)["services"]["obisgate"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service


def test_the_demo_of_compose_is_a_good_config() -> None:
    service = yaml.safe_load(COMPOSE)["services"]["obisgate"]
    build = service["build"]
    assert (FOLDER / build["context"] / build["dockerfile"]).resolve() == FOLDER / "Dockerfile"
    mounted = service["volumes"][0].split(":")
    assert (FOLDER / mounted[0]).is_file()
    assert mounted[1] == json.loads(instructions("CMD")[-1])[-1]
    config = Config.read(FOLDER / mounted[0])
    assert (config.warnings, len(config.listeners)) == ([], 1)
    inside = service["ports"][0].split(":")[-1]
    assert str(config.listeners[0].port) == inside == instructions("EXPOSE")[0]


def test_what_compose_shows_as_a_comment_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = re.sub(r"^( *)# (?=\w[\w.]*:|  )(?!With )", r"\1", COMPOSE, flags=re.MULTILINE)
    compose = yaml.safe_load(shown[shown.index("services:") :])
    service = compose["services"]["obisgate"]
    (secret,) = service["secrets"]
    assert secret in compose["secrets"]
    device = service["devices"][0].split(":")[-1]
    text = (FOLDER / "config.yaml").read_text()
    text = re.sub(r"source: \S+", f"source: serial:{device}", text).replace("# key:", "key:")
    (tmp_path / "config.yaml").write_text(text)
    (tmp_path / secret).write_text("00" * 16)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    config = Config.read(tmp_path / "config.yaml")
    assert config.meters["house"].source.describe().startswith(f"serial port {device}")


def test_its_commands_install_start_and_ask_the_gateway_in_a_clean_environment(
    tmp_path: Path,
) -> None:
    """Its RUN, ENTRYPOINT, CMD and HEALTHCHECK, with folders of the test for those of the image."""
    source, venv = tmp_path / "source", tmp_path / "opt" / "obisgate"
    source.mkdir()
    for name, target in copied():
        place = source / (target if not target.startswith("/") else target[1:])
        place = place / Path(name).name if target == "./" else place
        place.parent.mkdir(parents=True, exist_ok=True)
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(PROJECT / name, place)
    folders = {"/opt/obisgate": venv, "/etc/obisgate": source / "etc/obisgate"}
    for path in ("/run/secrets", "/run/obisgate", "/var/lib/obisgate"):
        folders[path] = tmp_path / path[1:]

    def here(text: str) -> str:
        for path, place in folders.items():
            text = text.replace(path, str(place))
        return text

    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    for name in ("PIP_CACHE_DIR", "PIP_INDEX_URL", "PIP_CONFIG_FILE", "XDG_CACHE_HOME"):
        environment |= {name: os.environ[name]} if name in os.environ else {}
    commands = [line for line in instructions("RUN") if line.startswith("python")]
    assert commands[0] == "python -m venv /opt/obisgate"
    first = here(commands[0]).split()
    subprocess.run([sys.executable, *first[1:]], check=True, timeout=PATIENCE_S)
    environment["PATH"] = f"{venv}/bin:{environment['PATH']}"
    for command in commands[1:]:
        subprocess.run(
            here(command).split(), cwd=source, env=environment, check=True, timeout=PATIENCE_S
        )  # fmt: skip

    asked = "import aiomqtt, uvloop"
    subprocess.run([venv / "bin" / "python", "-c", asked], check=True, timeout=PATIENCE_S)

    config = source / "etc/obisgate/config.yaml"
    config.write_text(config.read_text().replace("0.0.0.0:5020", "127.0.0.1:0"))
    for line in instructions("ENV"):
        for name, value in re.findall(r"(\w+_DIRECTORY)=(\S+)", line):
            environment[name] = here(value)
    for path in ("/run/obisgate", "/var/lib/obisgate"):
        folders[path].mkdir(parents=True)
    start = [*json.loads(instructions("ENTRYPOINT")[0]), *json.loads(instructions("CMD")[-1])]
    asked = json.loads(re.findall(r"CMD (\[.*\])$", instructions("HEALTHCHECK")[0])[0])
    program = venv / "bin" / start[0]
    with subprocess.Popen(
        [program, *map(here, start[1:])],
        cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout
            assert any(line.startswith("Ctrl-C") for line in process.stdout)
            done = subprocess.run(
                [program, *map(here, asked[1:])],
                cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
                timeout=PATIENCE_S,
            )  # fmt: skip
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=PATIENCE_S)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("house ")


def test_the_installation_by_hand_is_the_one_that_is_tested_here() -> None:
    page = (PROJECT / "docs" / "installation.md").read_text()
    by_hand = re.findall(r"^sudo /opt/obisgate/bin/(python -m pip .+)$", page, re.MULTILINE)
    tested = [line for line in instructions("RUN") if " pip " in line]
    quiet = " --quiet --disable-pip-version-check"
    assert sorted(by_hand) == sorted(line.replace(quiet, "") for line in tested)
