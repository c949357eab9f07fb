"""Small models of the hub's architectures, with random weights, in folders as a download leaves them."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPConfig,
    CLIPModel,
    DFineConfig,
    DFineForObjectDetection,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrResNetConfig,
    RTDetrV2Config,
    RTDetrV2ForObjectDetection,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SiglipConfig,
    SiglipModel,
    SiglipVisionConfig,
    SiglipVisionModel,
    YolosConfig,
    YolosForObjectDetection,
)

__all__ = ["ATR", "DETECTORS", "ENCODERS", "OPEN_CLIP", "save_encoder", "save_open_clip", "save_parser", "save_yolos"]

ATR = (
    *("Background", "Hat", "Hair", "Sunglasses", "Upper-clothes", "Skirt", "Pants", "Dress", "Belt", "Left-shoe"),
    *("Right-shoe", "Face", "Left-leg", "Right-leg", "Left-arm", "Right-arm", "Bag", "Scarf"),
)
STREET = ("person", "jacket", "t-shirt", "trousers", "handbag", "car")


def save_yolos(folder: Path, names: tuple[str, ...] = STREET) -> Path:
    """YOLOS with positions for pictures that are not square, as the published ones have them."""
    config = YolosConfig(
        **_TINY, image_size=[64, 96], patch_size=16, num_detection_tokens=24, use_mid_position_embeddings=True
    )
    return _save(
        YolosForObjectDetection(_named(config, names)), folder, size={"shortest_edge": 96, "longest_edge": 160}
    )


def _save_rt_detr(folder: Path, names: tuple[str, ...] = STREET) -> Path:
    config = RTDetrConfig(**_rt_detr())
    return _save(RTDetrForObjectDetection(_named(config, names)), folder, size=_SQUARE, do_normalize=False)


def _save_rt_detr_v2(folder: Path, names: tuple[str, ...] = STREET) -> Path:
    config = RTDetrV2Config(**_rt_detr())
    return _save(RTDetrV2ForObjectDetection(_named(config, names)), folder, size=_SQUARE, do_normalize=False)


def _save_d_fine(folder: Path, names: tuple[str, ...] = STREET) -> Path:
    config = DFineConfig(**_rt_detr(), encoder_layers=1)
    return _save(DFineForObjectDetection(_named(config, names)), folder, size=_SQUARE, do_normalize=False)


DETECTORS: dict[str, Callable[[Path], Path]] = {
    "yolos": save_yolos,
    "rt_detr": _save_rt_detr,
    "rt_detr_v2": _save_rt_detr_v2,
    "d_fine": _save_d_fine,
}


def save_parser(folder: Path, names: tuple[str, ...] = ATR) -> Path:
    """SegFormer with a class for every name."""
    config = SegformerConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 16, 16], num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=16
    )
    network = SegformerForSemanticSegmentation(_named(config, names))
    network.decode_head.classifier.weight.data *= 40
    return _save(network, folder, size={"height": 512, "width": 512})


def save_encoder(folder: Path, kind: str = "siglip", *, width: int = 32) -> Path:
    """A SigLIP or CLIP with both towers and a tokenizer; its vectors have `width` components."""
    vision = {**_TINY, "hidden_size": width, "image_size": 32, "patch_size": 16}
    text = {**_TINY, "hidden_size": width, "vocab_size": 64, "max_position_embeddings": 16, "pad_token_id": 1}
    text |= {"bos_token_id": 2, "eos_token_id": 3}
    if kind == "siglip":
        network: PreTrainedModel = SiglipModel(SiglipConfig(vision_config=vision, text_config=text))
    else:
        network = CLIPModel(CLIPConfig(vision_config=vision, text_config=text, projection_dim=width))
    _save(network, folder, size={"height": 32, "width": 32})
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "[PAD]": 1, "a": 4, "garment": 5, "dress": 6}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]")
    tokenizer.save_pretrained(folder)
    return folder


def _save_vision_tower(folder: Path) -> Path:
    config = SiglipVisionConfig(**{**_TINY, "image_size": 48, "patch_size": 16})
    return _save(SiglipVisionModel(config), folder, size={"height": 48, "width": 48})


ENCODERS: dict[str, Callable[[Path], Path]] = {
    "siglip": save_encoder,
    "clip": lambda folder: save_encoder(folder, "clip"),
    "siglip_vision_model": _save_vision_tower,
}

_TINY: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
_SQUARE = {"height": 96, "width": 96}


def _rt_detr() -> dict[str, Any]:
    backbone = RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], layer_type="basic", out_indices=[2, 3, 4]
    )
    return {
        "backbone_config": backbone,
        "encoder_in_channels": [8, 16, 16],
        "decoder_in_channels": [16, 16, 16],
        "feat_strides": [8, 16, 32],
        "encoder_hidden_dim": 16,
        "d_model": 16,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "decoder_layers": 2,
        "num_queries": 24,
        "num_denoising": 0,
        "hidden_expansion": 1.0,
    }


def _named(config: Any, names: tuple[str, ...]) -> Any:  # noqa: ANN401 - configurations have no common type
    config.id2label = dict(enumerate(names))
    config.label2id = {name: number for number, name in enumerate(names)}
    return config


def _save(network: PreTrainedModel, folder: Path, **preprocessor: object) -> Path:
    """Random weights large enough to say something: as they are initialised, all answers would be nearly equal."""
    generator = torch.Generator().manual_seed(5)
    for name, weight in network.named_parameters():
        if weight.dim() > 1 and "bbox" not in name:
            weight.data = torch.randn(weight.shape, generator=generator) * (2 / math.prod(weight.shape[1:])) ** 0.5
    network.save_pretrained(folder)
    steps = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], **preprocessor}
    (folder / "preprocessor_config.json").write_text(json.dumps(steps))
    return folder


def _blocks(trunk: str, names: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return {f"{trunk}.{layer}.{name}": shape for layer in range(2) for name, shape in names.items()}


def _open_clip_block(width: int) -> dict[str, tuple[int, ...]]:
    return {
        **{f"{norm}.{kind}": (width,) for norm in ("ln_1", "ln_2") for kind in ("weight", "bias")},
        "attn.in_proj_weight": (3 * width, width),
        "attn.in_proj_bias": (3 * width,),
        **_linear("attn.out_proj", width, width),
        **_linear("mlp.c_fc", 4 * width, width),
        **_linear("mlp.c_proj", width, 4 * width),
    }


def _linear(name: str, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


_TIMM_BLOCK = {
    **_norm("norm1", 64),
    **_norm("norm2", 64),
    **_linear("attn.qkv", 192, 64),
    **_linear("attn.proj", 64, 64),
    **_linear("mlp.fc1", 128, 64),
    **_linear("mlp.fc2", 64, 128),
}
_POOL = {
    **_linear("q", 64, 64),
    **_linear("kv", 128, 64),
    **_linear("proj", 64, 64),
    **_norm("norm", 64),
    **_linear("mlp.fc1", 128, 64),
    **_linear("mlp.fc2", 64, 128),
}
_TEXT_CONFIG = {"context_length": 8, "vocab_size": 40, "heads": 2, "layers": 2}

OPEN_CLIP: dict[str, tuple[dict[str, Any], dict[str, tuple[int, ...]]]] = {
    "siglip": (
        {
            "embed_dim": 64,
            "vision_cfg": {"image_size": 32, "timm_model_name": "vit_base_patch16_siglip_224"},
            "text_cfg": {**_TEXT_CONFIG, "width": 64},
        },
        {
            "visual.trunk.pos_embed": (1, 4, 64),
            "visual.trunk.patch_embed.proj.weight": (64, 3, 16, 16),
            "visual.trunk.patch_embed.proj.bias": (64,),
            **_blocks("visual.trunk.blocks", _TIMM_BLOCK),
            **_norm("visual.trunk.norm", 64),
            "visual.trunk.attn_pool.latent": (1, 1, 64),
            **{f"visual.trunk.attn_pool.{name}": shape for name, shape in _POOL.items()},
            "text.positional_embedding": (8, 64),
            "text.token_embedding.weight": (40, 64),
            **_blocks("text.transformer.resblocks", _open_clip_block(64)),
            **_norm("text.ln_final", 64),
            **_linear("text.text_projection", 64, 64),
            "logit_bias": (),
        },
    ),
    "clip": (
        {
            "embed_dim": 16,
            "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16},
            "text_cfg": {**_TEXT_CONFIG, "width": 32},
        },
        {
            "positional_embedding": (8, 32),
            "text_projection": (32, 16),
            "visual.class_embedding": (64,),
            "visual.positional_embedding": (5, 64),
            "visual.proj": (64, 16),
            "visual.conv1.weight": (64, 3, 16, 16),
            **_norm("visual.ln_pre", 64),
            **_blocks("visual.transformer.resblocks", _open_clip_block(64)),
            **_norm("visual.ln_post", 64),
            **_blocks("transformer.resblocks", _open_clip_block(32)),
            "token_embedding.weight": (40, 32),
            **_norm("ln_final", 32),
        },
    ),
}
"""Settings, and the names and shapes of all tensors, of what open_clip 3.3.0 builds for them."""


def save_open_clip(folder: Path, kind: str) -> Path:
    """A checkpoint as OpenCLIP publishes it, with weights that follow from their names."""
    folder.mkdir(parents=True, exist_ok=True)
    settings, shapes = OPEN_CLIP[kind]
    weights = {name: _from_name(name, shape) for name, shape in shapes.items() if name != "logit_bias"}
    if "logit_bias" in shapes:
        weights["logit_bias"] = torch.tensor(-10.0)
    weights["logit_scale"] = torch.tensor(math.log(1 / 0.07))
    save_file(weights, folder / "open_clip_model.safetensors")
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": settings, "preprocess_cfg": preprocess}))
    return folder


def _from_name(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    steps = torch.arange(math.prod(shape), dtype=torch.float64) * 0.731 + zlib.crc32(name.encode()) % 1000
    values = (steps.sin() * 0.2).reshape(shape)
    norm = name.endswith(".weight") and name.split(".")[-2].startswith(("norm", "ln_"))
    return (values + 1 if norm else values).float()
