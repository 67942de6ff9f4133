"""What all tests share."""

from hypothesis import settings

# A loaded machine pauses for longer than the 200 ms that hypothesis allows an example.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
