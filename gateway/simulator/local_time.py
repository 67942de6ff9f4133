"""Austrian local time by the EU rule, computed without a time zone database."""

from datetime import UTC, datetime, timedelta, timezone

WINTER_TIME = timezone(timedelta(hours=1), "CET")
SUMMER_TIME = timezone(timedelta(hours=2), "CEST")


def austrian(moment: datetime) -> datetime:
    """Return the aware `moment` in CET or CEST (fixed offsets, so the folded hour compares)."""
    return moment.astimezone(SUMMER_TIME if is_summer_time(moment) else WINTER_TIME)


def is_summer_time(moment: datetime) -> bool:
    """Tell whether clocks in the EU are set to summer time at the aware `moment`.

    Directive 2000/84/EC: from the last Sunday of March to the last Sunday of October, 01:00 UTC.
    """
    utc = moment.astimezone(UTC)
    return _last_sunday(utc.year, 3) <= utc < _last_sunday(utc.year, 10)


def _last_sunday(year: int, month: int) -> datetime:
    """Return 01:00 UTC on the last Sunday of a month with 31 days."""
    last_day = datetime(year, month, 31, 1, tzinfo=UTC)
    return last_day - timedelta(days=last_day.isoweekday() % 7)
