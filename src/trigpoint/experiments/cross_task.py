"""Cross-task representation learning (Fu et al., MLMI 2020): Table 1, Figs. 3 and 4, and fewer labels; what is
trained. ``cross_task_tables`` says what came of it."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from trigpoint.config import parse, read_yaml, to_yaml
from trigpoint.data import LandmarkDataset
from trigpoint.data.files import write_text
from trigpoint.errors import ConfigError, DataError
from trigpoint.experiments.cross_task_tables import ALL, CrossTaskTables, Key, folder_of
from trigpoint.experiments.measures import Job
from trigpoint.experiments.task import Task, launched, work
from trigpoint.methods.transfer import SourceConfig, origin
from trigpoint.nn.pretrained import PRETRAINED
from trigpoint.recipes import recipe_values
from trigpoint.runs import RunFolder

COMPARED = ("scratch", "FE", "FT")  # at every number of labels, beside the penalty that was chosen
CLASSES = ("CTD-CD", "CTD-Com")  # compare classes: they need a source with a classifier
TRAINED = "trained"
DONE = "prepared.yaml"


class CrossTask(CrossTaskTables):
    """The source is found or trained first, then the penalties among which validation chooses, then the rest.

    ``first`` is the number of labels at which all methods are compared, ``plan`` every setting.
    """

    def prepare(self) -> None:
        """The dataset and the source; raises DataError for a set without its splits or with shared subjects."""
        values = self.values
        self.counts = read_labels(self.options["labels"] or values["labels"])
        self.first = str(values["compare"]) if str(values["compare"]) in self.counts else self.counts[0]
        self.origin = source_origin(self.options["source"], values["source"])
        self.marks = {"source": self.origin or None}
        super().prepare()
        if "images" in values:
            self._reduce(values["images"])
        self._take_source()

    def check(self) -> None:
        data, chosen = LandmarkDataset.load(self.folder), self.values["muct_landmarks"]
        self.data = data.pick(chosen) if set(chosen) <= set(data.landmarks.names) else data
        check_subjects(self.data, self.folder)
        self.test = self.data.only("test")

    def _reduce(self, counts: Mapping[str, int]) -> None:
        """Go on with fewer images of some splits, from all their subjects, in a dataset of links."""
        folder = self.request.out / "data"
        if not (folder / DONE).is_file() or read_yaml(folder / DONE) != dict(counts):
            rest = [i for i, sample in enumerate(self.data.samples) if sample.split not in counts]
            parts = [self.data.only(split).limit(count, across=True) for split, count in counts.items()]
            reduced = self.data.subset(rest)
            for part in parts:
                reduced = reduced.followed_by(part)
            reduced.save(folder, images="link", overwrite=True)
            write_text(folder / DONE, to_yaml(dict(counts)), overwrite=True)  # last: a folder that is whole
        self.folder, self.data = folder, LandmarkDataset.load(folder, names=self.data.landmarks.names)
        self.test = self.data.only("test")

    def _take_source(self) -> None:
        """What the landmark network starts from: ``encoder``, ``source`` (options) and the ``input`` that it needs."""
        options = dict(self.origin)
        self.trained = RunFolder(options["run"]) if "run" in options else None
        if not options:
            self.trained = self._train_source()
        if self.trained is not None:
            recipe = self.trained.source_recipe()
            self.encoder, self.source = recipe.encoder, {"run": str(self.trained.folder.resolve())}
            self.input = recipe.data.input.model_dump(mode="json")
            return
        self.encoder, self.source = str(options.pop("encoder")), options
        given = parse(SourceConfig, options, "source")
        expects = origin(given, self.encoder, 3, False).expects
        self.input = {"channels": 3, "normalize": expects.normalize, "mean": expects.mean, "std": expects.std}
        if wanted := [method for method in CLASSES if method in self.options["methods"]]:
            try:
                origin(given, self.encoder, 3, True)
            except ConfigError as error:
                self.options["methods"] = tuple(each for each in self.options["methods"] if each not in wanted)
                self.warnings.append(f"not run: {', '.join(wanted)}; {error}")

    def _train_source(self) -> RunFolder:
        """The source: who is seen, learned on the training subjects alone."""
        values, out = self.values, self.request.out / "source"
        self.request.say(f"source: {values['pretraining']['encoder']} learns to tell the training subjects apart")
        overrides = {"data.splits": ["train"], "data.input.size": [values["size"]] * 2, **values["pretraining"]}
        task = Task(Job("source", recipe_values("source-classes"), overrides, 0), self.folder, out)
        list(launched(self.request, work, [task], ["source"]))
        self.request.say(f"source: {100 * source_error(RunFolder(out)):.1f} % of held-out images misclassified")
        return RunFolder(out)

    def jobs(self) -> list[Job]:
        """Every setting; the candidates are trained here, because the rest depends on which of them is chosen."""
        candidates = [key for key in self.candidates() if key[1] in self.options["methods"]]
        outcomes = self.measured([self.job(key, self.seeds[0]) for key in candidates])
        errors: dict[str, list[float]] = {}
        for key, outcome in zip(candidates, outcomes, strict=True):
            errors.setdefault(key[1], []).append(outcome.val_mre)
        self.chosen = min(errors, key=lambda method: sum(errors[method])) if errors else None
        self.plan = settings_of(self.options["methods"], self.counts, self.first, self.chosen, self.options["more"])
        self.plan += [key for key in candidates if key not in self.plan]
        self.plan.sort(key=lambda key: (self.labelled(key[0]), bool(key[2])))
        often = {*self.values.get("repeated", self.options["methods"]), self.chosen}
        return [
            self.job(key, seed)
            for seed in self.seeds
            for key in self.plan
            if seed == self.seeds[0] or (key[1] in often and not key[2])
        ]

    def candidates(self) -> list[Key]:
        """Penalties at the numbers of labels with which validation chooses among them."""
        at = [each for each in read_labels(str(self.values["choose"])) if each in self.counts] or [self.first]
        return [(count, method, "") for count in at for method in self.values["candidates"]]

    def job(self, key: Key, seed: int) -> Job:
        """The run of a setting."""
        return Job(folder_of(key), self.scale.recipe, self.overrides(key), seed)

    def overrides(self, key: Key) -> dict[str, Any]:
        """What a setting changes in the recipe."""
        (labels, method, variant), values = key, self.values
        rounds = max(1, round(values["steps"] / -(-self.labelled(labels) // values["batch"])))
        every = max(1, round(rounds / values["validations"]))
        found: dict[str, Any] = {
            "data.landmarks": list(self.data.landmarks.names),
            "data.input": {**self.input, "size": [values["size"]] * 2},
            "data.augment.flip": 0.5 if self.data.landmarks.pairs else 0.0,
            "data.workers": 0,
            "train.batch_size": values["batch"],
            "data.limit": None if labels == ALL else int(labels),
            "data.limit_across": True,
            "train.epochs": every * max(1, round(rounds / every)),  # the last epoch is validated
            "train.val_every": every,
        }
        if method == "HG":
            hourglass = {"name": "hourglass", "width": values["hourglass_width"]}
            found |= {"method.network": hourglass, "method.transfer": None}
        else:
            options = values["transfer"][method]
            transfer = None if options is None else {"name": "cross_task", "source": self.source, **options}
            found |= {"method.network.encoder": self.encoder, "method.network.width": values["width"]}
            found["method.transfer"] = transfer
        adaloss = {"name": "adaloss", "sigma_min": 1.0, "rho": 0.9 * values["size"] / 4 / 256}
        more = {"adaloss": {"method.schedule": adaloss}, "unlabelled": {"data.unlabelled": values["batch"]}}
        return found | more.get(variant, {})

    def facts(self) -> dict[str, Any]:
        return {
            **super().facts(),
            "what": "Drawn heads" if self.request.data is None else f"Dataset {self.test.name}",
            "landmarks": len(self.test.landmarks),
            "subjects": len(set(self.subjects)),
            "persons": len(set(self.data.only("train").groups)),
            "source": self._source_in_words(),
        }

    def _source_in_words(self) -> str:
        if self.trained is None:
            weights = str(self.source.get("weights", "timm's"))
            known = PRETRAINED.get(weights)
            learned = f", trained on {known.learned}" if known else ""
            return f"{self.encoder} with the weights {Path(weights).name}{learned}"
        classes = len((self.trained.folder / "classes.csv").read_text(encoding="utf-8").splitlines()) - 1
        wrong = f"{100 * source_error(self.trained):.1f} % of held-out images misclassified"
        return f"{self.encoder}, trained from scratch to tell the {classes} training subjects apart ({wrong})"


def source_origin(given: str | None, usual: Mapping[str, Any] | None) -> dict[str, Any]:
    """Options of ``method.transfer.source`` and the ``encoder``; empty where the source is to be trained.

    ``given``: the name of weights, ``trained``, or the run folder of a source; None: as ``usual``.

    >>> source_origin("lite0", None), source_origin("trained", {"encoder": "resnet50", "pretrained": True})
    ({'encoder': 'tf_efficientnet_lite0', 'weights': 'lite0'}, {})
    """
    if given in PRETRAINED:
        return {"encoder": PRETRAINED[given].encoder, "weights": given}
    if given is None:
        return dict(usual or {})
    return {} if given == TRAINED else {"run": str(Path(given).resolve())}


def read_labels(text: str) -> tuple[str, ...]:
    """Numbers of labelled images, as text, ``all`` for all of them.

    >>> read_labels("20,all")
    ('20', 'all')
    """
    values = tuple(part.strip() for part in text.split(","))
    for value in values:
        if value != ALL and not (value.isascii() and value.isdigit() and int(value)):
            raise ConfigError(f"labels: expected numbers of images such as 50,100,{ALL}, got '{value}'")
    return tuple(dict.fromkeys(values))


def settings_of(
    methods: Sequence[str], counts: Sequence[str], first: str, chosen: str | None, more: Sequence[str]
) -> list[Key]:
    """Every setting: all methods with ``first`` labels, but of the penalties that only validation knows the chosen one;
    the chosen one and those it is compared with at the other ``counts``."""
    pair = [method for method in (*COMPARED, *([] if chosen is None else [chosen])) if method in methods]
    out: list[Key] = [(count, method, "") for count in counts for method in (methods if count == first else pair)]
    if "adaloss" in more:
        out += [(first, method, "adaloss") for method in pair if method != "scratch"]
    if "unlabelled" in more and chosen in methods and chosen is not None and first != ALL:
        out.append((first, chosen, "unlabelled"))
    return out


def check_subjects(data: LandmarkDataset, folder: Path) -> None:
    """Raise DataError without subjects, without the three splits, or when two of them share a subject."""
    splits = ("train", "val", "test")
    groups = {name: {sample.subject for sample in data.samples if sample.split == name} for name in splits}
    if lacking := [name for name, subjects in groups.items() if not subjects or "" in subjects]:
        wanted = "expected the splits train, val and test with a subject in every row"
        fix = "fill the columns split and subject (trigpoint data split)"
        raise DataError(f"{folder}: {wanted}, got none in {lacking[0]}; {fix}")
    for a, b in combinations(splits, 2):
        if shared := groups[a] & groups[b]:
            found = f"expected each subject in one split, got '{min(shared)}' in {a} and {b}"
            raise DataError(f"{folder}: {found}; split by subject: trigpoint data split --force")


def source_error(run: RunFolder) -> float:
    """Share of the source's own validation images that it misclassifies."""
    return float(run.history_table()["val_error"].min())
