"""DeepLabCut and lightning-pose: tables (csv or h5) with header rows scorer, [individuals,] bodyparts, coords."""

from trigpoint.data.formats.deeplabcut.form import DeepLabCut

__all__ = ["DeepLabCut"]
