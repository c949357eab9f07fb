"""Other people's models: built small from their configurations, exported, and followed by a whole repository."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from lookalike_export.hub import add_parser
from lookalike_export.hub.build import build_embedder, build_segmenter
from lookalike_export.hub.errors import HubError
from lookalike_export.hub.names import FASHIONPEDIA, garment_of, garments_of, prompts_of
from lookalike_export.hub.open_clip_files import open_clip_model
from lookalike_export.hub.pictures import Preparation
from lookalike_export.hub.repository import Repository, Shape
from lookalike_export.hub.segment import HubSegmenter
from lookalike_export.hub.sources import open_source
from lookalike_export.onnx_files import forbidden_operators
from lookalike_export.stages.contract import LETTERBOX_SIZE
from lookalike_export.stages.vocabulary import CATEGORIES, GARMENTS
from lookalike_export.triton_config import ConfigMismatch
from support_glue import REPOSITORY
from support_hub import ATR, DETECTORS, ENCODERS, save_encoder, save_open_clip, save_parser, save_yolos
from support_models import write_stand_ins

# Built like RT-DETR, with other attention and other boxes.
LATER_DETECTORS = ("rt_detr_v2", "d_fine")
Config = Any  # ModelConfig of Triton's protobufs, which bring no types


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The real configurations without their graphs."""
    target = tmp_path / "model_repository"
    shutil.copytree(REPOSITORY, target, ignore=shutil.ignore_patterns("*.onnx", "__pycache__"))
    return target


def hub(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers(dest="command", required=True))
    options = parser.parse_args(["hub", *map(str, arguments)])
    return int(options.run(options))


def config(repository: Path, model: str, file: str = "config.pbtxt") -> Config:
    return text_format.Parse((repository / model / file).read_text(), model_config_pb2.ModelConfig())


def dims(message: Config) -> dict[str, list[int]]:
    return {output.name: list(output.dims) for output in message.output}


def steps(message: Config) -> dict[str, tuple[str, int]]:
    """Output -> the model that gives it, and its version."""
    return {
        inner: (step.model_name, step.model_version)
        for step in message.ensemble_scheduling.step
        for inner in step.output_map
    }


def snapshot(repository: Path) -> dict[Path, bytes]:
    return {path.relative_to(repository): path.read_bytes() for path in repository.rglob("*") if path.is_file()}


def session(graph: Path) -> onnxruntime.InferenceSession:
    assert forbidden_operators(onnx.load(str(graph))) == set()
    return onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])


# Detectors


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.long if kind in LATER_DETECTORS else ()) for kind in DETECTORS]
)
def test_a_detector_becomes_the_detect_stage(kind: str, tmp_path: Path, repository: Path) -> None:
    before = snapshot(repository)
    assert hub("detect", DETECTORS[kind](tmp_path / kind), "--repository", repository) == 0
    letterbox = np.random.default_rng(0).integers(0, 255, (3, 3, LETTERBOX_SIZE, LETTERBOX_SIZE), np.uint8)
    boxes, scores, classes = session(repository / "detect_2" / "1" / "model.onnx").run(None, {"letterbox": letterbox})
    assert (boxes.shape, scores.shape, classes.shape, classes.dtype) == ((3, 16, 4), (3, 16), (3, 16), np.int32)
    assert (np.diff(scores, axis=1) <= 1e-6).all() and (scores >= 0).all() and (scores <= 1).all()
    assert (boxes >= 0).all() and (boxes <= LETTERBOX_SIZE).all()
    # person and car are no garments, and no other class of ours is ever named
    assert {GARMENTS[kind] for kind in classes[scores > 0]} <= {"outer", "top", "pants", "bag"}
    after = snapshot(repository)
    changed = {path for path in before if after[path] != before[path]}
    assert changed == {Path("garments_1/config.pbtxt")}, "no new embedding version: only the detector was exchanged"
    assert steps(config(repository, "garments_1"))["boxes"] == ("detect_2", 1)
    assert config(repository, "detect_2").parameters == config(repository, "detect").parameters


def test_a_second_detector_takes_the_next_number(repository: Path, tmp_path: Path) -> None:
    write_stand_ins(repository)
    for number in (2, 3):
        graph = Path(shutil.copy(repository / "detect" / "1" / "model.onnx", tmp_path / "graph.onnx"))
        Repository(repository).add_detector(graph)
        assert steps(config(repository, "garments_1"))["boxes"] == (f"detect_{number}", 1)


def test_the_words_of_well_known_sets_are_understood() -> None:
    expected = "top top top outer outer top pants shorts skirt outer dress dress outer eyewear hat accessory scarf_tie"
    expected += " accessory accessory belt legwear legwear legwear shoes bag scarf_tie accessory"
    assert [garment_of(name) for name in FASHIONPEDIA] == expected.split() + [""] * 19
    of_atr = "|hat||eyewear|top|skirt|pants|dress|belt|shoes|shoes||||||bag|scarf_tie"
    assert [garment_of(name) for name in ATR] == of_atr.split("|")
    for name, garment in {
        "long sleeve outwear": "outer",
        "vest dress": "dress",
        "Leather Shoes": "shoes",
        "handbag": "bag",
        "Handbag/Satchel": "bag",
        "cell phone": "",
        "": "",
    }.items():
        assert garment_of(name) == garment, name


def test_classes_without_names_can_be_named(
    tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_yolos(tmp_path / "yolos", names=tuple(f"LABEL_{i}" for i in range(3)))
    before = snapshot(repository)
    assert hub("detect", folder, "--repository", repository) == 1
    assert "does not say what its 3 classes mean" in capsys.readouterr().err
    assert hub("detect", folder, "--repository", repository, "--classes", "fashionpedia") == 1
    assert "names 46 classes, but" in capsys.readouterr().err
    assert snapshot(repository) == before
    (tmp_path / "names.txt").write_text("coat\nboot\nface\n")
    assert hub("detect", folder, "--repository", repository, "--classes", tmp_path / "names.txt") == 0
    assert "outer: coat" in capsys.readouterr().out


def test_a_model_without_garments_is_refused() -> None:
    with pytest.raises(HubError, match=r"none of the 2 classes of x is a garment \(cat, dog\)"):
        garments_of(("cat", "dog"), model="x")


# Parsers


class Painted(torch.nn.Module):
    """A parser that says of each pixel what its colour says: the red channel is the class, times 10."""

    def forward(self, pixel_values: torch.Tensor) -> Any:  # noqa: ANN401
        wanted = torch.nn.functional.avg_pool2d(pixel_values[:, :1], 4) / 10
        logits = -8 * (wanted - torch.arange(18.0).view(1, 18, 1, 1)).abs()
        return argparse.Namespace(logits=logits)


def masks_of(classes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What the segment stage makes of a map of classes, (56, 56) -> mask 0..1."""
    stage = HubSegmenter(
        Painted(), Preparation(224, (0.0,) * 3, (1 / 255,) * 3), garments_of(ATR, model="painted"), names=ATR
    )
    crops = torch.from_numpy(np.kron(classes * 10, np.ones((4, 4))).astype(np.uint8)).expand(1, 3, 224, 224)
    return np.asarray(stage(crops)[0].numpy() / 255)


def test_the_mask_is_the_garment_that_the_crop_is_about() -> None:
    scene = np.zeros((56, 56))
    scene[4:30, 14:42] = ATR.index("Upper-clothes")
    scene[30:52, 16:28] = ATR.index("Pants")
    mask = masks_of(scene)
    assert mask[4:30, 14:42].min() > 0.8
    assert mask[scene == ATR.index("Pants")].max() < 0.2 and mask[scene == 0].max() < 0.1


def test_left_and_right_belong_together_and_skin_to_nothing() -> None:
    scene = np.full((56, 56), ATR.index("Left-leg"))
    scene[20:50, 6:24], scene[20:50, 32:50] = ATR.index("Left-shoe"), ATR.index("Right-shoe")
    mask = masks_of(scene)
    assert mask[20:50, 6:24].min() > 0.9 and mask[20:50, 32:50].min() > 0.9
    assert mask[:18].max() < 0.1


def test_a_tie_gives_a_mask_of_both() -> None:
    scene = np.zeros((56, 56))
    scene[8:48, 8:28], scene[8:48, 28:48] = ATR.index("Skirt"), ATR.index("Dress")
    mask = masks_of(scene)
    assert 0.4 < mask[28, 12] < 0.6 and 0.4 < mask[28, 44] < 0.6


def test_pieces_of_a_garment_belong_to_it(tmp_path: Path) -> None:
    folder = save_parser(tmp_path / "parser", names=("background", *FASHIONPEDIA))
    pieces = dict(build_segmenter(open_source(str(folder))).stage.named_buffers())["pieces"]
    assert pieces[0].sum() == 19 and pieces[0, 1 + FASHIONPEDIA.index("sleeve")] == 1


def test_a_parser_makes_a_new_embedding_version(tmp_path: Path, repository: Path) -> None:
    write_stand_ins(repository)
    before = snapshot(repository)
    assert hub("segment", save_parser(tmp_path / "parser"), "--repository", repository) == 0
    after = snapshot(repository)
    assert {path: after[path] for path in before} == before, "what served before stays as it is"
    crops = np.random.default_rng(0).integers(0, 255, (3, 3, 224, 224), np.uint8)
    (mask,) = session(repository / "segment_2" / "1" / "model.onnx").run(None, {"crops": crops})
    assert mask.shape == (3, 56, 56) and mask.dtype == np.uint8
    for ensemble in ("garments_2", "garments_in_regions_2"):
        message = config(repository, ensemble)
        assert message.parameters["embedding_version"].string_value == "2"
        assert steps(message)["mask"] == ("segment_2", 1) and steps(message)["embedding"] == ("embed_2", 1)
        assert dims(message) == dims(config(repository, ensemble.replace("2", "1")))
    feed = {"crops": crops, "mask": mask, "keypoints": np.zeros((3, 8, 3), np.float32)}
    one, two = (session(repository / f / "1" / "model.onnx") for f in ("embed", "embed_2"))
    assert two.run(["embedding_version"], feed)[0].tolist() == [[2]] * 3
    assert np.array_equal(two.run(["embedding"], feed)[0], one.run(["embedding"], feed)[0])


# Encoders


@pytest.mark.parametrize("kind", ENCODERS)
def test_an_encoder_brings_its_own_size_and_vocabularies(kind: str, tmp_path: Path, repository: Path) -> None:
    assert hub("embed", ENCODERS[kind](tmp_path / kind), "--version", 3, "--repository", repository) == 0
    heads = {} if kind == "siglip_vision_model" else {"category": 23, "pattern": 6, "material": 4}
    own = config(repository, "embed_3")
    expected = {"embedding": [32], **{h: [n] for h, n in heads.items()}, "colours": [16], "embedding_version": [1]}
    assert dims(own) == expected
    assert {p.stem for p in (repository / "embed_3" / "labels").iterdir()} == {*heads, "colour"}
    for target in ("gpu", "tensorrt"):
        other = config(repository, "embed_3", f"configs/{target}.pbtxt")
        assert (other.name, other.backend, dims(other)) == ("embed_3", "onnxruntime", expected)
    for ensemble in ("garments_3", "garments_in_regions_3"):
        message = config(repository, ensemble)
        assert {name: dims(message)[name][1:] for name in expected} == expected
        assert set(steps(message)) >= set(dims(message))
        words = message.parameters["category_labels"].string_value
        assert words == (",".join(CATEGORIES) if heads else "")
    random = np.random.default_rng(0)
    feed = {
        "crops": random.integers(0, 255, (3, 3, 224, 224), np.uint8),
        "mask": random.integers(0, 255, (3, 56, 56), np.uint8),
        "keypoints": random.random((3, 8, 3), np.float32),
    }
    graph = session(repository / "embed_3" / "1" / "model.onnx")
    assert {node.name for node in graph.get_inputs()} == set(feed)
    answers = dict(zip(expected, graph.run(list(expected), feed), strict=True))
    assert np.allclose(np.linalg.norm(answers["embedding"], axis=1), 1, atol=1e-4)
    assert (answers["embedding_version"] == 3).all()
    for head in (*heads, "colours"):
        assert np.allclose(answers[head].sum(axis=1), 1, atol=1e-3)


def test_what_lies_outside_the_mask_never_reaches_the_vector(tmp_path: Path) -> None:
    stage = build_embedder(open_source(str(save_encoder(tmp_path / "siglip"))), version=2, files={}).stage
    crops = torch.randint(0, 255, (2, 3, 224, 224), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    crops[1, :, 80:180, 80:180] = crops[0, :, 80:180, 80:180]
    mask = torch.zeros(2, 56, 56, dtype=torch.uint8)
    mask[:, 25:40, 25:40] = 255
    with torch.no_grad():
        inside, nothing = (stage(crops, m, torch.zeros(2, 8, 3))[0] for m in (mask, torch.zeros_like(mask)))
    assert torch.allclose(inside[0], inside[1], atol=1e-5)
    assert not torch.allclose(nothing[0], nothing[1], atol=1e-2), "an empty mask must not hide everything"


def test_a_shop_brings_its_own_labels(tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, labels = save_encoder(tmp_path / "siglip"), tmp_path / "category.txt"
    labels.write_text("dress/summer\nother = a garment\n")
    assert prompts_of("category", labels) == {"dress/summer": "a summer", "other": "a garment"}
    assert hub("embed", folder, "--repository", repository, "--category", labels) == 0
    assert dims(config(repository, "garments_2"))["category"] == [-1, 2]
    assert config(repository, "garments_2").parameters["category_labels"].string_value == "dress/summer,other"
    assert (repository / "embed_2" / "labels" / "category.txt").read_text() == "dress/summer\nother\n"
    labels.write_text("red, green\nblue\n")
    assert hub("embed", folder, "--repository", repository, "--category", labels) == 1
    assert "'red, green' is no label" in capsys.readouterr().err
    tower = ENCODERS["siglip_vision_model"](tmp_path / "tower")
    assert hub("embed", tower, "--repository", repository, "--category", labels) == 1
    assert "no text tower or no tokenizer" in capsys.readouterr().err


def test_an_embedding_version_is_never_changed_by_accident(repository: Path, tmp_path: Path) -> None:
    models = Repository(repository)
    assert models.choose_version(0, extend=False) == 2
    with pytest.raises(HubError, match="embedding version 1 exists"):
        models.choose_version(1, extend=False)
    tower, whole = ENCODERS["siglip_vision_model"](tmp_path / "tower"), save_encoder(tmp_path / "whole", width=48)
    assert hub("embed", tower, "--repository", repository) == 0
    assert "category" not in dims(config(repository, "garments_2"))
    assert hub("embed", whole, "--repository", repository, "--version", 2) == 1
    assert hub("embed", whole, "--repository", repository, "--version", 2, "--extend") == 0
    message = config(repository, "garments_2")
    assert dims(message)["embedding"] == [-1, 48] and dims(message)["pattern"] == [-1, 6]
    assert steps(message)["pattern"] == ("embed_2", 1) and steps(config(repository, "garments_1")) != steps(message)


def test_a_graph_that_triton_would_refuse_leaves_the_repository_alone(repository: Path, tmp_path: Path) -> None:
    write_stand_ins(repository)
    before = snapshot(repository)
    graph = Path(shutil.copy(repository / "embed" / "1" / "model.onnx", tmp_path / "graph.onnx"))
    with pytest.raises(ConfigMismatch, match="embedding"):
        Repository(repository).add_embedder(graph, 2, Shape(512))
    assert snapshot(repository) == before


@pytest.mark.parametrize("kind", ["siglip", "clip"])
def test_openclip_checkpoints_are_the_same_network_here(kind: str, tmp_path: Path) -> None:
    """The expected numbers are what open_clip 3.3.0 itself answers with these weights."""
    network = open_clip_model(open_source(str(save_open_clip(tmp_path / kind, kind))))
    pixels = (torch.arange(2 * 3 * 32 * 32) * 0.37).sin().view(2, 3, 32, 32)
    texts = torch.tensor([[3, 9, 4, 39, 1, 1, 1, 1], [5, 6, 39, 1, 1, 1, 1, 1]])
    with torch.no_grad():
        seen = network.vision_model(pixel_values=pixels).pooler_output
        read = network.text_model(input_ids=texts).pooler_output
        if kind == "clip":
            seen, read = network.visual_projection(seen), network.text_projection(read)
    image, text = {
        "siglip": ((1.60389, -0.20221, 2.23363, -0.05091), (-2.42119, 1.59278, -1.21072, 0.3862)),
        "clip": ((0.84339, 1.03364, 0.69571, 0.00229), (-0.16804, -0.01208, 0.15006, 0.23552)),
    }[kind]
    assert torch.allclose(seen[0, :4], torch.tensor(image), atol=2e-5)
    assert torch.allclose(read[1, :4], torch.tensor(text), atol=2e-5)


def test_an_openclip_model_needs_no_openclip(tmp_path: Path, repository: Path) -> None:
    assert hub("embed", save_open_clip(tmp_path / "marqo", "siglip"), "--repository", repository) == 0
    assert dims(config(repository, "garments_2"))["embedding"] == [-1, 64]


# What goes wrong


def test_a_model_of_another_kind_is_named(tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = snapshot(repository)
    folder = save_parser(tmp_path / "parser")
    assert hub("detect", folder, "--repository", repository) == 1
    assert "is a model of the type segformer; for detect take one of yolos, rt_detr" in capsys.readouterr().err
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": {"vision_cfg": {"timm_model_name": "convnext_base"}}})
    )
    assert hub("embed", folder, "--repository", repository) == 1
    assert "looks with convnext_base" in capsys.readouterr().err
    assert snapshot(repository) == before


def test_missing_weights_are_not_made_up(tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, other = save_parser(tmp_path / "parser"), save_encoder(tmp_path / "siglip")
    shutil.copy(other / "model.safetensors", folder / "model.safetensors")
    assert hub("segment", folder, "--repository", repository) == 1
    assert "lacks" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nobody/nothing", "the hub is not reached from here; where it is, `hf download nobody/nothing"),
        ("./no such folder", "there is no folder"),
    ],
)
def test_a_model_that_cannot_be_had_says_what_to_do(
    name: str,
    said: str,
    repository: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    assert hub("detect", name, "--repository", repository) == 1
    assert said in capsys.readouterr().err


def test_a_folder_without_ensembles_is_no_repository(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert hub("embed", "any/thing", "--repository", tmp_path) == 1
    assert "holds no ensembles garments_<version>" in capsys.readouterr().err
