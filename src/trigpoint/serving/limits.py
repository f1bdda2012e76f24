"""How much one service takes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What is refused beyond these; see ``trigpoint serve --help``."""

    bytes: int = 32 << 20
    """Of the body of a request."""
    pixels: int = 50_000_000
    """Of one image."""
    seconds: float = 30.0
    """From the first byte of a request to its answer."""
    queue: int = 64
    """Images that are received, wait or are worked on at a time."""
    connections: int = 512

    @property
    def held_bytes(self) -> int:
        """Of the bodies of all requests at a time."""
        return 8 * self.bytes

    @property
    def decoding(self) -> float:
        """Seconds that decoding one image may take; in the others it is predicted."""
        return self.seconds / 2

    @property
    def held_pixels(self) -> int:
        """Of all images that are decoded and wait, so that a queue of the largest ones fits into memory."""
        return 4 * self.pixels
