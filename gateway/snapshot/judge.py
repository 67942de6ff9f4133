"""Which telegrams may be served: those beyond question at once, others when confirmed."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gateway.snapshot import plausibility
from gateway.snapshot.calm import is_calm
from gateway.snapshot.plausibility import DEFAULT_CONNECTION_A, NO_TEXTS, Numbers, Seen
from gateway.snapshot.snapshot import Snapshot
from gateway.telegram import Fault, Layer, Security, Telegram

# How many telegrams in a row must say the same before what they say is served.
CONFIRMATIONS: Mapping[Layer, int] = {Layer.IDENTITY: 3, Layer.COUNTER: 3, Layer.PLAUSIBILITY: 2}
# After so long a telegram that jumps is believed also if it does not agree with the one before it.
MAX_HELD_S = 9.0
_AUTHENTICATED = Security.AUTHENTICATED  # an enumeration is slow to ask
STEPS = "steps_agree"


class Question(NamedTuple):
    """A check that a telegram fails."""

    check: str
    layer: Layer
    reason: str


class Verdict(NamedTuple):
    """What is to be done with a telegram, and what is to be told.

    `faults` are about earlier telegrams, which this one does not confirm.
    """

    is_good: bool
    faults: tuple[Fault, ...] = ()
    news: str | None = None


class _Held(NamedTuple):
    """A telegram that waits for confirmation; it may itself confirm others.

    `refusals` are what they all will be if it is not confirmed.
    """

    seen: Seen
    questions: Sequence[Question]
    refusals: tuple[Fault, ...]


class Judge:
    """Judges one meter's telegrams in the order in which they come.

    `connection_a` is what the house connection is fused with; `past` is what was remembered of
    the last good telegram of an earlier run.
    """

    def __init__(
        self, connection_a: float = DEFAULT_CONNECTION_A, past: Seen | None = None
    ) -> None:
        self._last = past
        self._last_good: Telegram | None = None
        self._connection_a = connection_a
        self._held: _Held | None = None
        self._known: frozenset[str] = frozenset()  # what was questioned of the last, and confirmed

    @property
    def last(self) -> Seen | None:
        """What is remembered of the last good telegram; None before the first."""
        if self._last is None and self._last_good is not None:
            snapshot = Snapshot.of(self._last_good)
            self._last = _seen(self._last_good, snapshot.measured, snapshot.texts)
        return self._last

    def passes(self, telegram: Telegram) -> bool:
        """Tell whether a telegram is beyond question; if so, it is the last good one.

        It is then so like the one before that it needs no verdict. All others need one.
        """
        before = self._last_good
        if (
            before is None
            or self._held is not None
            or self._known
            or not is_calm(telegram, before, self._connection_a)
        ):
            return False
        self._last_good, self._last = telegram, None
        return True

    def take(
        self, telegram: Telegram, numbers: Numbers, texts: Mapping[str, str] = NO_TEXTS
    ) -> Verdict:
        """Judge the next telegram; `numbers` are its measured quantities, `texts` its names."""
        now = _seen(telegram, numbers, texts)
        is_verified = telegram.security is _AUTHENTICATED
        questions = self._questions(now, is_verified=is_verified)
        held, self._held = self._held, None
        if not questions:
            self._last, self._last_good = now, telegram
            # A standing oddity goes on after a damaged telegram; what is over is forgotten.
            if self._known:
                self._known &= {question.check for question in self._alone(now)}
            if held is None:
                return _GOOD
            return Verdict(is_good=True, faults=held.refusals)
        confirmed: tuple[Fault, ...] = ()
        faults: tuple[Fault, ...] = ()
        if held is not None and self._confirms(now, questions, held):
            confirmed = held.refusals
        elif held is not None:
            faults = held.refusals
        if len(confirmed) + 1 < max(CONFIRMATIONS[question.layer] for question in questions):
            refusal = _refusal(questions, telegram)
            self._held = _Held(now, questions, (*confirmed, refusal))
            return Verdict(is_good=False, faults=faults)
        news = _news(questions, self.last, now)
        self._known = frozenset(q.check for q in self._alone(now))
        self._last, self._last_good = now, telegram
        return Verdict(is_good=True, faults=faults, news=news)

    def finish(self) -> list[Fault]:
        """Wait no longer: what is held back is refused."""
        held, self._held = self._held, None
        return [*held.refusals] if held else []

    def _questions(self, now: Seen, *, is_verified: bool) -> Sequence[Question]:
        """Return the checks that a telegram fails; what a tag vouches for is not questioned."""
        found: list[Question] = []
        before = self.last
        if before is not None:
            if reason := plausibility.same_meter(now, before):
                found.append(Question("same_meter", Layer.IDENTITY, reason))
            elif reason := plausibility.counter_rises(now, before):
                found.append(Question("counter_rises", Layer.COUNTER, reason))
        if is_verified:
            return found
        if alone := self._alone(now):
            found += [question for question in alone if question.check not in self._known]
        if before is not None and not found:
            if reason := plausibility.same_objects(now, before):
                found.append(Question("same_objects", Layer.PLAUSIBILITY, reason))
            elif reason := plausibility.energies_rise(now, before, self._connection_a):
                found.append(Question("energies_rise", Layer.PLAUSIBILITY, reason))
            elif reason := plausibility.steps_agree(now, before):
                found.append(Question(STEPS, Layer.PLAUSIBILITY, reason))
            elif reason := plausibility.clock_goes_on(now, before):
                found.append(Question("clock_goes_on", Layer.PLAUSIBILITY, reason))
        return found

    def _alone(self, now: Seen) -> list[Question]:
        """Return what can be questioned of a telegram without any other."""
        found = []
        if reason := plausibility.ranges(now, self._connection_a):
            found.append(Question("ranges", Layer.PLAUSIBILITY, reason))
        if reason := plausibility.directions(now):
            found.append(Question("directions", Layer.PLAUSIBILITY, reason))
        if reason := plausibility.power_fits_currents(now):
            found.append(Question("power_fits_currents", Layer.PLAUSIBILITY, reason))
        if reason := plausibility.clocks_agree(now):
            found.append(Question("clocks_agree", Layer.PLAUSIBILITY, reason))
        return found

    def _confirms(self, now: Seen, questions: Sequence[Question], held: _Held) -> bool:
        """Tell whether a telegram says the same as the one that is held back."""
        before = held.seen
        if plausibility.same_meter(now, before) or plausibility.counter_rises(now, before):
            return False
        if plausibility.energies_rise(now, before, self._connection_a):
            return False
        asked = {question.check for question in held.questions}
        if not {question.check for question in questions} <= asked | {STEPS}:
            return False
        if asked != {STEPS} or plausibility.steps_agree(now, before) is None:
            return True
        # A house that switches again and again must not look silent for it: two telegrams in a
        # row that passed all checksums are hardly ever both damaged.
        waited_s = plausibility.elapsed(now, self.last) if self.last else None
        return waited_s is not None and waited_s >= MAX_HELD_S


def _seen(telegram: Telegram, numbers: Numbers, texts: Mapping[str, str]) -> Seen:
    """Return what is remembered of a telegram."""
    listed = telegram.readings.clock
    return Seen(
        telegram.meter,
        telegram.invocation_counter,
        numbers,
        telegram.clock,
        telegram.received,
        texts,
        listed.moment if listed else None,
    )


_GOOD = Verdict(is_good=True)


def _refusal(questions: Sequence[Question], telegram: Telegram) -> Fault:
    """Return the fault that a telegram will be if those behind it do not say the same."""
    reasons = "; ".join(question.reason for question in questions)
    reason = f"{reasons}: not confirmed by the next telegram"
    return Fault(questions[0].layer, reason, telegram.offset, telegram.meter)


def _news(questions: Sequence[Question], before: Seen | None, now: Seen) -> str | None:
    """Return what people must know about a change that was confirmed; None if it is everyday."""
    checks = {question.check for question in questions}
    if before is not None and "same_meter" in checks:
        return (
            f"another meter: {questions[0].reason}; three telegrams say so, and its values are "
            "served from now on"
        )
    if before is not None and "counter_rises" in checks:
        return (
            f"the invocation counter starts again at {now.counter}, it was {before.counter}: "
            "three telegrams say so; a new key, or old telegrams sent again"
        )
    if checks - {STEPS}:
        reasons = "; ".join(question.reason for question in questions)
        return f"unusual, but confirmed by a second telegram and served: {reasons}"
    return None
