"""Command line of the model workshop: train a stage, export stages."""

from __future__ import annotations

import argparse
from pathlib import Path

STAGES = ("detect", "keypoints", "segment", "embed")


def main() -> None:
    """`python -m lookalike_export train STAGE --data DATA`."""
    parser = argparse.ArgumentParser(prog="lookalike_export", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train one stage; continues where it stopped")
    train.add_argument("stage", choices=STAGES)
    train.add_argument("--data", type=Path, required=True, help="folder with street/ and items/")
    train.add_argument("--epochs", type=int, default=0, help="0: the stage's own number")
    for command in (train,):
        command.add_argument("--build", type=Path, default=Path("build"), help="where checkpoints and caches lie")
        command.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    from importlib import import_module

    import_module(f"lookalike_export.{arguments.stage}").train(arguments)


if __name__ == "__main__":
    main()
