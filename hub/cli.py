"""The command `crossdock`. Thin: each command is one function somewhere else."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from hub.errors import CrossdockError

app = typer.Typer(
    name="crossdock",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="One stock, one order, one customer truth across all channels.",
)
topics_app = typer.Typer(no_args_is_help=True, help="Topics in Kafka, from schemas/topics.")
app.add_typer(topics_app, name="topics")
engine_app = typer.Typer(no_args_is_help=True, help="The stream engines of a running hub.")
app.add_typer(engine_app, name="engine")

deliver_app = typer.Typer(no_args_is_help=True, help="What channels are told.")
app.add_typer(deliver_app, name="deliver")

ConfigOption = Annotated[Path, typer.Option("-c", "--config", help="hub.yaml")]


@app.command()
def demo(
    duration: Annotated[float | None, typer.Option(help="Seconds of selling; without it until Ctrl-C.")] = None,
    rate: Annotated[float, typer.Option(help="Sales per second, all shops together.")] = 20.0,
    seed: Annotated[int, typer.Option(help="The same seed sells the same things.")] = 7,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the report here as well.")] = None,
    port: Annotated[int, typer.Option(help="First of the ports it takes.")] = 18080,
    data_dir: Annotated[Path, typer.Option(help="Where logs, topics and reports go.")] = Path(".crossdock/demo"),
    kill: Annotated[bool, typer.Option("--kill", help="Kill the streams once, mid-way.")] = False,
) -> None:
    """Run the whole hub here with simulated shops and show what happens."""
    from hub.demo.main import Options, run

    raise typer.Exit(run(Options(duration=duration, rate=rate, seed=seed, json_file=json_file, port=port, data_dir=data_dir.absolute(), kill=kill)))


@app.command()
def up(config: ConfigOption = Path("hub.yaml")) -> None:
    """Run the whole hub here with the channels of hub.yaml; Kafka and registry by URL, or embedded."""
    from hub.up import run

    raise typer.Exit(run(config))


@app.command("run")
def run_command(
    part: Annotated[str, typer.Argument(help="ingest, streams, insight, deliver, store or api")],
    config: ConfigOption = Path("hub.yaml"),
    slot: Annotated[str, typer.Option(help="Stable name of this place among several of the same part.")] = "0",
) -> None:
    """Run one part; start more of it to scale."""
    from hub.parts import run

    raise typer.Exit(run(part, config, slot))


@topics_app.command("apply")
def topics_apply(config: ConfigOption = Path("hub.yaml")) -> None:
    """Create what is missing and register the schemas. Refuses what differs."""
    from hub.parts import apply_topics

    for name, what in apply_topics(config):
        typer.echo(f"{what:10} {name}")


@topics_app.command("list")
def topics_list() -> None:
    """Every topic: key, partitions, cleanup, purpose."""
    from schemas.catalogue import topics

    for name, spec in sorted(topics().items()):
        typer.echo(f"{name:34} {spec.key:28} {spec.partitions:3} {spec.cleanup:8} {spec.purpose}")


@engine_app.command("status")
def engine_status(
    config: ConfigOption = Path("hub.yaml"),
    url: Annotated[list[str] | None, typer.Option(help="Address of a streams process on another machine; may be repeated.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable; with --watch one line for each look.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every two seconds until Ctrl-C.")] = False,
) -> None:
    """Processors, columns, offsets, lag, restore, transactions. Exit 0 healthy, 1 unhealthy, 2 nobody answers.

    Processes on this machine are found by the hub's data folder. Columns whose process does not answer are shown as Kafka knows them.
    """
    from hub.engines.command import status

    raise typer.Exit(status(config, url or [], as_json, watch))


@engine_app.command("end-transaction")
def engine_end_transaction(
    transactional_id: Annotated[str, typer.Argument(help="As `engine status` or Kafka's own tools name it, for example crossdock.stock.0.")],
    config: ConfigOption = Path("hub.yaml"),
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Abort what a transactional id has left open, so that readers of committed records come past it.

    It is what a new process under that id does first. Nothing that was committed is touched. An engine of the hub that is
    alive under the id notices, throws its producer away and does the same again: nothing is lost. A producer of somebody
    else's stops with an error. Exit 0 when a partition came free, 1 when none did. See docs/runbooks/hanging-transaction.md.
    """
    from hub.engines.command import end_transaction

    raise typer.Exit(end_transaction(config, transactional_id, yes))


@deliver_app.command("allow")
def deliver_allow(
    channel: Annotated[str, typer.Argument(help="As hub.yaml names it.")],
    config: ConfigOption = Path("hub.yaml"),
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Let the numbers go that are held back because too many of a channel's listings would go to 0, once.

    It says which they are, and asks. Exit 0 when they go, 1 when nothing does. See docs/runbooks/brake.md.
    """
    from hub.deliver.allow import run

    raise typer.Exit(run(config, channel, yes))


@app.command()
def verify(config: ConfigOption = Path("hub.yaml"), as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False) -> None:
    """Recompute from the topics that nothing was lost or doubled. Exit 1 when something differs."""
    from hub.verify.command import run

    raise typer.Exit(run(config, as_json))


@app.command("stock")
def stock_command(
    sku: Annotated[str, typer.Argument(help="Case and outer blanks do not matter.")],
    config: ConfigOption = Path("hub.yaml"),
    as_json: Annotated[bool, typer.Option("--json", help="What the API answers.")] = False,
) -> None:
    """Where an item is, how sure that is, what each channel may sell and why, and what happened last. Exit 1 when there is no such item."""
    from hub.api.command import stock

    raise typer.Exit(stock(sku, config, as_json))


@app.command("try")
def try_command(
    file: Annotated[str, typer.Argument(help="JSON Lines, or - for standard input.")],
    locations: Annotated[Path | None, typer.Option(help="locations.yaml")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON Lines on stdout.")] = False,
) -> None:
    """Feed records to the processors in memory and see everything they write."""
    import gc
    import os

    from hub.try_cmd import run

    # Everything that is written is kept until the end anyway. Looking through it again and again takes a tenth of the time,
    # and so does giving it back object by object when all has been said.
    gc.disable()
    code = run(file, locations, as_json)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@app.command()
def check() -> None:
    """Validate topics, schemas, examples and manifests of this installation."""
    from hub.check import run

    raise typer.Exit(run())


def main() -> None:
    """Entry point. Known errors are one line on stderr and exit 2; anything else is a bug and shows its traceback."""
    try:
        app()
    except CrossdockError as error:
        print(f"crossdock: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
