"""The model repository says what the design says, in every configuration, and its vocabularies agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from support_glue import REPOSITORY

Config = Any  # ModelConfig of Triton's protobufs, which bring no types
ONNX_STAGES = ("detect", "keypoints", "segment", "embed")
GLUE_STAGES = ("decode", "crop")
ENSEMBLES = ("garments_1", "garments_in_regions_1")
FILES = sorted(REPOSITORY.glob("*/config.pbtxt")) + sorted(REPOSITORY.glob("*/configs/*.pbtxt"))

# Name -> (type, dims without the batch), as the stages' contract has them.
CONTRACT: dict[str, tuple[int, dict[str, tuple[str, list[int]]], dict[str, tuple[str, list[int]]]]] = {
    "decode": (
        0,
        {"image": ("UINT8", [-1])},
        {"pixels": ("UINT8", [-1, -1, 3]), "letterbox": ("UINT8", [1, 3, 352, 352]), "frame": ("FP32", [1, 5])},
    ),
    "detect": (
        16,
        {"letterbox": ("UINT8", [3, 352, 352])},
        {"boxes": ("FP32", [16, 4]), "scores": ("FP32", [16]), "classes": ("INT32", [16])},
    ),
    "crop": (
        0,
        {
            "pixels": ("UINT8", [-1, -1, 3]),
            "frame": ("FP32", [1, 5]),
            "options": ("FP32", [2]),
            "boxes": ("FP32", [1, 16, 4]),
            "scores": ("FP32", [1, 16]),
            "classes": ("INT32", [1, 16]),
            "regions": ("FP32", [-1, 4]),
        },
        {
            "crops": ("UINT8", [-1, 3, 224, 224]),
            "crop_box": ("FP32", [-1, 4]),
            "garment_box": ("FP32", [-1, 4]),
            "garment_score": ("FP32", [-1]),
            "garment_class": ("INT32", [-1]),
            "source": ("INT32", [-1]),
        },
    ),
    "keypoints": (64, {"crops": ("UINT8", [3, 224, 224])}, {"keypoints": ("FP32", [8, 3])}),
    "segment": (64, {"crops": ("UINT8", [3, 224, 224])}, {"mask": ("UINT8", [56, 56])}),
    "embed": (
        64,
        {"crops": ("UINT8", [3, 224, 224]), "mask": ("UINT8", [56, 56]), "keypoints": ("FP32", [8, 3])},
        {
            "embedding": ("FP32", [256]),
            "category": ("FP32", [23]),
            "pattern": ("FP32", [6]),
            "material": ("FP32", [4]),
            "colours": ("FP32", [16]),
            "embedding_version": ("INT32", [1]),
        },
    ),
}


def parse(path: Path) -> Config:
    return text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())


def config(model: str) -> Config:
    return parse(REPOSITORY / model / "config.pbtxt")


def tensors(side: Config) -> dict[str, tuple[str, list[int]]]:
    names = model_config_pb2.DataType
    return {tensor.name: (names.Name(tensor.data_type).removeprefix("TYPE_"), list(tensor.dims)) for tensor in side}


def parameter(message: Config, key: str) -> str:
    return str(message.parameters[key].string_value)


def label_lines(*parts: str) -> list[str]:
    return REPOSITORY.joinpath(*parts).read_text().split("\n")[:-1]


def test_the_repository_holds_the_models_of_the_design_and_nothing_else() -> None:
    found = {path.name for path in REPOSITORY.iterdir() if path.is_dir()}
    assert found == {*ONNX_STAGES, *GLUE_STAGES, *ENSEMBLES}
    for model in found:
        assert (REPOSITORY / model / "1").is_dir()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_configuration_parses_pins_version_1_and_keeps_the_cache_off(path: Path) -> None:
    message = parse(path)
    assert message.name == path.relative_to(REPOSITORY).parts[0]
    assert list(message.version_policy.specific.versions) == [1]
    assert not message.response_cache.enable
    assert "runtime:" not in path.read_text(), "Triton fills in `runtime` itself"


@pytest.mark.parametrize("model", CONTRACT)
def test_tensors_are_those_of_the_contract(model: str) -> None:
    max_batch_size, inputs, outputs = CONTRACT[model]
    for path in FILES:
        if path.relative_to(REPOSITORY).parts[0] == model:
            message = parse(path)
            assert message.max_batch_size == max_batch_size
            assert tensors(message.input) == inputs
            assert tensors(message.output) == outputs


@pytest.mark.parametrize("model", [*ONNX_STAGES, *GLUE_STAGES])
def test_every_stage_has_a_configuration_for_each_target(model: str) -> None:
    for target in ("gpu", "tensorrt"):
        message = parse(REPOSITORY / model / "configs" / f"{target}.pbtxt")
        if model in GLUE_STAGES:
            assert message.backend == "python" and message.parameters == config(model).parameters
        else:
            assert message.backend == ("onnxruntime" if target == "gpu" else "tensorrt")
            assert all(group.kind == group.KIND_GPU for group in message.instance_group)


def test_the_detector_in_int8_differs_by_its_file_alone() -> None:
    quantized, plain = parse(REPOSITORY / "detect" / "configs" / "int8.pbtxt"), config("detect")
    assert (REPOSITORY / "detect" / "1" / quantized.default_model_filename).is_file()
    quantized.default_model_filename = plain.default_model_filename
    assert quantized == plain


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_queue_is_bounded_in_length_and_time(path: Path) -> None:
    message = parse(path)
    if message.name in ENSEMBLES:
        return
    policy = message.dynamic_batching.default_queue_policy
    assert message.HasField("dynamic_batching")
    assert policy.timeout_action == policy.REJECT and policy.allow_timeout_override
    assert policy.max_queue_size > 0 and policy.default_timeout_microseconds > 0


@pytest.mark.parametrize("model", ONNX_STAGES)
def test_the_cpu_needs_no_accelerator_and_the_gpu_a_profile_for_every_batch(model: str) -> None:
    plain, gpu = config(model), parse(REPOSITORY / model / "configs" / "gpu.pbtxt")
    assert not plain.HasField("optimization")
    assert parameter(plain, "intra_op_thread_count") == "1"
    for message in (plain, gpu):
        assert parameter(message, "cudnn_conv_algo_search") == "1"
    (accelerator,) = gpu.optimization.execution_accelerators.gpu_execution_accelerator
    for bound, batch in (("min", 1), ("max", gpu.max_batch_size)):
        expected = [f"{t.name}:{batch}x{'x'.join(str(size) for size in t.dims)}" for t in gpu.input]
        assert accelerator.parameters[f"trt_profile_{bound}_shapes"].split(",") == expected
    assert max(warmup.batch_size for warmup in gpu.model_warmup) == gpu.max_batch_size


@pytest.mark.parametrize("model", ENSEMBLES)
def test_ensembles_pin_their_steps_and_connect_like_with_like(model: str) -> None:
    ensemble = config(model)
    assert ensemble.max_batch_size == 0
    known = tensors(ensemble.input)
    for step in ensemble.ensemble_scheduling.step:
        assert step.model_version == 1
        stage = config(step.model_name)
        inputs, outputs = tensors(stage.input), tensors(stage.output)
        required = {tensor.name for tensor in stage.input if not tensor.optional}
        assert required <= set(step.input_map)
        for inner, outer in step.input_map.items():
            assert known[outer][0] == inputs[inner][0]
        for inner, outer in step.output_map.items():
            kind, dims = outputs[inner]
            known[outer] = (kind, [-1, *dims] if stage.max_batch_size else dims)
    for name, (kind, dims) in tensors(ensemble.output).items():
        assert known[name] == (kind, dims)


def test_both_ensembles_answer_alike_and_only_one_detects() -> None:
    found, given = (config(model) for model in ENSEMBLES)
    assert tensors(found.output) == tensors(given.output) and found.parameters == given.parameters
    assert tensors(given.input) == {**tensors(found.input), "regions": ("FP32", [-1, 4])}
    steps = [[step.model_name for step in ensemble.ensemble_scheduling.step] for ensemble in (found, given)]
    assert steps[0] == ["decode", "detect", "crop", "keypoints", "segment", "embed"]
    assert steps[1] == ["decode", "crop", "keypoints", "segment", "embed"]
    assert parameter(found, "embedding_version") == "1"


@pytest.mark.parametrize("vocabulary", ["category", "pattern", "material", "colour"])
def test_vocabularies_of_the_ensembles_are_the_label_files(vocabulary: str) -> None:
    output = "colours" if vocabulary == "colour" else vocabulary
    lines = label_lines("embed", "labels", f"{vocabulary}.txt")
    (dims,) = [list(tensor.dims) for tensor in config("embed").output if tensor.name == output]
    (file,) = [tensor.label_filename for tensor in config("embed").output if tensor.name == output]
    assert len(lines) == len(set(lines)) == dims[0]
    assert file == f"labels/{vocabulary}.txt"
    for ensemble in ENSEMBLES:
        assert parameter(config(ensemble), f"{vocabulary}_labels").split(",") == lines


def test_the_detectors_classes_are_its_label_file_in_every_configuration() -> None:
    lines = label_lines("detect", "labels", "garment.txt")
    coarse = {line.partition("/")[0] for line in label_lines("embed", "labels", "category.txt")}
    assert set(lines) == coarse and len(lines) == 14
    for path in (path for path in FILES if path.relative_to(REPOSITORY).parts[0] == "detect"):
        assert parameter(parse(path), "garment_labels").split(",") == lines


def test_geometry_of_the_glue_fits_the_graphs() -> None:
    decode, detect, crop, embed = (config(model) for model in ("decode", "detect", "crop", "embed"))
    size = int(parameter(decode, "letterbox_size"))
    assert list(detect.input[0].dims) == [3, size, size]
    size = int(parameter(crop, "crop_size"))
    assert list(embed.input[0].dims) == [3, size, size]
