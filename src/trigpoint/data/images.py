"""Where ``data.pixels.images`` was before; scripts that import from here keep working."""

from trigpoint.data.pixels.images import ImageData, image_size, image_spacing, read_image

__all__ = ["ImageData", "image_size", "image_spacing", "read_image"]
