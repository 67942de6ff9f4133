"""Decisions from the front of the fuzzer's bytes; what they leave is the payload."""

from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise

MAX_CHOICES = 15  # of one list


class Choices:
    """Reads numbers, lists and at last the payload; behind the end everything is 0 or empty."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._position = 0

    def number(self, size: int = 1) -> int:
        """Take `size` bytes as a number."""
        taken = self._octets[self._position : self._position + size]
        self._position += size
        return int.from_bytes(taken, "big")

    def numbers(self, size: int = 1) -> list[int]:
        """Take a list of numbers, the length first."""
        return [self.number(size) for _ in range(self.number() % (MAX_CHOICES + 1))]

    @property
    def rest(self) -> bytes:
        """Return the payload."""
        return self._octets[self._position :]


def written(numbers: Sequence[int], size: int = 1) -> bytes:
    """Return the bytes of which `numbers` makes this list."""
    if len(numbers) > MAX_CHOICES:
        raise ValueError(f"{len(numbers)} are more than {MAX_CHOICES} choices")
    return bytes([len(numbers)]) + b"".join(number.to_bytes(size, "big") for number in numbers)


def cut(stream: bytes, sizes: Iterable[int]) -> list[bytes]:
    """Cut a stream into chunks of these sizes, and the rest."""
    edges = [0, *accumulate(sizes), max(len(stream), sum(sizes))]
    return [stream[start:end] for start, end in pairwise(edges)]


def bytewise(stream: bytes) -> list[bytes]:
    """Cut a stream into its bytes."""
    return [bytes([octet]) for octet in stream]
