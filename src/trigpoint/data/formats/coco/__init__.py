"""COCO keypoints JSON: names in the category, three numbers x, y, v per landmark, several instances per image."""

from trigpoint.data.formats.coco.form import Coco

__all__ = ["Coco"]
