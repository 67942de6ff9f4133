"""What doctor shows: the rungs one by one as they are decided, or all of them as JSON."""

import json
import shutil
import sys
import textwrap
from collections.abc import Sequence

from gateway.diagnoses import described, filled
from gateway.ladder import Finding, State, first_broken, is_decided
from gateway.ladder_words import NAMES
from gateway.languages import Text

PLAIN_WIDTH = 100  # columns where there is no terminal
INDENT = " " * 7
BACK, CLEAR_LINE = "\r", "\x1b[K"

MARKS = {
    State.GOOD: Text("yes", "ja"),
    State.BROKEN: Text("no", "nein"),
    State.UNKNOWN: Text("?", "?"),
}
METER = Text("meter {name}: {source}", "Zähler {name}: {source}")
LISTENING = Text(
    "no gateway is running: listening to the meter itself, for {seconds} s at most",
    "es läuft kein Gateway: der Zähler selbst wird gehört, höchstens {seconds} s",
)
ASKING = Text(
    "asking the running gateway, pid {pid}", "das laufende Gateway wird gefragt, PID {pid}"
)
ALL_GOOD = Text("all rungs hold", "alle Sprossen halten")
UNDECIDED = Text(
    "in {seconds} s not everything could be seen: --for {longer}s looks longer",
    "in {seconds} s war nicht alles zu sehen: --for {longer}s sieht länger hin",
)


class AsText:
    """For people: a line a rung; on a terminal what is awaited counts up in the last line."""

    def __init__(self, language: str, time_s: float) -> None:
        self._language = language
        self._time_s = time_s
        self._said = 0
        self._is_terminal = sys.stdout.isatty()

    def begin(self, meter: str, source: str, pid: int | None) -> None:
        """Say who is asked: the gateway with that pid, None: the meter's source itself."""
        print(filled(METER, name=meter, source=described(source)).of(self._language))
        if pid is None:
            print(LISTENING.of(self._language).format(seconds=f"{self._time_s:g}"), flush=True)
        else:
            print(ASKING.of(self._language).format(pid=pid), flush=True)

    def progress(self, findings: Sequence[Finding], byte_count: int) -> None:
        """Print the rungs that have been found good since the last time."""
        while findings[self._said].state is State.GOOD:
            self._say(findings[self._said], is_first=False)
            self._said += 1
        if self._is_terminal:
            waits = findings[self._said]
            detail = (
                waits.text.of(self._language)
                or f"{byte_count} {'Bytes' if self._language == 'de' else 'bytes'}"
            )
            line = f"  …    {NAMES[waits.rung].of(self._language)} … {detail}"
            columns = shutil.get_terminal_size((PLAIN_WIDTH, 0)).columns
            print(f"{BACK}{line[: columns - 1]}{CLEAR_LINE}", end="", flush=True)

    def end(self, findings: Sequence[Finding]) -> None:
        """Print the rest; the first broken rung with what to do."""
        broken = first_broken(findings)
        # What was good when it was said may have broken since.
        changed = next((n for n, each in enumerate(findings) if each.state is not State.GOOD), 0)
        for finding in findings[min(self._said, changed) :]:
            self._say(finding, is_first=finding is broken)
        if self._is_terminal:
            print(f"{BACK}{CLEAR_LINE}", end="")
        if all(each.state is State.GOOD for each in findings):
            print(ALL_GOOD.of(self._language))
        elif not is_decided(findings):
            seconds, longer = f"{self._time_s:g}", f"{4 * self._time_s:g}"
            print(UNDECIDED.of(self._language).format(seconds=seconds, longer=longer))
        sys.stdout.flush()

    def _say(self, finding: Finding, *, is_first: bool) -> None:
        language = self._language
        mark = MARKS[finding.state].of(language)
        text = finding.text.of(language)
        line = f"  {mark:<4} {NAMES[finding.rung].of(language)}"
        if self._is_terminal:
            print(f"{BACK}{CLEAR_LINE}", end="")
        if finding.state is not State.BROKEN:
            print(f"{line}: {text}" if text else line, flush=True)
            return
        print(line)
        if is_first:
            columns = shutil.get_terminal_size((PLAIN_WIDTH, 0)).columns
            words, _, command = text.partition("\n")
            print(
                textwrap.fill(
                    words,
                    columns,
                    initial_indent=INDENT,
                    subsequent_indent=INDENT,
                    break_long_words=False,
                    break_on_hyphens=False,
                )
            )
            if command:
                print(f"{INDENT}  {command}")


class AsJson:
    """For machines: one JSON object when all is known."""

    def __init__(self, language: str, time_s: float) -> None:
        self._language = language
        self._shown: dict[str, object] = {"for_s": time_s}

    def begin(self, meter: str, source: str, pid: int | None) -> None:
        """Note who is asked."""
        self._shown = {"meter": meter, "source": source, "gateway_pid": pid} | self._shown

    def progress(self, findings: Sequence[Finding], byte_count: int) -> None:
        """Say nothing before the end."""

    def end(self, findings: Sequence[Finding]) -> None:
        """Print the object."""
        broken = first_broken(findings)
        self._shown |= {
            "rungs": [
                {
                    "rung": each.rung,
                    "name": NAMES[each.rung].of(self._language),
                    "state": each.state,
                    "text": each.text.of(self._language) or None,
                }
                for each in findings
            ],
            "first_broken": broken.rung if broken else None,
            "next_step": broken.text.of(self._language) if broken else None,
        }
        print(json.dumps(self._shown, ensure_ascii=False), flush=True)
