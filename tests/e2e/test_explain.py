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
TIROL = bytes.fromhex((Path(__file__).parents[2] / "docs/tirol.hex").read_text())
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
    # Not the C library's environment, into which readline puts COLUMNS.
    environment = os.environ | {}
    arguments = ("--key-file", key_file, "--language", "en", str(recorded))
    done = obisgate("explain", *arguments, env=environment)
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
    assert "no whole telegram came in 0.5 s\n" in done.stderr
    assert "no byte came in 0.5 s: is the customer interface enabled" in done.stderr
    assert done.stdout == ""


def heard(octets: bytes, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Explain what comes from a serial port that sends the same again and again, for 2 s."""
    line = Line()
    source = f"serial:{line.device}?parity=none"
    process = subprocess.Popen(
        [
            OBISGATE,
            "explain",
            "--language",
            "en",
            "--source",
            source,
            "--timeout",
            "2s",
            *arguments,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while process.poll() is None:
            line.write(octets)
            try:
                output, errors = process.communicate(timeout=0.9)
            except subprocess.TimeoutExpired:
                continue
            return subprocess.CompletedProcess(process.args, process.returncode, output, errors)
    finally:
        process.kill()
        line.close()
    raise AssertionError("it ended before anything was sent")


@pytest.mark.parametrize("is_redacted", [False, True])
def test_damage_on_the_line_is_explained_when_no_good_telegram_comes(is_redacted: bool) -> None:
    octets = bytearray(TIROL)
    octets[100] ^= 4
    octets[280] ^= 4
    done = heard(bytes(octets), *(["--redact"] if is_redacted else []))
    assert done.returncode == 1
    assert "no whole telegram came in 2 s\n" in done.stderr
    assert "none arrives whole: bytes are lost or changed" in done.stderr
    assert "refused: frame, byte 254" in done.stdout
    assert ("checksum 0x0f" in done.stdout) != is_redacted
    assert ("DB 08 4B 46 4D" in done.stdout) != is_redacted


def test_frames_of_another_protocol_are_explained_and_said_to_be_such() -> None:
    body = bytes.fromhex("53 F0 5B 78 56 34 12") + bytes(88)
    done = heard(bytes([0x68, 95, 95, 0x68]) + body + bytes([sum(body) & 0xFF, 0x16]), "--redact")
    assert done.returncode == 1
    assert "no telegram of a kind we know (address 0xf0 is not broadcast" in done.stderr
    assert "refused: transport, byte 5" in done.stdout
    assert "78" not in re.findall(r"\b[0-9A-F]{2}\b", done.stdout)


LAYOUT = """
  {name}:
    makers: {makers}
    items: |
      clock
      1-0:1.8.0 u32 Wh
      1-0:2.8.0 u32 Wh
      - u32
      - u32
      1-0:1.7.0 u32 W
      1-0:2.7.0 u32 W
      - u32
      - u32
"""


@pytest.mark.parametrize("is_live", [True, False])
@pytest.mark.parametrize(
    ("makers", "prescribed"), [("ISK", ""), ("XYZ", "layout: mine")], ids=["known", "prescribed"]
)
def test_the_layouts_of_the_config_are_used(
    tmp_path: Path, is_live: bool, makers: str, prescribed: str
) -> None:
    path = tmp_path / "vienna.bin"
    environment = os.environ | {"OBISGATE_KEY": os.environ["TEST_KEY"]}
    arguments = ("iskra-am550-wienernetze", "--count", "2", "--at-once", "--to", str(path))
    assert obisgate("simulate", *arguments, env=environment).returncode == 0
    config = tmp_path / "config.yaml"
    config.write_text(
        f"meters:\n  house: {{source: 'recording:{path}', key: 'env:TEST_KEY', {prescribed}}}\n"
        "listeners: [{tcp: 5020, any: {meter: house, map: obis_plain}}]\n"
        f"layouts:{LAYOUT.format(name='mine', makers=makers)}"
    )
    named = ("--config", str(config), "--meter", "house")
    rows, said = fields(*named, *([] if is_live else [str(path)]))
    assert [row["value"] for row in rows if row["id"] == "list"] == ["mine"]
    assert len([row for row in rows if row["id"] == "object.unread"]) == 4
    assert ("waiting" in said) == is_live


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--source", "serial:/dev/no-such-port"), "does not exist"),
        (("--source", "seriel:/dev/ttyUSB0"), "did you mean"),
        (("--source", "simulator:kaifa-ma110m", "--meter", "house"), "leave out"),
        (("--source", "simulator:kaifa-ma110m", "--timeout", "soon"), "--timeout"),
        (("telegram.hex", "--source", "simulator:kaifa-ma110m"), "a file is not live"),
        (("telegram.hex", "--timeout", "abc"), "--timeout"),
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
    if form == "json":
        assert "Look before sending" in json.loads(shown[0])["redacted"]
    else:
        assert "Look before" in shown[0]
    assert form == "html" or "Redacted" in shown[0].splitlines()[0] + shown[0].splitlines()[1]


def test_what_a_redacted_dump_still_shows_stands_in_the_help() -> None:
    said = " ".join(obisgate("explain", "--help").stdout.split())
    assert "framing, HDLC addresses that many meters share, maker's letters" in said
    assert "look before sending" in said


# --- the width ---------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [None, "100", "140"])
@pytest.mark.parametrize("language", ["en", "de"])
def test_text_is_wrapped_to_the_terminal_with_a_hanging_indent(
    columns: str | None, language: str, recorded: Path, key_file: str
) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
    environment |= {"COLUMNS": columns} if columns else {}
    arguments = ("--key-file", key_file, "--language", language, str(recorded))
    lines = obisgate("explain", *arguments, env=environment).stdout.splitlines()
    assert 90 < max(map(len, lines)) <= int(columns or 100)
    assert any(line.startswith(" " * 54) and line.strip() for line in lines)


def test_german_text_and_page_have_decimal_commas_and_json_has_points(
    recorded: Path, key_file: str
) -> None:
    arguments = ("--key-file", key_file, "--language", "de", str(recorded))
    for form in ("text", "html", "markdown"):
        shown = obisgate("explain", "--format", form, *arguments).stdout
        assert re.search(r"\b2\d\d,\d V", shown)
        assert "1-0:32.7.0.255" in shown
    rows, _ = fields(*arguments)
    (volts,) = [row for row in rows if row.get("label") == "1-0:32.7.0.255"]
    assert re.fullmatch(r"2\d\d\.\d V", volts["value"])


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


def dumped(text: str, folder: Path, *options: str) -> tuple[str, ...]:
    """Return the two halves of what a page's probe says."""
    (folder / "probe.html").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [CHROMIUM or "", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", *options,
         f"--user-data-dir={folder / 'browser'}", (folder / "probe.html").as_uri()],
        capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False,
    )  # fmt: skip
    match = re.search(r"<pre>(.*)\|(.*)</pre>", done.stdout)
    assert match, done.stderr
    return match.groups()


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
    of_row, of_bytes = (set(part.split()) for part in dumped(text, tmp_path))
    leaves = set(found.rows[shared]["data-leaves"].split())
    assert of_row == {shared} | {run for run in found.runs if re.split(r"[wp-]", run)[-1] in leaves}
    assert of_bytes == {"w0-1", "f1"}


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is missing: sudo apt-get install chromium")
@pytest.mark.parametrize("width", [500, 900, 1100, 1300])
def test_the_page_never_scrolls_sideways(page: Path, tmp_path: Path, width: int) -> None:
    probe = """<script>
const root = document.documentElement;
document.body.innerHTML = "<pre>" + root.scrollWidth + "|" + innerWidth + "</pre>";
</script></body>"""
    text = page.read_text(encoding="utf-8").replace("</body>", probe)
    found = [int(part) for part in dumped(text, tmp_path, f"--window-size={width},800")]
    assert 0 < found[0] <= found[1]
    assert abs(found[1] - width) < 40
