"""Which images are learned from: nested orders, what joins a batch without labels, and that both can be repeated."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trigpoint.data import LandmarkDataset
from trigpoint.data.input.augment import InputPipeline
from trigpoint.data.input.loading import EpochBatches, InputDataset, collate
from trigpoint.data.subsets import nested_order, stable_order
from trigpoint.recipe import InputConfig
from trigpoint.synthetic import write_catheter

GROUPS = st.lists(st.integers(0, 6), min_size=1, max_size=30)


def images(groups: list[int]) -> list[tuple[str, str]]:
    return [(f"s{group}", f"image{i}") for i, group in enumerate(groups)]


@given(GROUPS, st.integers(0, 9), st.booleans())
def test_an_order_is_one_of_all_images_however_they_are_sorted(groups: list[int], seed: int, across: bool) -> None:
    given_images = images(groups)
    order = nested_order(given_images, seed, across)
    assert sorted(order) == list(range(len(groups)))
    turned = given_images[::-1]
    assert [turned[i] for i in nested_order(turned, seed, across)] == [given_images[i] for i in order]


@given(GROUPS, st.integers(0, 9))
def test_subject_after_subject(groups: list[int], seed: int) -> None:
    met = [groups[i] for i in nested_order(images(groups), seed)]
    first = [met[i] for i in range(len(met)) if i == 0 or met[i] != met[i - 1]]
    assert len(first) == len(set(first))  # no subject is left before it is complete


@given(GROUPS, st.integers(0, 9), st.data())
def test_across_takes_one_of_each_before_a_second(groups: list[int], seed: int, data: st.DataObject) -> None:
    order = nested_order(images(groups), seed, across=True)
    n = data.draw(st.integers(1, len(groups)))
    taken, whole = Counter(groups[i] for i in order[:n]), Counter(groups)
    rounds = max(taken.values())
    assert all(taken[group] >= min(whole[group], rounds - 1) for group in whole)


def test_an_order_depends_on_names_and_the_seed() -> None:
    given_images = images([0, 1, 2, 3] * 5)
    for across in (False, True):
        assert nested_order(given_images, 1, across) == nested_order(given_images, 1, across)
        assert nested_order(given_images, 1, across) != nested_order(given_images, 2, across)
    more = [*given_images, ("s9", "new")]
    kept = [i for i in nested_order(more, 1) if i < len(given_images)]
    assert kept == nested_order(given_images, 1)
    assert stable_order("a", 0) == stable_order("a", 0) != stable_order("a", 1)
    assert len({stable_order(str(i), 0) for i in range(100)}) == 100


def frame() -> pd.DataFrame:
    rows = [(f"{i:02}.png", f"s{i // 5}", 1.0, 2.0) for i in range(20)]
    return pd.DataFrame(rows, columns=["image", "subject", "t_x", "t_y"])


@pytest.mark.parametrize("across", [False, True])
def test_limits_of_a_dataset_are_nested(across: bool) -> None:
    data = LandmarkDataset.from_table(frame())
    chosen = {n: [s.image.name for s in data.limit(n, 3, across).samples] for n in range(1, 22)}
    for n in range(1, 21):
        assert len(chosen[n]) == n
        assert set(chosen[n]) <= set(chosen[n + 1])
        assert chosen[n] == sorted(chosen[n])  # table order
    subjects = [len({s.subject for s in data.limit(n, 3, across).samples}) for n in (1, 2, 4, 5, 8)]
    assert subjects == ([1, 2, 4, 4, 4] if across else [1, 1, 1, 1, 2])


def test_without_labels_keeps_the_images_only() -> None:
    data = LandmarkDataset.from_table(frame())
    bare = data.without_labels()
    assert [s.image for s in bare.samples] == [s.image for s in data.samples]
    assert np.isnan(bare.points).all()
    assert (bare.visibility == 0).all()
    assert np.isfinite(data.points).all()
    both = data.subset([3, 1]).followed_by(bare.subset([7]))
    assert [s.image.name for s in both.samples] == ["03.png", "01.png", "07.png"]
    assert np.isnan(both.points).all(axis=(1, 2)).tolist() == [False, False, True]


# -- images without labels in a batch ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> InputDataset:
    """Five labelled images, then three whose labels are known but not to be used."""
    folder = write_catheter(tmp_path_factory.mktemp("data") / "set", 8, size=32, splits={"train": 1.0})
    data = LandmarkDataset.load(folder)
    pipeline = InputPipeline(InputConfig(size=(32, 32)), data.landmarks)
    return InputDataset(data.subset(range(5)), pipeline, seed=1, unlabelled=data.subset([5, 6, 7]))


def test_points_of_unlabelled_images_are_not_used(inputs: InputDataset) -> None:
    assert (inputs.labelled, len(inputs)) == (5, 8)
    batch = collate([inputs[(0, position)] for position in (4, 5, 7)])
    assert batch.points.isfinite().all(-1).all(-1).tolist() == [True, False, False]
    assert batch.points[1:].isnan().all()
    assert batch.images.isfinite().all()
    assert inputs.points().isfinite().all(-1).all(-1).tolist() == [True] * 5 + [False] * 3
    source = LandmarkDataset.load(Path(str(inputs.dataset.folder)))
    assert inputs.dataset.samples[6].image == source.samples[6].image


@pytest.mark.parametrize(("count", "size", "pool", "extra"), [(5, 2, 3, 2), (8, 4, 9, 1), (7, 3, 2, 4)])
def test_batches_hold_as_many_unlabelled_images_as_asked(count: int, size: int, pool: int, extra: int) -> None:
    batches = EpochBatches(count, size, seed=3, shuffle=True, extra=(pool, extra))
    plain = EpochBatches(count, size, seed=3, shuffle=True)
    seen: Counter[int] = Counter()
    epochs = []
    for epoch in range(30):
        batches.set_epoch(epoch)
        plain.set_epoch(epoch)
        parts = list(batches)
        assert len(parts) == len(batches) == len(plain)
        for part, without in zip(parts, plain, strict=True):
            assert part[: len(without)] == without  # what is learned from is the same with and without
            more = [position for _, position in part[len(without) :]]
            assert len(more) == extra
            assert all(count <= position < count + pool for position in more)
            seen.update(more)
        assert {e for part in parts for e, _ in part} == {epoch}
        epochs.append(parts)
        joined = [position for part in parts for _, position in part if position >= count]
        shares = Counter(joined)
        assert max(shares.values()) - min(shares[i] for i in range(count, count + pool)) <= 1  # taken in turn
    assert set(seen) == set(range(count, count + pool))
    again = EpochBatches(count, size, seed=3, shuffle=True, extra=(pool, extra))
    again.set_epoch(4)  # a resumed run begins here
    assert list(again) == epochs[4] != epochs[5]


def test_validation_has_no_unlabelled_images() -> None:
    parts = list(EpochBatches(5, 2, extra=(3, 2)))
    assert [position for part in parts for _, position in part] == [0, 1, 2, 3, 4]
    assert torch.tensor(parts[0]).tolist() == [[-1, 0], [-1, 1]]


def test_processes_share_the_unlabelled_images() -> None:
    parts = [list(EpochBatches(8, 2, 0, True, rank, 2, extra=(4, 1))) for rank in range(2)]
    joined = [sorted(p for part in own for _, p in part if p >= 8) for own in parts]
    assert [len(own) for own in joined] == [2, 2]
    assert sorted(joined[0] + joined[1]) == [8, 9, 10, 11]
