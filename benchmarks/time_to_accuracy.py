"""Error against training minutes of several runs, and a line to beat: what a user on a laptop feels.

    python -m benchmarks.time_to_accuracy --data FACES --line "dlib=6.5,2.71" --figure time.png adaloss=runs/a

The curves are errors on the validation part after each epoch (training minutes, validation not counted); the table has
the errors of the kept weights on the test split.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import trigpoint as tp
from trigpoint.report import markdown_table, save, time_to_accuracy
from trigpoint.runs import RunFolder


def main() -> None:
    """Print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", help="LABEL=RUNFOLDER")
    parser.add_argument("--data", required=True, help="dataset folder with a test split")
    parser.add_argument("--line", help="LABEL=MINUTES,ERROR of what is to be beaten, in original pixels")
    parser.add_argument("--figure", type=Path, help="picture to write")
    options = parser.parse_args()
    curves: dict[str, Any] = {}
    beaten, error, rows = None, None, []
    if options.line is not None:
        line, numbers = options.line.rsplit("=", 1)
        minutes, error = (float(number) for number in numbers.split(","))
        curves[f"{line} (test)"] = ([minutes], [error])
        beaten = (f"{line}: {error:g} px", error)
    for text in options.runs:
        label, folder = text.split("=", 1)
        history = RunFolder(folder).history_table().dropna(subset="val_mre_px")
        curves[f"{label} (validation)"] = (history["minutes"].to_list(), history["val_mre_px"].to_list())
        rows.append(row(label, folder, options.data, history, error))
    print(markdown_table(rows))
    if options.figure is not None:
        save(time_to_accuracy(curves, line=beaten), options.figure)


def row(label: str, folder: str, data: str, history: Any, error: float | None) -> dict[str, str]:
    """Numbers of one run; all but minutes are of the test split."""
    found = tp.evaluate(folder, data, split="test").metrics
    low, high = found["ci95"]["mre_px"]
    passed = {}
    if error is not None:
        sooner = history.loc[history["val_mre_px"] < error, "minutes"]
        passed[f"minutes to val MRE < {error:g}"] = f"{sooner.iloc[0]:.1f}" if len(sooner) else "never"
    nme, failures = found["nme"]["mean"], found["fr"]["value"]
    return {
        "run": label,
        "minutes": f"{history['minutes'].iloc[-1]:.1f}",
        **passed,
        "MRE px": f"{found['mre_px']:.2f} [{low:.2f}, {high:.2f}]",
        "median px": f"{found['median_px']:.2f}",
        "NME %": "" if nme is None else f"{100 * nme:.2f} ({found['nme']['name']})",
        "FR %": "" if failures is None else f"{100 * failures:.1f} (> {found['fr']['threshold']:g})",
        **{f"{group} px": f"{part['mre_px']:.2f}" for group, part in found["per_group"].items()},
    }


if __name__ == "__main__":
    main()
