"""How every figure looks: palette, axes, legend, and the small PNG that is written or embedded.

Figures are plain ``matplotlib.figure.Figure`` objects, so drawing needs no display, no pyplot and no global state.
"""

import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.ticker import Formatter
from PIL import Image, ImageColor

from trigpoint.data.files import whole
from trigpoint.errors import ConfigError
from trigpoint.landmarks import FloatArray
from trigpoint.report.palette import NAMED as NAMED
from trigpoint.report.palette import PALETTE as PALETTE
from trigpoint.report.palette import PREDICTED as PREDICTED
from trigpoint.report.palette import TRUTH as TRUTH

DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
RED = "#e41a1c"  # the true point over a colour map, where the blue of TRUTH would be lost
ON_WHITE = {TRUTH: "#2f8fc9", PREDICTED: "#c98a00"}  # darker in the key, which stands on white
INK, MUTED, FAINT, GRID = "#1c2127", "#5c6670", "#9aa5b0", "#dfe3e8"
EDGE = [withStroke(linewidth=2.2, foreground="#000000b0")]  # keeps marks and texts visible on any image
MOST_LINES = 10  # more lines than this cannot be told apart
FORMATS = (".png", ".pdf", ".svg")
_KEPT = [
    ImageColor.getrgb(colour)[:3]
    for colour in (*PALETTE, TRUTH, PREDICTED, RED, INK, MUTED, GRID, "#ffffff", *ON_WHITE.values())
]


def line_style(index: int) -> dict[str, Any]:
    """Colour and dash of the ``index``-th line; 28 differ from one another.

    >>> line_style(0)["color"], line_style(7)["color"] == line_style(0)["color"]
    ('#0072B2', True)
    >>> line_style(7)["linestyle"] == line_style(0)["linestyle"]
    False
    """
    return {"color": PALETTE[index % len(PALETTE)], "linestyle": DASHES[index // len(PALETTE) % len(DASHES)]}


class _Plain(Figure):
    """A figure that draws texts as they are: names of landmarks and images may hold $, which would begin a formula."""

    def draw(self, renderer: Any) -> None:
        for text in self.findobj(Text):
            text.set_parse_math(False)
        super().draw(renderer)


def new_figure(width: float = 7.0, height: float = 4.2) -> Figure:
    """An empty figure, size in inches, whose parts make room for one another."""
    return _Plain(figsize=(width, height), layout="constrained", facecolor="white")


class _Numbers(Formatter):
    """Plain numbers at 1, 2 and 5 times a power of ten; at each in short ranges, at powers alone in long ones.

    matplotlib's own are formulas, or read 6e-01.
    """

    def __call__(self, x: float, pos: int | None = None) -> str:
        low, high = self.axis.get_view_interval()  # type: ignore[union-attr]
        decades = math.log10(high / low) * (1.3 if self.axis.axis_name == "x" else 1)  # type: ignore[union-attr]
        labelled = "123456789" if decades < 0.5 else "125" if decades < 2.5 else "1"
        return f"{x:g}" if f"{x:.0e}"[0] in labelled else ""


def log_scale(axes: Axes, along: Literal["x", "y"] = "y") -> None:
    """A logarithmic axis with plain numbers."""
    axes.set(**{f"{along}scale": "log"})
    axis = axes.yaxis if along == "y" else axes.xaxis
    axis.set_major_formatter(_Numbers())
    axis.set_minor_formatter(_Numbers())


def dress(axes: Axes, xlabel: str, ylabel: str, title: str = "") -> None:
    """Label the axes, draw a quiet grid and take the box away."""
    axes.set_xlabel(xlabel, color=INK, fontsize=10)
    axes.set_ylabel(ylabel, color=INK, fontsize=10)
    if title:
        axes.set_title(title, loc="left", color=INK, fontsize=11, fontweight="bold")
    axes.tick_params(which="both", colors=MUTED, labelsize=9, length=3)
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#b4bcc4")


def legend(axes: Axes, beside: bool | None = None) -> None:
    """A frameless legend inside the axes, or beside them when it has more than five entries."""
    shown = entries(axes)
    if not shown:
        return
    if beside if beside is not None else len(shown) > 5:
        columns, place = 1 + (len(shown) - 1) // 20, (1.01, 1.0)
        axes.legend(handles=shown, loc="upper left", bbox_to_anchor=place, frameon=False, fontsize=8.5, ncols=columns)
    else:
        axes.legend(handles=shown, frameon=False, fontsize=9, labelcolor=INK)


def entries(axes: Axes) -> list[Any]:
    """What is drawn with a label, also with one that begins with _, which matplotlib would leave out."""
    drawn = [*axes.get_lines(), *axes.patches, *axes.collections]
    return [one for one in drawn if not re.fullmatch(r"_child\d+", str(one.get_label()))]  # as those without one have


def ring() -> Line2D:
    """An annotated point in the key."""
    return Line2D([], [], color=ON_WHITE[TRUTH], marker="o", mfc="none", mew=1.6, linestyle="")


def cross() -> Line2D:
    """A predicted point in the key."""
    return Line2D([], [], color=ON_WHITE[PREDICTED], marker="x", mew=1.6, linestyle="")


def stroke() -> Line2D:
    """A line between two points in the key."""
    return Line2D([], [], color=MUTED, linewidth=1.2)


def key(figure: Figure, marks: Mapping[str, Any]) -> None:
    """What the marks mean, below the figure: {text: Line2D, or several that are drawn over one another}."""
    if marks:
        place: dict[str, Any] = {"loc": "outside lower center", "ncols": len(marks), "frameon": False, "fontsize": 9}
        overlaid = {tuple: HandlerTuple(ndivide=1)}
        figure.legend(list(marks.values()), list(marks), handler_map=overlaid, **place)


def caption(axes: Axes, text: str) -> None:
    """A small title of one of many panels."""
    axes.set_title(text, fontsize=8.5, color=INK, pad=3)


def note(axes: Axes, text: str, point: FloatArray, offset: tuple[float, float] = (5, 4), size: float = 7) -> None:
    """A white text beside a point of an image, ``offset`` in points on paper; to its left near the right border."""
    left, right = axes.get_xlim()
    inward = -1 if point[0] > left + 0.75 * (right - left) else 1
    look: dict[str, Any] = {"color": "white", "path_effects": EDGE, "annotation_clip": True, "fontsize": size}
    place = (inward * offset[0], offset[1])
    axes.annotate(text, tuple(point), place, textcoords="offset points", ha="right" if inward < 0 else "left", **look)


def empty_note(axes: Axes, text: str) -> None:
    """Say inside the axes why nothing is drawn, instead of leaving a blank."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=MUTED, fontsize=10)
    axes.tick_params(labelbottom=False, labelleft=False, length=0)
    axes.grid(False)


def figure_png(figure: Figure, dpi: int = 130) -> bytes:
    """The figure as a small PNG: 256 colours where that looks the same, else (colour photographs) true colour."""
    figure.set_dpi(dpi)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()  # savefig would draw twice, once for the layout alone, and pack what is unpacked here
    pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    out = io.BytesIO()
    (pixels if _many_colours(pixels) else _with_palette(pixels)).save(out, format="PNG", optimize=True)
    return out.getvalue()


def _many_colours(pixels: Image.Image) -> bool:
    """Whether more than a tenth of the figure is saturated enough that 256 colours would show as patches."""
    saturated = np.asarray(pixels.convert("HSV").getchannel("S")) > 25
    return pixels.getcolors(30_000) is None and float(saturated.mean()) > 0.1


def _with_palette(pixels: Image.Image) -> Image.Image:
    free = 256 - len(_KEPT)
    palette = Image.new("P", (1, 1))
    found = (pixels.quantize(free, method=Image.Quantize.MEDIANCUT).getpalette() or [])[: 3 * free]
    # The greys of an image would take all 256 colours and turn the few pixels of a marker grey.
    palette.putpalette([*found, *(value for colour in _KEPT for value in colour)])
    indices = np.array(pixels.quantize(palette=palette, dither=Image.Dither.NONE))
    packed = np.asarray(pixels, dtype=np.uint32) @ np.array([65536, 256, 1], dtype=np.uint32)
    for i, (red, green, blue) in enumerate(_KEPT):  # Pillow's search is approximate: white would come out as 252
        indices[packed == (red << 16 | green << 8 | blue)] = len(found) // 3 + i
    exact = Image.fromarray(indices)
    exact.putpalette(palette.getpalette() or [])
    return exact


def save(figure: Figure, path: str | Path, dpi: int = 130) -> Path:
    """Write the figure as .png, .pdf or .svg, making the folder; raises ConfigError for another ending."""
    file = Path(path)
    if file.suffix.lower() not in FORMATS:
        raise ConfigError(f"{file}: expected a figure ending in {', '.join(FORMATS)}, got '{file.suffix}'; rename it")
    with whole(file, overwrite=True) as stream:
        if file.suffix.lower() == ".png":
            stream.write(figure_png(figure, dpi))
        else:
            with rc_context({"pdf.fonttype": 42}):  # whole fonts: journals refuse those of Type 3
                figure.savefig(stream, format=file.suffix[1:].lower())
    return file


def captions_or_blank(captions: Sequence[str], count: int) -> list[str]:
    """One caption per panel; raises ConfigError when the number differs."""
    if captions and len(captions) != count:
        raise ConfigError(f"captions: expected {count} (one per image), got {len(captions)}; give one each or none")
    return list(captions) if captions else [""] * count
