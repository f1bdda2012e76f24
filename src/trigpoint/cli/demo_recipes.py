"""What each demo draws, trains and says."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Demo:
    """One demo: a drawing with its options, a recipe of the package, and words for the result."""

    method: str
    recipe: str
    minutes: float  # what the recipe takes on two cores
    kind: str  # of drawing, as the drawn folder notes it
    write: str  # function of trigpoint.synthetic that draws it
    count: int
    size: int | tuple[int, int]  # pixels: a side, or (H, W)
    splits: Mapping[str, float]
    out: str  # folder that is written when none is given
    predictions: str  # what predictions.png shows
    own: str  # the command for images of one's own

    @property
    def pixels(self) -> str:
        """The size as W x H."""
        height, width = (self.size, self.size) if isinstance(self.size, int) else self.size
        return f"{width} x {height}"


DEMOS: dict[str, Demo] = {
    "heatmap": Demo(
        method="heatmap",
        recipe="demo",
        minutes=2.0,
        kind="catheter",
        write="write_catheter",
        count=1200,  # 1000 to learn from, 100 to choose the weights, 100 to measure
        size=64,
        splits={"train": 10 / 12, "val": 1 / 12, "test": 1 / 12},
        out="demo",
        predictions="true tips (rings) and found tips (crosses) in test images",
        own="trigpoint train fast data.path=FOLDER --out runs/mine",
    ),
    "foveated": Demo(
        method="foveated",
        recipe="demo-foveated",
        minutes=5.0,
        kind="radiograph",
        write="write_radiographs",
        count=100,  # 72 to learn from, 8 to choose the weights, 20 to measure
        size=(2048, 1664),
        splits={"train": 0.72, "val": 0.08, "test": 0.2},
        out="demo-foveated",
        predictions="true landmarks (rings) and found ones (crosses) in test images",
        own="trigpoint train foveated data.path=FOLDER 'data.input.size=[HEIGHT,WIDTH]' --out runs/mine",
    ),
}
"""By the method that they show."""
