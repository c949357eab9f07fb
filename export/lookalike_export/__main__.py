"""Command line of the model workshop: train, export, take over, check, quantize, and remember how good models are."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from lookalike_export.hub.command import add_parser as _add_hub

INT8_FILE = "model.int8.onnx"
STAGE_NAMES = ("detect", "keypoints", "segment", "embed")

# Commands import what they need when they run: training needs torch, --target tensorrt runs where there is none.
Commands = Any  # argparse's own class for them is private


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m lookalike_export COMMAND ...`; returns 1 after an error that the user can mend."""
    parser = argparse.ArgumentParser(prog="lookalike_export", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for add in (_add_train, _add_export, _add_check, _add_quantize, _add_record, _add_hub):
        add(commands)
    options = parser.parse_args(arguments)
    code: int = options.run(options)
    return code


def _add_train(commands: Commands) -> None:
    train = commands.add_parser("train", help="train one stage; continues where it stopped")
    train.add_argument("stage", choices=STAGE_NAMES)
    _add_data(train)
    train.add_argument("--epochs", type=int, default=0, help="0: the stage's own number")
    train.add_argument(
        "--start",
        type=Path,
        metavar="FILE",
        help="begin with the weights of an earlier training (last.pt), or with those of an exported model.onnx",
    )
    train.add_argument("--seed", type=int, default=0)
    _add_repository(train)
    _add_build(train)
    train.set_defaults(run=_train)


def _add_export(commands: Commands) -> None:
    export = commands.add_parser("export", help="write the models that Triton serves")
    export.add_argument(
        "stages", nargs="*", metavar="STAGE", help="detect, keypoints, segment, embed; none: all that are trained"
    )
    export.add_argument(
        "--target",
        choices=("onnx", "tensorrt"),
        default="onnx",
        help="onnx: model.onnx of trained stages, checked against torch and Triton's configurations; "
        "tensorrt: model.plan from model.onnx, for the GPU of this machine",
    )
    export.add_argument("--force", action="store_true", help="replace a better model, or one of which nothing is known")
    _add_repository(export)
    _add_records(export)
    _add_build(export)
    export.set_defaults(run=_export)


def _add_check(commands: Commands) -> None:
    check = commands.add_parser("check", help="run every graph and hold it against Triton's configurations")
    _add_repository(check)
    check.set_defaults(run=_check)


def _add_quantize(commands: Commands) -> None:
    quantize = commands.add_parser("quantize", help="try int8 graphs of a stage and measure them")
    quantize.add_argument("stage", choices=STAGE_NAMES)
    _add_data(quantize)
    quantize.add_argument("--calibration", type=int, default=96, metavar="N", help="train photos to calibrate with")
    quantize.add_argument("--most", type=int, metavar="N", help="photos or garments to judge; all when not given")
    quantize.add_argument("--rounds", type=int, default=30, help="of the speed measurement")
    quantize.add_argument("--keep", action="store_true", help=f"put the fastest better one beside it, as {INT8_FILE}")
    _add_repository(quantize)
    _add_build(quantize)
    quantize.set_defaults(run=_quantize)


def _add_record(commands: Commands) -> None:
    record = commands.add_parser("record", help="remember what make accuracy measured of the models in place")
    _add_repository(record)
    _add_records(record)
    _add_build(record)
    record.set_defaults(run=_record)


def _add_data(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data", type=Path, required=True, help="folder with street/ and items/")


def _add_build(command: argparse.ArgumentParser) -> None:
    command.add_argument("--build", type=Path, default=Path("build"), help="where checkpoints and caches lie")


def _add_repository(command: argparse.ArgumentParser) -> None:
    command.add_argument("--repository", type=Path, default=Path("model_repository"))


def _add_records(command: argparse.ArgumentParser) -> None:
    command.add_argument("--records", type=Path, default=Path("export/figures.json"), help="how good the models are")


def _train(options: argparse.Namespace) -> int:
    from lookalike_export.training.checks import check_data
    from lookalike_export.training.photos import DataError

    try:
        check_data(options.data, options.stage)
        import_module(f"lookalike_export.training.{options.stage}").train(options)
    except DataError as error:
        # A loader's worker hands its error on with its whole traceback as the text.
        return _fail(str(error).strip().rpartition("DataError: ")[2])
    return 0


def _export(options: argparse.Namespace) -> int:
    if unknown := set(options.stages) - set(STAGE_NAMES):
        return _fail(f"there is no stage {', '.join(sorted(unknown))}; choose from {', '.join(STAGE_NAMES)}")
    return _export_tensorrt(options) if options.target == "tensorrt" else _export_onnx(options)


def _export_onnx(options: argparse.Namespace) -> int:
    trained = [stage for stage in STAGE_NAMES if (_training(options.build, stage) / "last.pt").exists()]
    wanted = options.stages or trained
    if missing := [stage for stage in wanted if stage not in trained] or ([] if wanted else list(STAGE_NAMES)):
        return _fail(f"{', '.join(missing)} not trained below {options.build}; make train STAGE=... first")
    from lookalike_export.onnx_files import ParityError

    for stage in wanted:
        try:
            _export_stage(stage, options)
        except (ParityError, ValueError) as error:  # also a checkpoint, configuration or record that does not fit
            return _fail(f"{stage} is not written: {error}")
    return 0


def _export_stage(stage: str, options: argparse.Namespace) -> None:
    from lookalike_export.figures import check_not_worse, record_trained
    from lookalike_export.onnx_files import export_stage
    from lookalike_export.served import load_stage
    from lookalike_export.triton_config import stage_configs

    training = _training(options.build, stage)
    configs = stage_configs(options.repository, stage)
    path = configs[0].exported
    if not options.force:
        check_not_worse(stage, model=path, history=training / "history.json", records=options.records)
    report = export_stage(stage, load_stage(stage, training / "last.pt"), path, configs=configs)
    record_trained(stage, model=path, history=training / "history.json", records=options.records)
    apart = ", ".join(f"{name} {value:.2g}" for name, value in report.differences.items())
    print(f"{report.path}: {report.size / 1e6:.1f} MB; largest difference from torch: {apart}")
    if (old := path.with_name(INT8_FILE)).exists():
        print(f"{old} still has the weights of before; make it anew: quantize {stage} --keep --data ...")


def _export_tensorrt(options: argparse.Namespace) -> int:
    from lookalike_export.tensorrt import EngineError, build_engines, load_api
    from lookalike_export.triton_config import ConfigMismatch

    try:
        stages = options.stages or list(STAGE_NAMES)
        cache = options.build / "tensorrt" / "timing.cache"
        for path in build_engines(load_api(), options.repository, stages, timing_cache=cache):
            print(f"{path}: {path.stat().st_size / 1e6:.1f} MB; serve it with --model-config-name=tensorrt")
    except (EngineError, ConfigMismatch) as error:
        return _fail(str(error))
    return 0


def _check(options: argparse.Namespace) -> int:
    from lookalike_export.graph_check import check_repository
    from lookalike_export.triton_config import ConfigMismatch

    try:
        for path in check_repository(options.repository, STAGE_NAMES):
            print(f"{path}: as Triton's configurations say")
    except ConfigMismatch as error:
        return _fail(str(error))
    return 0


def _quantize(options: argparse.Namespace) -> int:
    from lookalike_export.quantize import TABLE_HEAD, best_int8, int8_path, table, try_int8
    from lookalike_export.training.photos import DataError
    from lookalike_export.trials import Photographs
    from lookalike_export.triton_config import ConfigMismatch, stage_configs

    photographs = Photographs(options.data, options.build, options.repository)
    try:
        measured = try_int8(
            options.stage,
            photographs,
            calibration=options.calibration,
            most=options.most,
            rounds=options.rounds,
        )
    except (DataError, ConfigMismatch) as error:
        return _fail(str(error))
    print(TABLE_HEAD)
    print(table(options.stage, measured))
    print(f"the graphs lie in {options.build / 'int8' / options.stage}")
    if not options.keep:
        return 0
    best = best_int8(measured)
    if best is None:
        return _fail(f"no int8 graph of {options.stage} is better than the committed one; nothing is kept")
    target = stage_configs(options.repository, options.stage)[0].served.with_name(INT8_FILE)
    shutil.copyfile(int8_path(photographs, options.stage, best.variant), target)
    print(f'{target}: {best.variant}; a configuration serves it with default_model_filename: "{INT8_FILE}"')
    return 0


def _record(options: argparse.Namespace) -> int:
    from lookalike_export.figures import FiguresError, record_served

    try:
        record_served(options.build / "accuracy.json", repository=options.repository, records=options.records)
    except FiguresError as error:
        return _fail(str(error))
    print(f"written to {options.records}")
    return 0


def _training(build: Path, stage: str) -> Path:
    return build / "train" / stage


def _fail(message: str) -> int:
    print(f"lookalike_export: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
