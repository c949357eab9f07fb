"""Command line of the model workshop: train a stage, export trained stages into the model repository."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

STAGE_NAMES = ("detect", "keypoints", "segment", "embed")


def main() -> int:
    """`python -m lookalike_export train STAGE --data DATA` or `... export [STAGE ...]`."""
    parser = argparse.ArgumentParser(prog="lookalike_export", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train one stage; continues where it stopped")
    train.add_argument("stage", choices=STAGE_NAMES)
    train.add_argument("--data", type=Path, required=True, help="folder with street/ and items/")
    train.add_argument("--epochs", type=int, default=0, help="0: the stage's own number")
    train.add_argument("--start", type=Path, metavar="CHECKPOINT", help="begin with the weights of an earlier training")
    train.add_argument("--seed", type=int, default=0)
    export = commands.add_parser("export", help="write model.onnx of trained stages, checked against torch")
    export.add_argument(
        "stages", nargs="*", metavar="STAGE", help="detect, keypoints, segment, embed; none: all that are trained"
    )
    export.add_argument("--repository", type=Path, default=Path("model_repository"))
    for command in (train, export):
        command.add_argument("--build", type=Path, default=Path("build"), help="where checkpoints and caches lie")
    arguments = parser.parse_args()
    if arguments.command == "train":
        return _train(arguments)
    if unknown := set(arguments.stages) - set(STAGE_NAMES):
        parser.error(f"there is no stage {', '.join(sorted(unknown))}; choose from {', '.join(STAGE_NAMES)}")
    return _export(arguments)


def _train(arguments: argparse.Namespace) -> int:
    from lookalike_export.training.photos import DataError

    try:
        import_module(f"lookalike_export.training.{arguments.stage}").train(arguments)
    except DataError as error:
        print(f"lookalike_export: {error}", file=sys.stderr)
        return 1
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from lookalike_export.onnx_files import ParityError, export_stage
    from lookalike_export.served import load_stage

    trained = [stage for stage in STAGE_NAMES if _checkpoint(arguments.build, stage).exists()]
    wanted = arguments.stages or trained
    if missing := [stage for stage in wanted if stage not in trained] or ([] if wanted else list(STAGE_NAMES)):
        print(
            f"lookalike_export: {', '.join(missing)} not trained below {arguments.build}; make train STAGE=... first",
            file=sys.stderr,
        )
        return 1
    for stage in wanted:
        try:
            report = export_stage(
                stage,
                load_stage(stage, _checkpoint(arguments.build, stage)),
                arguments.repository / stage / "1" / "model.onnx",
            )
        except ParityError as error:
            print(f"lookalike_export: nothing written: {error}", file=sys.stderr)
            return 1
        apart = ", ".join(f"{name} {value:.2g}" for name, value in report.differences.items())
        print(f"{report.path}: {report.size / 1e6:.1f} MB; largest difference from torch: {apart}")
    return 0


def _checkpoint(build: Path, stage: str) -> Path:
    return build / "train" / stage / "last.pt"


if __name__ == "__main__":
    sys.exit(main())
