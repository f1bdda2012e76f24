"""Where ``data.pixels.frames`` was before; scripts that import from here keep working."""

from trigpoint.data.pixels.frames import Frame, Frames, VideoWriter

__all__ = ["Frame", "Frames", "VideoWriter"]
