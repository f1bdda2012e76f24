"""What a run has learned from, against the images it is measured on and against what its dataset is now."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from trigpoint.data import LandmarkDataset
from trigpoint.data.quality.fingerprint import ImageRecord, copies, differences, last_records, read_records, take
from trigpoint.errors import DataError
from trigpoint.runs import RunFolder

_PARTS = (
    ("train", "the run was trained on"),
    ("val", "chose the weights of the run"),
    ("unlabelled", "the run learned from without their labels"),
)


def seen_before(run: RunFolder, dataset: LandmarkDataset) -> list[str]:
    """Warnings for images of ``dataset`` that ``run``, or a run that it began from, has seen, whatever their name.

    By the content of the images (``data.csv``); by their names for a run without that file.
    """
    if not run.data.is_file():
        return _same_names(run, dataset)
    found = _seen(read_records(run.data), dataset, "")
    for what, other in _origins(run):
        if other.data.is_file():
            found += _seen(read_records(other.data), dataset, f" (its {what}, {other.folder})")
    return found


def known_subjects(run: RunFolder, data: str | Path | LandmarkDataset, measured: LandmarkDataset) -> list[str]:
    """A warning where images to be ``measured`` are of subjects whose other images in ``data`` the run learned from."""
    home = run.located().data.path
    if home is None or not run.split.is_file() or not any(sample.subject for sample in measured.samples):
        return []
    whole = data if isinstance(data, LandmarkDataset) else LandmarkDataset.load(data, check_images=False)
    if whole.folder is None or whole.folder.resolve() != Path(home).resolve():  # names of another set mean nothing
        return []
    learned = set(run.parts().get("train", []))
    taught = {sample.subject for sample in whole.samples if sample.subject and whole.image_name(sample) in learned}
    names = {whole.image_name(sample): sample.subject for sample in measured.samples}
    same = [subject for name, subject in names.items() if subject in taught and name not in learned]
    if not same:
        return []
    return [
        f"{len(same)} of {len(names)} images are of subjects that the run was trained on, such as '{same[0]}': numbers "
        "tell how well other images of these are done, not other subjects"
    ]


def _seen(records: Sequence[ImageRecord], dataset: LandmarkDataset, of: str) -> list[str]:
    total, found = len(dataset.by_image()), []
    matches = copies(dataset, records)
    for part, what in _PARTS:
        same = [match for match in matches if match.twin.part == part and match.similarity == 1]
        alike = [match for match in matches if match.twin.part == part and match.similarity < 1]
        if same:
            first = same[0]
            name = first.image if first.image == first.twin.image else f"{first.image}, there {first.twin.image}"
            found.append(f"{len(same)} of {total} images are among those that {what}{of}, such as {name}")
        if alike:
            first = max(alike, key=lambda match: match.similarity)
            found.append(
                f"{len(alike)} of {total} images look like copies, in other grey values, size or compression, of those "
                f"that {what}{of}, such as {first.image}, there {first.twin.image} (similarity {first.similarity:.2f})"
            )
    return found


def _origins(run: RunFolder) -> Iterator[tuple[str, RunFolder]]:
    """Runs that others trained, of which this one uses the weights."""
    for stage in run.recipe().method.stages().values():
        if stage.run is not None:
            yield stage.what, RunFolder(stage.run)


def _same_names(run: RunFolder, dataset: LandmarkDataset) -> list[str]:
    if not run.split.is_file():
        return []
    names = {dataset.image_name(sample) for sample in dataset.samples}
    found = []
    for part, what in _PARTS:
        shared = names & set(run.parts().get(part, []))
        if shared:
            found.append(f"{len(shared)} of {len(names)} images have names of those that {what}, such as {min(shared)}")
    return found


def data_changed(run: RunFolder, names: Sequence[str]) -> list[str]:
    """Warnings when the dataset that ``run`` names is no longer what it learned from; none where it is not there.

    ``names`` are the landmarks of the run. Files of the same size and time count as the same.
    """
    path = run.located().data.path
    if path is None or not Path(path).exists() or not run.data.is_file():
        return []
    records = read_records(run.data)
    try:
        data = LandmarkDataset.load(path, names=names, check_images=False)
    except DataError as error:
        return [f"the data that the run was trained on can no longer be read: {error}"]
    known, now = last_records(records), []
    present = {data.image_name(data.samples[rows[0]]): rows for rows in data.by_image()}
    for part, _ in _PARTS:
        rows = [i for (own, name) in known if own == part for i in present.get(name, ())]
        chosen = data.subset(rows)
        now += take(
            chosen.without_labels() if part == "unlabelled" else chosen, part, records, trust_stamp=True, skip=True
        )
    changed: dict[str, str] = {name: "is gone" for _, name in known if name not in present}
    changed |= {name: f"has another {what}" for name, what in differences(records, now).items()}
    unread = {key for key, record in last_records(now).items() if not record.pixels}
    changed |= {key[1]: "cannot be read" for key, old in known.items() if old.pixels and key in unread}
    if not changed:
        return []
    image, what = min(changed.items())
    return [
        f"{path} is no longer what the run was trained on: {len(changed)} of {len(known)} images differ, such as "
        f"{image}, which {what}"
    ]
