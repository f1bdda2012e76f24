"""Results as people read them.

- tables.py: numbers with unit and interval; Markdown and rich tables of dict rows
- table_files.py: tables as .csv, .xlsx and .tex
- figures.py: curves and distributions; overlays.py: points over images, one instance or many; style.py: how they look
- side_by_side.py: several methods side by side; detection_figures.py: precision and recall
- landmark_figures.py: a number of each landmark with its interval; agreement_figures.py: Bland-Altman plots of
  measurements
- glimpses.py, features.py: path, glimpses and features of the foveated pyramid; patches.py: what they are drawn with
- sheet.py: contact sheet of a dataset
- html.py, report.html.j2: one self-contained HTML file
- page/: what the labelling page and the exported page share
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trigpoint.imports import lazy

if TYPE_CHECKING:
    from trigpoint.report.agreement_figures import Panel, bland_altman
    from trigpoint.report.detection_figures import precision_recall_plot
    from trigpoint.report.figures import ced_plot, comparison, label_curve_plot, per_landmark_bars, time_to_accuracy
    from trigpoint.report.html import Picture, render_html
    from trigpoint.report.overlays import prediction_overlay
    from trigpoint.report.sheet import contact_sheet
    from trigpoint.report.side_by_side import Compared, comparison_grid
    from trigpoint.report.style import save
    from trigpoint.report.tables import markdown_table

__all__ = [
    "Compared",
    "Panel",
    "Picture",
    "bland_altman",
    "ced_plot",
    "comparison",
    "comparison_grid",
    "contact_sheet",
    "label_curve_plot",
    "markdown_table",
    "per_landmark_bars",
    "precision_recall_plot",
    "prediction_overlay",
    "render_html",
    "save",
    "time_to_accuracy",
]

__getattr__ = lazy(  # drawing points needs neither PyTorch nor SciPy
    __name__,
    {
        "trigpoint.report.agreement_figures": ("Panel", "bland_altman"),
        "trigpoint.report.detection_figures": ("precision_recall_plot",),
        "trigpoint.report.figures": (
            "ced_plot",
            "comparison",
            "label_curve_plot",
            "per_landmark_bars",
            "time_to_accuracy",
        ),
        "trigpoint.report.html": ("Picture", "render_html"),
        "trigpoint.report.overlays": ("prediction_overlay",),
        "trigpoint.report.sheet": ("contact_sheet",),
        "trigpoint.report.side_by_side": ("Compared", "comparison_grid"),
        "trigpoint.report.style": ("save",),
        "trigpoint.report.tables": ("markdown_table",),
    },
)
