"""obisgate explain, as it is typed; and its page, as a browser shows it."""

import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from .conftest import OBISGATE, PATIENCE_S, Line, obisgate

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
CONFIG = """
meters: {{house: {{source: "{source}", key: "env:TEST_KEY"}}}}
listeners: [{{tcp: 5020, any: {{meter: house, map: obis_plain}}}}]
"""


@pytest.fixture
def key_file(tmp_path: Path, key: str) -> str:
    path = tmp_path / "house.key"
    path.write_text(key + "\n")
    path.chmod(0o600)
    return str(path)


@pytest.fixture
def recorded(tmp_path: Path, key_file: str) -> Path:
    path = tmp_path / "meter.bin"
    arguments = ("--count", "2", "--seed", "5", "--at-once", "--to", str(path))
    done = obisgate("simulate", "kaifa-ma110m", *arguments, "--key-file", key_file)
    assert (done.returncode, done.stderr) == (0, "")
    return path


def fields(*arguments: str, **options: Any) -> tuple[list[dict[str, Any]], str]:
    done = obisgate("explain", "--format", "json", *arguments, **options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["fields"], done.stderr


def test_a_telegram_is_explained_down_to_the_unit(recorded: Path, key_file: str) -> None:
    done = obisgate("explain", "--key-file", key_file, "--language", "en", str(recorded))
    assert done.returncode == 0
    assert "bytes 0 to 299 of 600; --all" in done.stderr
    assert re.search(r"voltage L1 \(1-0:32\.7\.0\.255\) +2\d\d\.\d V", done.stdout)
    assert "35 → V" in done.stdout
    assert "nonce, built" in done.stdout
    assert "\x1b" not in done.stdout


def test_help_has_an_example() -> None:
    done = obisgate("explain", "--help")
    assert re.search(r"example:\n +obisgate explain", done.stdout)


def test_all_explains_the_whole_recording(recorded: Path, key_file: str) -> None:
    rows, said = fields("--all", "--key-file", key_file, str(recorded))
    assert len([row for row in rows if row["id"] == "plaintext"]) == 2
    assert said == ""
    covered = sum(b - a for row in rows if row["kind"] == "field" for a, b in row["ranges"])
    assert covered == 600


def test_hex_text_and_standard_input_are_read(recorded: Path, key: str) -> None:
    text = recorded.read_bytes()[:300].hex(" ")
    environment = os.environ | {"OBISGATE_KEY": key}
    rows, _ = fields("-", input=text, env=environment)
    assert rows == fields(input=text, env=environment)[0]
    assert any(row["id"] == "object.unit" for row in rows)


def test_without_a_key_it_goes_to_the_ciphertext(recorded: Path) -> None:
    rows, said = fields(str(recorded))
    assert "no key" in said
    assert [row["id"] for row in rows][-1] == "cipher.text"


def test_a_wrong_key_and_damage_are_remarks_and_exit_code_1(recorded: Path, tmp_path: Path) -> None:
    wrong = os.environ | {"OBISGATE_KEY": "00" * 16}
    done = obisgate("explain", "--language", "en", str(recorded), env=wrong)
    assert done.returncode == 1
    assert "refused: plaintext" in done.stdout
    octets = bytearray(recorded.read_bytes()[:300])
    octets[80] ^= 4
    (tmp_path / "damaged.bin").write_bytes(octets)
    done = obisgate("explain", "--language", "en", str(tmp_path / "damaged.bin"))
    assert done.returncode == 1
    assert "refused: frame" in done.stdout


@pytest.mark.parametrize(
    ("variables", "word"),
    [
        ({"LANG": "de_AT.UTF-8"}, "Prüfsumme"),
        ({"LANG": "de_AT.UTF-8", "LC_ALL": "C"}, "checksum"),
        ({"LANG": "fr_FR.UTF-8"}, "checksum"),
    ],
)
def test_the_language_is_that_of_the_system(
    recorded: Path, variables: dict[str, str], word: str
) -> None:
    clean = {name: value for name, value in os.environ.items() if name[:2] != "LC"}
    done = obisgate("explain", str(recorded), env=clean | {"PYTHONUTF8": "1"} | variables)
    assert word in done.stdout


def test_colours_are_for_terminals_that_want_them(recorded: Path) -> None:
    def shown(**variables: str) -> bytes:
        master, slave = os.openpty()
        environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM")}
        with subprocess.Popen(
            [OBISGATE, "explain", recorded],
            stdout=slave,
            stderr=subprocess.DEVNULL,
            env=environment | variables,
        ) as process:
            os.close(slave)
            output = b""
            try:
                while chunk := os.read(master, 65536):
                    output += chunk
            except OSError:
                pass
            process.wait(timeout=PATIENCE_S)
        os.close(master)
        return output

    assert b"\x1b[" in shown(TERM="xterm")
    assert b"\x1b[" not in shown(TERM="xterm", NO_COLOR="1")
    assert b"\x1b[" not in shown(TERM="dumb")


# --- live ------------------------------------------------------------------------------------


def test_the_next_telegram_of_a_meter_of_the_config_is_explained(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.format(source="simulator:kaifa-ma110m"))
    rows, said = fields("--config", str(config), "--meter", "house")
    assert "waiting for a telegram from simulated kaifa-ma110m" in said
    assert any(row["id"] == "object.unit" for row in rows)


def test_a_serial_port_is_listened_to_until_a_whole_telegram_came(
    recorded: Path, key_file: str
) -> None:
    line = Line()
    process = subprocess.Popen(
        [
            OBISGATE,
            "explain",
            "--source",
            f"serial:{line.device}?parity=none",
            "--key-file",
            key_file,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    octets = recorded.read_bytes()
    try:
        for _ in range(100):
            line.write(octets[200:] if process.poll() is None else b"")
            try:
                output, _ = process.communicate(timeout=0.3)
            except subprocess.TimeoutExpired:
                continue
            break
    finally:
        process.kill()
    assert process.returncode == 0
    assert "DataNotification" in output


def test_silence_ends_with_a_plain_word() -> None:
    line = Line()
    done = obisgate(
        "explain", "--source", f"serial:{line.device}?parity=none", "--timeout", "500ms"
    )
    assert done.returncode == 1
    assert "no whole telegram came in 0.5 s, not one byte" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--source", "serial:/dev/no-such-port"), "does not exist"),
        (("--source", "seriel:/dev/ttyUSB0"), "did you mean"),
        (("--source", "simulator:kaifa-ma110m", "--meter", "house"), "leave out"),
        (("--source", "simulator:kaifa-ma110m", "--timeout", "soon"), "--timeout"),
        (("telegram.hex", "--meter", "house"), "a file is not live"),
        (("no-such-file.hex",), "cannot be read"),
        (("--config", "no-such-config.yaml"), "no such file"),
    ],
)
def test_wrong_use_says_what_is_wrong(arguments: tuple[str, ...], part: str) -> None:
    done = obisgate("explain", *arguments)
    assert done.returncode == 2
    assert part in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_meter_is_named_with_the_nearest(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.format(source="simulator:kaifa-ma110m"))
    done = obisgate("explain", "--config", str(config), "--meter", "hause")
    assert done.returncode == 2
    assert "house" in done.stderr


def test_nothing_to_explain_is_said() -> None:
    done = obisgate("explain", input="")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no bytes" in done.stderr


# --- redaction -------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["text", "json", "html", "markdown"])
def test_a_redacted_dump_is_the_same_for_every_meter_of_a_model(form: str, tmp_path: Path) -> None:
    shown = []
    for seed, key in (("1", "00" * 16), ("2", "A1" * 16)):
        path = tmp_path / f"{seed}.bin"
        environment = os.environ | {"OBISGATE_KEY": key}
        arguments = ("kaifa-ma309m", "--count", "1", "--seed", seed, "--at-once")
        obisgate("simulate", *arguments, "--to", str(path), env=environment)
        done = obisgate("explain", "--redact", "--format", form, str(path), env=environment)
        assert done.returncode == 0
        shown.append(done.stdout)
        assert "1-0:1.7.0.255" in done.stdout
    assert shown[0] == shown[1]


# --- the page --------------------------------------------------------------------------------


class Page(HTMLParser):
    """What of the page a test looks at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.rows: dict[str, dict[str, str]] = {}
        self.runs: dict[str, str] = {}
        self.foreign: list[str] = []
        self._run = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if "id" in found:
            self.ids.append(found["id"])
        if "href" in found:
            self.links.append(found["href"])
        self.foreign += [found[name] for name in ("src", "action") if name in found]
        if tag == "tr" and "id" in found:
            self.rows[found["id"]] = found
        if "data-leaf" in found:
            self._run = found["id"]
            self.runs[self._run] = ""

    def handle_data(self, data: str) -> None:
        if self._run:
            self.runs[self._run] += data

    def handle_endtag(self, _tag: str) -> None:
        self._run = ""


@pytest.fixture
def page(recorded: Path, key_file: str, tmp_path: Path) -> Path:
    path = tmp_path / "telegram.html"
    arguments = ("--format", "html", "--language", "de", "--to", str(path), str(recorded))
    done = obisgate("explain", "--key-file", key_file, *arguments)
    assert (done.returncode, done.stdout) == (0, "")
    return path


def test_the_page_shows_all_bytes_and_every_link_leads_somewhere(
    page: Path, recorded: Path
) -> None:
    text = page.read_text(encoding="utf-8")
    found = Page(text)
    assert len(found.ids) == len(set(found.ids))
    assert {link[1:] for link in found.links} <= set(found.ids)
    assert not found.foreign
    assert "://" not in text
    wire = [shown for name, shown in found.runs.items() if name.startswith("w")]
    assert bytes.fromhex(" ".join(wire)) == recorded.read_bytes()[:300]


def test_rows_and_runs_of_bytes_name_the_same_places(page: Path) -> None:
    found = Page(page.read_text(encoding="utf-8"))
    for name, row in found.rows.items():
        if row["class"] == "field":
            assert row["data-leaves"] == name[1:]
            starts = {part.split("-")[0] for part in row["data-ranges"].split()}
            runs = {r.split("-")[0][1:] for r in found.runs if r.endswith(f"-{name[1:]}")}
            assert starts == runs
        else:
            assert row["data-leaves"]


def test_the_page_holds_nothing_of_the_key(page: Path, key: str) -> None:
    text = re.sub(r"[^0-9A-F]", "", page.read_text(encoding="utf-8").upper())
    assert key not in text


def test_what_a_meter_sends_is_escaped(tmp_path: Path) -> None:
    from gateway.cli.explained import as_html
    from gateway.telegram import Layer
    from gateway.telegram.anatomy import Anatomy, Change, Field, Kind

    value = "<script>alert(1)</script>"
    field = Field(
        "object.text", Kind.FIELD, Layer.LAYOUT, 0, ((0, 1),), "41", "41", Change.METER, "", value
    )
    assert value not in as_html(Anatomy(1, (field,)), "en")


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is missing: sudo apt-get install chromium")
def test_a_field_and_its_bytes_light_up_together(page: Path, tmp_path: Path) -> None:
    found = Page(page.read_text(encoding="utf-8"))
    shared = next(
        name
        for name, row in found.rows.items()
        if row["class"] == "group" and "254 265-" in row["data-ranges"] and row["data-leaves"]
    )
    probe = f"""<script>
const lit = () => [...document.querySelectorAll(".lit")].map(e => e.id).join(" ");
const said = [];
document.querySelector("#{shared} a").focus();
said.push(lit());
document.querySelector("#w0-1").dispatchEvent(new PointerEvent("pointerover", {{bubbles: true}}));
said.push(lit());
document.body.innerHTML = "<pre>" + said.join("|") + "</pre>";
</script></body>"""
    text = page.read_text(encoding="utf-8").replace("</body>", probe)
    (tmp_path / "probe.html").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [CHROMIUM or "", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
         f"--user-data-dir={tmp_path / 'browser'}", (tmp_path / "probe.html").as_uri()],
        capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False,
    )  # fmt: skip
    match = re.search(r"<pre>(.*)\|(.*)</pre>", done.stdout)
    assert match, done.stderr
    of_row, of_bytes = (set(part.split()) for part in match.groups())
    leaves = set(found.rows[shared]["data-leaves"].split())
    assert of_row == {shared} | {run for run in found.runs if re.split(r"[wp-]", run)[-1] in leaves}
    assert of_bytes == {"w0-1", "f1"}
