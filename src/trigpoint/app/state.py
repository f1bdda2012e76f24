"""What is known of one image: its objects with their marks, and what the annotator says of it. JSON for the page."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

ABSENT: Literal["absent"] = "absent"
Place = Annotated[FiniteFloat, Field(ge=-1e6, le=1e6)]
Mark = tuple[Place, Place, Literal[1, 2]] | Literal["absent"]
"""(x, y, visibility) in original pixels, visibility 1 occluded or 2 visible; or that the landmark is not there."""
Name = Annotated[str, Field(max_length=200)]


PLACES = 3
"""Decimals of a coordinate that is stored."""


def _plain_text(text: str) -> str:
    return "".join(letter for letter in text if letter in "\n\t" or letter.isprintable()).strip()


class _Plain(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Row(_Plain):
    """One object of an image: a row of the table. A landmark without a mark is still to be labelled."""

    instance: Name = ""
    marks: dict[Name, Mark] = Field(default_factory=dict, max_length=2000)


class State(_Plain):
    """All that can be edited of an image; ``rows`` is empty where no row of the table names it."""

    rows: list[Row] = Field(default_factory=list, max_length=500)
    note: Annotated[str, Field(max_length=2000)] = ""
    doubtful: bool = False
    split: Name = ""
    subject: Name = ""
    annotator: Name = ""

    def decided(self, names: list[str]) -> int:
        """How many marks there are.

        >>> State(rows=[Row(marks={"tip": (1.0, 2.0, 2), "root": "absent"})]).decided(["tip", "root", "end"])
        2
        """
        return sum(name in row.marks for row in self.rows for name in names)

    def normal(self, instances: bool) -> State:
        """As a table keeps it: coordinates of three decimals, plain text, and a row where anything is said.

        >>> State(note=" dark\\r\\n").normal(False)
        State(rows=[Row(instance='', marks={})], note='dark', doubtful=False, split='', subject='', annotator='')
        """
        texts = {name: _plain_text(getattr(self, name)) for name in ("note", "split", "subject", "annotator")}
        rows = [
            Row(
                instance=_plain_text(row.instance) if instances else "",
                marks={
                    name: mark if mark == ABSENT else (round(mark[0], PLACES), round(mark[1], PLACES), mark[2])
                    for name, mark in row.marks.items()
                },
            )
            for row in self.rows
        ]
        told = self.doubtful or any(text for name, text in texts.items() if name != "annotator")
        return State(rows=rows or ([Row()] if told else []), doubtful=self.doubtful, **texts)

    def points(self) -> list[tuple[float, float]]:
        """All points of the image, original pixels."""
        return [(mark[0], mark[1]) for row in self.rows for mark in row.marks.values() if mark != ABSENT]


class Edit(_Plain):
    """What the page sends: the whole new state of an image, and the revision that it was made from.

    ``before``: the state that it was made from, by which it is known after the server was started again. ``how`` it was
    made is kept in the journal: placed, accepted from a model, corrected from its proposal.
    """

    base: int
    state: State
    before: State | None = None
    how: Annotated[str, Field(max_length=40)] = ""


LandmarkName = Annotated[str, Field(min_length=1, max_length=80)]


class Naming(_Plain):
    """The landmarks of the set, with what is said about them: those that are there, by their new names where they are
    ``renamed``, without those ``removed``, and behind them new ones."""

    landmarks: list[LandmarkName] = Field(min_length=1, max_length=500)
    pairs: list[tuple[str, str]] | None = None
    skeleton: list[tuple[str, str]] | None = None
    renamed: dict[LandmarkName, LandmarkName] = Field(default_factory=dict, max_length=500)
    removed: list[LandmarkName] = Field(default_factory=list, max_length=500)
