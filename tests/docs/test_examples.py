"""The recipes of examples/ are recipes, and what the results say of them is what they hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trigpoint.config import read_yaml, to_yaml
from trigpoint.data.formats.isbi import NAMES
from trigpoint.data.measurements import read_measurements, with_all
from trigpoint.landmarks import LandmarkSet
from trigpoint.metrics.measurements import measure
from trigpoint.recipe import load_recipe

EXAMPLES = Path(__file__).parents[2] / "examples"
RECIPES = sorted(file for file in EXAMPLES.rglob("*.yaml") if file.stem != "measurements")


def test_there_are_examples() -> None:
    assert [file.stem for file in RECIPES] == ["cascade-cpu", "cascade", "shared", "unet-cpu", "unet"]


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_an_example_is_a_recipe(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for stage in ("unet", "unet-cpu"):  # what the cascades begin from
        (tmp_path / "runs" / stage).mkdir(parents=True)
        coarse = to_yaml(load_recipe(file.with_name(f"{stage}.yaml")))
        (tmp_path / "runs" / stage / "config.yaml").write_text(coarse)
    recipe = load_recipe(file)
    kind = file.stem.removesuffix("-cpu")
    assert recipe.method_name == {"unet": "heatmap", "shared": "foveated"}.get(kind, kind)
    epochs = {"unet": 40, "unet-cpu": 12, "cascade-cpu": 22}
    assert recipe.train.num_epochs == epochs.get(file.stem, 30)


def measurements_of(folder: str, names: tuple[str, ...]) -> LandmarkSet:
    wrong: list[str] = []
    found = read_measurements(read_yaml(EXAMPLES / folder / "measurements.yaml")["measurements"], wrong)
    assert not wrong
    return LandmarkSet(names, measurements=with_all(found, names))


FACE = {  # a head that looks to the right, in pixels of 0.1 mm, drawn so that angles are near the textbooks' means
    "sella": (800, 1000), "nasion": (1500, 900), "orbitale": (1420, 1170), "porion": (640, 1170),
    "subspinale_A": (1505, 1450), "supramentale_B": (1465, 1830), "pogonion": (1465, 1980), "menton": (1390, 2060),
    "gnathion": (1440, 2040), "gonion": (860, 1760), "lower_incisal_incision": (1510, 1690),
    "upper_incisal_incision": (1545, 1700), "anterior_nasal_spine": (1530, 1430),
}  # fmt: skip


def test_the_analyses_of_cephalograms_have_the_signs_of_the_textbooks() -> None:
    marks = measurements_of("cephalograms", NAMES)
    assert len(marks.measurements) == 19

    def of(**moved: tuple[float, float]) -> dict[str, float]:
        places = FACE | moved
        points = np.array([[places.get(name, (np.nan, np.nan)) for name in NAMES]], float) * 0.1
        return {name: float(value[0]) for name, value in measure(points, marks).items()}

    face = of()
    assert all(np.isfinite(value) for value in face.values())
    for name, low, high in (
        ("SNA", 78, 86), ("SNB", 76, 84), ("ANB", 0, 5), ("GoGn_SN", 25, 42), ("facial_angle", 82, 95),
        ("convexity", -8, 10), ("AB_plane", -9, 0), ("FMA", 17, 30), ("Y_axis", 53, 66),
    ):  # fmt: skip
        assert low < face[name] < high, (name, face[name])
    forward = of(subspinale_A=(1545, 1450))  # the upper jaw 4 mm forward
    assert forward["SNA"] > face["SNA"]
    assert forward["ANB"] > face["ANB"]
    assert forward["convexity"] > face["convexity"]
    assert forward["AB_plane"] < face["AB_plane"]
    assert forward["U1_NA"] < face["U1_NA"]
    teeth = of(upper_incisal_incision=(1575, 1700), lower_incisal_incision=(1530, 1690))
    assert teeth["U1_NA"] == pytest.approx(face["U1_NA"] + 3, abs=0.05)
    assert teeth["L1_NB"] == pytest.approx(face["L1_NB"] + 2, abs=0.05)
    assert teeth["U1_APog"] > face["U1_APog"] > 0
    assert teeth["overjet"] == pytest.approx(face["overjet"] + 1)
    assert face["overbite"] == pytest.approx(1.0)
    chin = of(pogonion=(1485, 1980))
    assert chin["Pog_NB"] == pytest.approx(face["Pog_NB"] + 2, abs=0.05)
    assert chin["facial_angle"] > face["facial_angle"]


def test_the_centroid_size_of_a_wing_is_that_of_all_its_landmarks() -> None:
    marks = measurements_of("wings", ("a", "b", "c"))
    found = measure([[[0.0, 0.0], [2.0, 0.0], [1.0, 3.0]]], marks)
    assert found["size"][0] == pytest.approx(np.sqrt(2 * (1 + 1) + 4))
