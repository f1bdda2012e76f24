"""The command line: one file per verb, put together here.

Only typer is imported at the start; a verb imports what it needs when it runs, so ``--help`` answers at once. Bad input
(``TrigpointError``, or a file the system refuses) becomes one message and exit code 2; Ctrl-C exits with 130, SIGTERM
with 143; any other exception is a bug and keeps its traceback.
"""

import typer

from trigpoint.cli.console import Several, Verbs, began_beside_another
from trigpoint.cli.data import app as data
from trigpoint.cli.demo import demo
from trigpoint.cli.doctor import doctor
from trigpoint.cli.evaluate import evaluate
from trigpoint.cli.export import export
from trigpoint.cli.label import label
from trigpoint.cli.predict import predict
from trigpoint.cli.recipes import recipes
from trigpoint.cli.reproduce import reproduce
from trigpoint.cli.runs import runs
from trigpoint.cli.serve import serve
from trigpoint.cli.sweep import sweep
from trigpoint.cli.train import train
from trigpoint.cli.verify import verify
from trigpoint.errors import end_in_time, end_with_parent

__all__ = ["app", "main"]

app = typer.Typer(
    cls=Verbs,
    help="Find landmarks in images precisely, from few annotated examples. New here? Run 'trigpoint demo'.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (demo, label, train, evaluate, runs, verify, sweep, predict, export, serve, reproduce, recipes, doctor):
    app.command(cls=Several if verb is evaluate else None)(verb)
app.add_typer(data, name="data")


def _version(wanted: bool) -> None:
    if wanted:
        from trigpoint import __version__

        typer.echo(f"trigpoint {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Where the option of the program itself stands."""


def main() -> None:
    """Entry point of ``trigpoint``."""
    end_in_time()
    if began_beside_another():
        end_with_parent()
    app(prog_name="trigpoint")
