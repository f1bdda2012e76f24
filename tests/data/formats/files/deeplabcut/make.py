"""Makes the files beside it; needs pandas and tables."""

import itertools
import warnings

import numpy as np
import pandas as pd

LEVELS = ["scorer", "bodyparts", "coords"]
FRAMES = [("labeled-data", "v1", "img0.png"), ("labeled-data", "v1", "img10.png")]


def main() -> None:
    """Write the files into the working folder."""
    warnings.filterwarnings("ignore")
    columns = pd.MultiIndex.from_product([["me"], ["nose", "tail"], ["x", "y"]], names=LEVELS)
    plain = pd.DataFrame(np.arange(8.0).reshape(2, 4) + 0.25, pd.MultiIndex.from_tuples(FRAMES), columns)
    plain.iloc[1, 0:2] = np.nan
    plain.to_hdf("CollectedData_me.h5", key="df_with_missing", mode="w")
    plain.to_csv("CollectedData_me.csv")

    flat = plain.copy()
    flat.index = pd.Index(["/".join(frame) for frame in FRAMES])
    flat.to_hdf("flat.h5", key="df_with_missing", mode="w")
    flat.to_hdf("packed.h5", key="df_with_missing", mode="w", complevel=9, complib="zlib")

    blocks = plain.copy()
    blocks[("me", "foot", "x")], blocks[("me", "foot", "y")] = 1, 2
    blocks.to_hdf("blocks.h5", key="df_with_missing", mode="w")

    keys = [("me", *key) for key in itertools.product(["m1", "m2"], ["nose", "tail"], ["x", "y"])]
    keys += [("me", "single", "food", axis) for axis in "xy"]
    animals = pd.DataFrame(
        np.arange(20.0).reshape(2, 10),
        pd.MultiIndex.from_tuples(FRAMES),
        pd.MultiIndex.from_tuples(keys, names=["scorer", "individuals", *LEVELS[1:]]),
    )
    animals.iloc[1, 8:] = np.nan
    animals.to_hdf("animals.h5", key="df_with_missing", mode="w")
    animals.to_csv("animals.csv")

    video = plain.copy()
    video.index = pd.RangeIndex(2)
    video.to_hdf("video.h5", key="df_with_missing", mode="w", format="table")


if __name__ == "__main__":
    main()
