"""The GPU benchmark without a GPU: what it plans, what it works out and what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from google.protobuf import text_format
from torch import nn
from tritonclient.grpc import model_config_pb2

from bench.gpu import main
from bench.gpu_bare import folded
from bench.gpu_card import Card, CardUnusable, find_card
from bench.gpu_plan import GpuPlan, Pace, Variant, best, cores_needed, distances, graph_bound, limits, variants
from bench.gpu_served import cpu_by_stage, write_repository
from bench.gpu_table import not_measured, table
from bench.processes import Family
from lookalike_export.served import example_inputs, load_stage
from support_glue import REPOSITORY

H200 = "NVIDIA H200, 580.65.06\n"
GRAPHS: dict[str, dict[str, dict[int, Pace] | str]] = {
    "detect": {
        "torch fp16": {1: Pace(1, 2.0), 16: Pace(16, 8.0)},
        "onnxruntime tensorrt fp16": {1: Pace(1, 1.0), 16: Pace(16, 10.0)},
        "onnxruntime cuda CUDA graph": "not measured: RuntimeError: nodes on the CPU",
    },
    "embed": {"torch fp16": {64: Pace(64, 16.0)}, "onnxruntime cuda": {64: Pace(64, 32.0)}},
}


def report() -> dict[str, Any]:
    """As gpu.py writes it."""
    graphs = {
        stage: {
            name: found
            if isinstance(found, str)
            else {str(batch): {"ms": pace.ms, "rows_per_s": pace.rows_per_s} for batch, pace in found.items()}
            for name, found in contenders.items()
        }
        for stage, contenders in GRAPHS.items()
    }
    run = {"route": "regions", "instances": Variant(8, 2).instances(), "callers": 64, "photos_per_s": 1500.0}
    run |= {"p50_ms": 40.0, "p99_ms": 90.0, "garments_per_photo": 3.0, "codes": {"OK": 15000, "UNAVAILABLE": 2}}
    run |= {"missing": ["embed runs without TensorRT"]}
    run |= {"cpu_ms": {"decode": 4.0, "crop": 1.5, "server": 2.5}, "client_cpu_ms": 1.2}
    found: dict[str, Any] = {
        "device": Card("cuda", "NVIDIA H200", 139.8, "580.65.06", "13.0").to_json(),
        "machine": {"cores": 16, "processor": "a processor"},
        "revision": "abc",
        "garments_per_photo": 3,
        "target_photos_per_s": 2000.0,
        "graphs": graphs,
        "distances": distances(GRAPHS),
        "glue": {"decode_ms": 3.0, "crop_ms": 1.0},
        "graph_bound_photos_per_s": 1000.0,
        "served": [run, {**run, "photos_per_s": 900.0}],
    }
    return {**found, "limits": limits(found)}


def test_the_sweep_grows_with_the_cores_and_goes_on_from_the_fastest() -> None:
    plan = GpuPlan.of(cores=12, quick=False)
    assert plan.decodes == (1, 2, 4, 8, 12) and plan.processes == 3 and plan.batches[-1] == 64
    assert [variant.decode for variant in variants(plan)] == [1, 2, 4, 8, 12]
    rest = variants(plan, fastest=Variant(8, 2))
    assert rest == [Variant(8, 1), Variant(8, 4)]
    assert rest[1].instances() == {"decode": 8, "crop": 4, "detect": 4, "keypoints": 4, "segment": 4, "embed": 4}
    assert Variant(1, 1).instances()["crop"] == 1
    assert variants(GpuPlan.of(cores=2, quick=True), fastest=Variant(1, 1)) == []


def test_distances_are_shares_of_the_fastest_of_torch_each_at_its_best_batch() -> None:
    assert best(GRAPHS["detect"], prefix="onnxruntime") == ("onnxruntime tensorrt fp16", Pace(16, 10.0))
    assert best(GRAPHS["detect"], prefix="rival") is None
    shares = distances(GRAPHS)
    assert shares["detect"] == {"torch fp16": 1.0, "onnxruntime tensorrt fp16": pytest.approx(0.8)}
    assert shares["embed"]["onnxruntime cuda"] == pytest.approx(0.5)


def test_the_graphs_bound_counts_detect_once_and_the_rest_for_every_garment() -> None:
    assert graph_bound({"detect": 4000.0, "embed": 12000.0}) == pytest.approx(2000.0)
    assert graph_bound({"detect": 4000.0, "embed": 12000.0}, garments=1) == pytest.approx(3000.0)


def test_cores_are_the_time_that_the_photos_of_a_second_take() -> None:
    assert cores_needed(4.0, photos_per_s=2000.0) == 8.0
    found = report()["limits"]
    assert found["cores_for_target_decode_and_crop"] == 8.0 and found["cores_for_graph_bound_decode_and_crop"] == 4.0
    assert found["cpu_ms_per_photo_served"] == 8.0 and found["cores_for_target_served"] == 16.0
    assert limits({"glue": {}, "served": []}) == {}


def test_the_table_holds_the_figures_and_names_what_is_missing() -> None:
    text = table(report())
    assert text.startswith("NVIDIA H200, 16 cores of a processor; revision abc.")
    assert "| detect | onnxruntime tensorrt fp16 | 1,000 | 1,600 |  | 0.80 |" in text
    assert "| regions | 8 | 2 | 64 | 1500.0 | 40 | 90 | 3.00 | 4.00 | 1.50 |" in text
    assert "8.0 cores for 2,000 photos/s (arithmetic, not a run)" in text and "{'UNAVAILABLE': 4}" in text
    assert not_measured(report()) == [
        "detect, onnxruntime cuda CUDA graph (RuntimeError: nodes on the CPU)",
        "served: embed runs without TensorRT",
    ]
    nothing = {**report(), "graphs": {}, "glue": {}, "served": [], "limits": {}}
    nothing["device"] = Card("cpu", "no GPU").to_json()
    assert not_measured(nothing) == [
        "anything on a GPU",
        "the bare graphs",
        "decode and crop on one core",
        "the served route",
    ]
    assert "no figure here says anything about a GPU" in table(nothing)


def test_without_a_card_it_says_what_to_run_and_writes_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    output = tmp_path / "bench_gpu.json"
    assert main(["--output", str(output)], listing="") == 0
    said = capsys.readouterr().out
    assert said.startswith("There is no NVIDIA GPU here") and "make bench-gpu" in said and "onnxruntime-gpu" in said
    assert not list(tmp_path.iterdir())


def test_a_card_that_a_package_cannot_use_is_an_error_with_the_remedy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main([], listing=H200) == 1
    assert "NVIDIA H200 is here, but torch" in capsys.readouterr().err
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(CardUnusable, match="is the one for CPUs; run: make"):
        find_card(H200)


def test_a_card_is_known_by_its_name_and_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    class Properties:
        name, total_memory = "NVIDIA H200", 150 * 2**30

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: Properties())
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    assert find_card(H200) == Card("cuda", "NVIDIA H200", 150.0, "580.65.06", "13.0")


@pytest.mark.parametrize("on_gpu", [True, False])
def test_a_variant_differs_from_the_repository_in_its_instances_alone(tmp_path: Path, on_gpu: bool) -> None:
    instances = Variant(6, 3).instances()
    target = write_repository(REPOSITORY, tmp_path / "repository", instances=instances, on_gpu=on_gpu)
    for model, count in instances.items():
        ours, theirs = (
            text_format.Parse((root / model / "configs" / "gpu.pbtxt").read_text(), model_config_pb2.ModelConfig())
            for root in (target, REPOSITORY)
        )
        assert [group.count for group in ours.instance_group] == [count]
        assert (ours.instance_group[0].kind == theirs.instance_group[0].kind) or not on_gpu
        assert on_gpu or ours.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_CPU
        assert ours.optimization == theirs.optimization and ours.parameters == theirs.parameters
    assert (target / "embed" / "1" / "model.onnx").is_file() and (target / "garments_1" / "1").is_dir()


def test_a_folded_stage_computes_what_it_did() -> None:
    torch.manual_seed(0)  # an unlucky draw of weights answers one and the same value everywhere
    stage, inputs = load_stage("segment", None), example_inputs("segment", batch=2)
    for norm in [module for module in stage.modules() if isinstance(module, nn.BatchNorm2d)]:
        norm.running_mean.uniform_(-0.1, 0.1)  # type: ignore[union-attr]
        norm.running_var.uniform_(0.8, 1.2)  # type: ignore[union-attr]
    with torch.inference_mode():
        before = stage(inputs["crops"]).int()
        after = folded(stage)(inputs["crops"]).int()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in stage.modules())
    assert (before - after).abs().max() <= 1 and before.float().std() > 0


def test_a_family_without_members_has_used_nothing() -> None:
    assert not cpu_by_stage(Family(()))
