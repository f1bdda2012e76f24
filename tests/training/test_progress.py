"""The bar of a training: in a narrow terminal the time left stays, and after any end the terminal is as it was."""

import io
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from trigpoint.methods.validation import RadialError
from trigpoint.training.callbacks import Progress


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_time_left_is_seen(width: int) -> None:
    console = Console(width=width, force_terminal=True, color_system=None, file=io.StringIO())
    bar, metric = Progress(console), RadialError()
    metric.show_in((0.1, 0.1))
    trainer = cast(Any, SimpleNamespace(is_global_zero=True, num_training_batches=10, max_epochs=210, current_epoch=0))
    bar.on_train_start(trainer, cast(Any, SimpleNamespace(metric=metric)))
    numbers = {"val_mre_px": 15.9, "val_median_px": 12.0}
    bar.announce(trainer, {"epoch": 175, "train_loss": 0.01765, "data_wait_share": 0.04, "minutes": 3.0, **numbers})
    assert bar.bar is not None
    page = Console(width=width, color_system=None, file=(text := io.StringIO()))
    page.print(bar.bar.get_renderable())
    line = text.getvalue().rstrip("\n")
    assert len(line.splitlines()) == 1
    assert "…" not in line
    assert "epoch 175/210" in line
    assert "MRE 1.59 mm" in line
    assert line.rstrip().endswith("-:--:-- left")
    assert ("data wait" in line) == (width > 110)
    bar.close()
    assert bar.bar is None
    bar.close()  # of a training that ended before it began
