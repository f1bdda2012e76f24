"""TensorBoard, Weights & Biases and MLflow."""

from __future__ import annotations

import logging
import math
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger, WandbLogger

from trigpoint.config import to_yaml
from trigpoint.data.files import copy_file
from trigpoint.errors import EndedEarly, RunError, TrigpointError, needed
from trigpoint.recipe import Recipe, SourceRecipe
from trigpoint.runs.lock import locked
from trigpoint.runs.record import digest
from trigpoint.training.tracking.base import Tracker, flat, plain, unopened

PROJECT = "trigpoint"
"""Project of W&B and experiment of MLflow, where WANDB_PROJECT or MLFLOW_EXPERIMENT_NAME name none."""
_WAIT = 60.0  # seconds for another process to make the database


class _TensorBoard(TensorBoardLogger):
    def finalize(self, status: str) -> None:
        """Nothing: what is measured after the last epoch is still to come."""


class _Mlflow(MLFlowLogger):
    def finalize(self, status: str = "success") -> None:
        """As above."""


class TensorBoard(Tracker):
    """Event files in ``tensorboard/`` of the run folder."""

    kind = "tensorboard"
    logger: TensorBoardLogger

    @staticmethod
    def check() -> None:
        """It comes with what trains."""

    def open(self) -> None:
        """New event files beside those of before."""
        self.logger = _TensorBoard(self.run.folder, name="", version="tensorboard")

    def begin(self, recipe: Recipe | SourceRecipe) -> None:
        """The recipe as text."""
        self.open()
        text = "".join(f"    {line}\n" for line in (f"sha256 {digest(self.run.config)}", *to_yaml(recipe).splitlines()))
        self.logger.experiment.add_text("recipe", text)

    def measures(self, values: Mapping[str, float], epoch: int) -> None:
        """As text, for scalars are curves."""
        rows = "".join(f"- {key}: {value:.6g}\n" for key, value in values.items() if not math.isnan(value))
        self.logger.experiment.add_text("measures", rows, epoch)

    def _file(self, file: Path) -> None:
        if file.suffix == ".md":
            self.logger.experiment.add_text(file.stem, file.read_text(encoding="utf-8"))

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        yield  # its files are of the run folder, so a full disk ends the training as for any other

    def _close(self, ended: BaseException | None) -> None:
        self.logger.experiment.close()


class Wandb(Tracker):
    """Weights & Biases: offline in ``wandb/`` of the run folder, unless WANDB_MODE says otherwise."""

    kind = "wandb"
    logger: WandbLogger

    @staticmethod
    def check() -> None:
        """Raise ConfigError where it is not installed."""
        if os.environ.get("WANDB_MODE", "offline") != "online":
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # read when it is imported
        with needed("train.logger=wandb"):
            import wandb  # noqa: F401

    def begin(self, recipe: Recipe | SourceRecipe) -> None:
        """The recipe as the run's config."""
        self.open()
        values = recipe.model_dump(mode="json") | {"recipe_sha256": digest(self.run.config)}
        with self._told("the recipe"):
            self.logger.log_hyperparams(values)

    def open(self) -> None:
        """Offline, a resumed run is another folder with the same id, which ``wandb sync`` joins."""
        import wandb

        mode = os.environ.get("WANDB_MODE", "offline")
        self._mine = wandb.run is None  # else one that the caller has begun, and ends
        identity = self._known() or uuid.uuid4().hex[:16]
        try:
            opened = wandb.init(
                name=os.environ.get("WANDB_NAME", self.run.folder.resolve().name),
                dir=self.run.folder,
                id=identity,
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                mode=cast(Any, mode),
                resume="allow" if mode == "online" else None,
                settings=wandb.Settings(console="off", silent=True, save_code=False),
            )
        except Exception as error:  # of many types: no login, no network, no rights
            raise unopened(self.kind, error, "log in with 'wandb login', or unset WANDB_MODE") from None
        opened.define_metric("trainer/global_step")  # what Lightning calls the step
        opened.define_metric("*", step_metric="trainer/global_step", step_sync=True)
        self.logger = WandbLogger(experiment=opened)
        self._note(str(opened.id))

    def _file(self, file: Path) -> None:
        place = Path(self.logger.experiment.dir) / ("recipe.yaml" if file.name == "config.yaml" else file.name)
        copy_file(file, place, overwrite=True)  # of its own, and config.yaml is what W&B calls one of its files
        self.logger.experiment.save(str(place), base_path=str(place.parent), policy="now")

    def _close(self, ended: BaseException | None) -> None:
        if self._mine:
            self.logger.experiment.finish(exit_code=0 if ended is None or isinstance(ended, EndedEarly) else 1)


class Mlflow(Tracker):
    """MLflow: the file ``mlflow.db`` beside the run folder, unless MLFLOW_TRACKING_URI says otherwise."""

    kind = "mlflow"
    logger: MLFlowLogger

    @staticmethod
    def check() -> None:
        """Raise ConfigError where it is not installed, or what its database needs."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when it is imported
        with needed("train.logger=mlflow"):
            import mlflow  # noqa: F401

            if "MLFLOW_TRACKING_URI" not in os.environ:
                import alembic  # noqa: F401
                import sqlalchemy  # noqa: F401
        for name in ("mlflow", "alembic"):  # which tell of each table that they make
            logging.getLogger(name).setLevel(logging.WARNING)

    def begin(self, recipe: Recipe | SourceRecipe) -> None:
        """The recipe as parameters; a changed value, such as a new length, is a tag, for they never change."""
        self.open()
        client, identity = self.logger.experiment, str(self.logger.run_id)
        with self._told("the recipe"):
            client.update_run(identity, status="RUNNING")
            client.set_tag(identity, "recipe_sha256", digest(self.run.config))
            before = client.get_run(identity).data.params
            given = {plain(key): str(value) for key, value in flat(recipe.model_dump(mode="json")).items()}
            self.logger.log_hyperparams({key: value for key, value in given.items() if key not in before})
            for key, value in given.items():
                if key in before and before[key] != value[:250]:
                    client.set_tag(identity, f"now.{key}", value)

    def open(self) -> None:
        """Make the database and the experiment where there are none."""
        place = self.run.folder.resolve().parent
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        try:
            with ExitStack() as stack:
                if uri is None:
                    _take(stack, place / ".mlflow.lock")  # two that make the tables fail
                self._make(uri or f"sqlite:///{place / 'mlflow.db'}", None if uri else (place / "mlartifacts").as_uri())
        except TrigpointError:
            raise
        except Exception as error:  # of many types: no server, no driver, no rights
            raise unopened(self.kind, error, "correct or unset MLFLOW_TRACKING_URI") from None

    def _make(self, uri: str, files: str | None) -> None:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        client, identity = MlflowClient(uri), self._known()
        if identity is not None:
            try:
                client.get_run(identity)
            except MlflowException:
                self.tell(f"{uri}: has no run {identity}, with which {self.run.folder} was recorded; this is a new one")
                identity = None
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        if client.get_experiment_by_name(name) is None:
            client.create_experiment(name, artifact_location=files)
        self.logger = _Mlflow(name, self.run.folder.resolve().name, uri, run_id=identity)
        given = os.environ.get("MLFLOW_TRACKING_URI")
        self._note(str(self.logger.run_id))
        if given is None:  # MLflow sets it, and the next training of this process would be recorded here too
            os.environ.pop("MLFLOW_TRACKING_URI", None)

    def _file(self, file: Path) -> None:
        self.logger.experiment.log_artifact(self.logger.run_id, str(file))

    def _close(self, ended: BaseException | None) -> None:
        stopped = isinstance(ended, KeyboardInterrupt | EndedEarly)
        status = "KILLED" if stopped else "FINISHED" if ended is None else "FAILED"
        self.logger.experiment.set_terminated(self.logger.run_id, status)


def _take(stack: ExitStack, file: Path) -> None:
    """Hold a lock until ``stack`` ends, waiting for who has it."""
    until = time.monotonic() + _WAIT
    while time.monotonic() < until:
        with suppress(RunError):  # another has it
            stack.enter_context(locked(file))
            return
        time.sleep(0.1)
    stack.enter_context(locked(file, "its MLflow database is being opened", f"end that, or remove {file}"))


TRACKERS: dict[str, type[Tracker]] = {each.kind: each for each in (TensorBoard, Wandb, Mlflow)}
"""By their names in ``train.logger``."""
