"""The command line: `python -m devbatch start`."""

import asyncio
import logging
from pathlib import Path
from typing import get_args

import click

from devbatch.errors import ConfigurationError, ServiceError
from devbatch.server import serve
from devbatch.settings import (
    EnableAutoscale,
    Quota,
    Settings,
    pool_of_nodes,
    read_images,
    read_pairs,
    read_pool_file,
)


@click.group()
def main() -> None:
    """A local Azure Batch service: its REST interface on loopback, tasks as local processes."""


@main.command()
@click.option("--port", default=0, show_default="a free one", help="Port on 127.0.0.1.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".devbatch"),
    show_default=True,
    help="Folder for certificate, address.json and the nodes' disks.",
)
@click.option(
    "--pool",
    "pool_files",
    type=click.Path(dir_okay=False, path_type=Path),
    multiple=True,
    help="TOML file with [[pools]] and [quota]; may be repeated.",
)
@click.option("--nodes", type=click.IntRange(1), help="Make a pool `local` of so many dedicated nodes.")
@click.option(
    "--slots", type=click.IntRange(1), default=1, show_default=True, help="Task slots of its nodes."
)
@click.option(
    "--image", "images", multiple=True, metavar="IMAGE=COMMAND", help="What runs for a container image."
)
@click.option("--env", "variables", multiple=True, metavar="NAME=VALUE", help="Set in every task.")
@click.option(
    "--boot-seconds", type=click.FloatRange(0), default=120.0, show_default=True, help="Until a node is up."
)
@click.option(
    "--time-scale",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="How much faster boots, samples and formula evaluations run.",
)
@click.option(
    "--enable-autoscale",
    type=click.Choice(get_args(EnableAutoscale)),
    default="at-once",
    show_default=True,
    help="When a request to enable autoscale has the formula evaluated.",
)
@click.option(
    "--foreign-environment",
    is_flag=True,
    help="Run tasks with another PATH, without HOME, and where started as root as a fresh user each.",
)
def start(
    port: int,
    data: Path,
    pool_files: tuple[Path, ...],
    nodes: int | None,
    slots: int,
    images: tuple[str, ...],
    variables: tuple[str, ...],
    boot_seconds: float,
    time_scale: float,
    enable_autoscale: EnableAutoscale,
    foreign_environment: bool,
) -> None:
    """Start the service and run until interrupted; its URL is printed and written to DATA/address.json."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    quota = Quota()
    pools = [pool_of_nodes(nodes, slots)] if nodes is not None else []
    try:
        for path in pool_files:
            entries, own_quota = read_pool_file(path)
            pools += entries
            quota = own_quota or quota
        settings = Settings(
            data=data.resolve(),
            images=read_images(images),
            environment=read_pairs("--env", variables),
            boot_s=boot_seconds,
            time_scale=time_scale,
            quota=quota,
            pools=tuple(pools),
            enable_autoscale=enable_autoscale,
            has_foreign_environment=foreign_environment,
        )
        asyncio.run(serve(settings, port, click.echo))
    except (ConfigurationError, ServiceError) as refused:
        raise click.ClickException(str(refused)) from refused


if __name__ == "__main__":
    main()
