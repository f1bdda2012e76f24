"""Label Studio: JSON and JSON_MIN exports, points in percent of the image; tasks with pre-annotations to import."""

from trigpoint.data.formats.labelstudio.form import LabelStudio

__all__ = ["LabelStudio"]
