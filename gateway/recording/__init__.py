"""Recordings: what came over a meter's line and when, to be played again or sent to others.

`lines` is how one is written, `file` appends to it within its limits, `recorder` does so beside
the gateway. A key never comes near any of them.
"""

from gateway.recording.file import FullError, RecordingError, RecordingFile
from gateway.recording.lines import Began, Chunk, Item, Torn, is_recording, parse, timeline
from gateway.recording.recorder import Recorder

__all__ = [
    "Began",
    "Chunk",
    "FullError",
    "Item",
    "Recorder",
    "RecordingError",
    "RecordingFile",
    "Torn",
    "is_recording",
    "parse",
    "timeline",
]
