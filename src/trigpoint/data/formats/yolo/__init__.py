"""YOLO pose (Ultralytics): a dataset yaml, and a text file per image with one row per object."""

from trigpoint.data.formats.yolo.form import Yolo

__all__ = ["Yolo"]
