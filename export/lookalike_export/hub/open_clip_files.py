"""OpenCLIP's checkpoints as transformers' models: the same networks under other names.

Names after open_clip's `model.py` and `transformer.py` and timm's `vision_transformer.py`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from lookalike_export.hub.errors import HubError
from lookalike_export.hub.pictures import Preparation
from lookalike_export.hub.sources import Source

__all__ = ["open_clip_model", "open_clip_preparation"]

Weights = dict[str, Tensor]
Names = list[tuple[str, str]]
"""Pairs of a regular expression for their name and the replacement that gives ours."""

_LAYER = (
    (r"\.ln_1\.", ".layer_norm1."),
    (r"\.ln_2\.", ".layer_norm2."),
    (r"\.attn\.(out_proj|q_proj|k_proj|v_proj)\.", r".self_attn.\1."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)
_TEXT: Names = [
    (r"^token_embedding", "text_model.embeddings.token_embedding"),
    (r"^positional_embedding$", "text_model.embeddings.position_embedding.weight"),
    (r"^transformer\.resblocks\.", "text_model.encoder.layers."),
    (r"^ln_final", "text_model.final_layer_norm"),
    *_LAYER,
]
_CLIP: Names = [
    (r"^visual\.class_embedding$", "vision_model.embeddings.class_embedding"),
    (r"^visual\.positional_embedding$", "vision_model.embeddings.position_embedding.weight"),
    (r"^visual\.conv1", "vision_model.embeddings.patch_embedding"),
    (r"^visual\.ln_pre", "vision_model.pre_layrnorm"),  # transformers' own spelling
    (r"^visual\.ln_post", "vision_model.post_layernorm"),
    (r"^visual\.transformer\.resblocks\.", "vision_model.encoder.layers."),
    (r"^visual\.proj$", "visual_projection.weight"),
    (r"^text_projection$", "text_projection.weight"),
    *_TEXT,
]
_SIGLIP: Names = [
    (r"^visual\.trunk\.patch_embed\.proj", "vision_model.embeddings.patch_embedding"),
    (r"^visual\.trunk\.pos_embed$", "vision_model.embeddings.position_embedding.weight"),
    (r"^visual\.trunk\.blocks\.", "vision_model.encoder.layers."),
    (r"^visual\.trunk\.norm", "vision_model.post_layernorm"),
    (r"^visual\.trunk\.attn_pool\.latent$", "vision_model.head.probe"),
    (r"^visual\.trunk\.attn_pool\.attn\.", "vision_model.head.attention."),
    (r"^visual\.trunk\.attn_pool\.norm", "vision_model.head.layernorm"),
    (r"^visual\.trunk\.attn_pool\.mlp", "vision_model.head.mlp"),
    (r"\.norm1\.", ".layer_norm1."),
    (r"\.norm2\.", ".layer_norm2."),
    (r"\.attn\.proj\.", ".self_attn.out_proj."),
    (r"^text\.text_projection", "text.text_model.head"),
    (r"^text\.", ""),
    *_TEXT,
]
_SIGLIP_TRUNK = re.compile(r"vit_(base|large|so400m)_patch\d+_siglip_\d+")


def open_clip_preparation(source: Source, *, size: int) -> Preparation:
    """What OpenCLIP does to a picture of `size` pixels; its own defaults where the configuration is silent."""
    steps = source.read("open_clip_config.json").get("preprocess_cfg", {})
    mean = steps.get("mean", (0.48145466, 0.4578275, 0.40821073))
    deviation = steps.get("std", (0.26862954, 0.26130258, 0.27577711))
    return Preparation(size, tuple(mean), tuple(deviation))


def open_clip_model(source: Source) -> Any:  # noqa: ANN401 - transformers' SiglipModel or CLIPModel
    """The network with all its weights; raises HubError for architectures other than plain ViT towers."""
    config = source.read("open_clip_config.json").get("model_cfg", {})
    trunk = config.get("vision_cfg", {}).get("timm_model_name", "")
    if trunk and not _SIGLIP_TRUNK.fullmatch(trunk):
        raise HubError(
            f"{source.name} looks with {trunk}; of OpenCLIP's models those with a plain or a SigLIP ViT work"
        )
    weights = _weights(source)
    try:
        network = (_siglip if trunk else _clip)(config, weights)
    except KeyError as error:
        raise HubError(f"{source.name} has no weight or setting {error}; its architecture is not supported") from error
    renamed = _renamed(weights, _SIGLIP if trunk else _CLIP)
    for name in {"logit_scale", "logit_bias"} & renamed.keys():
        renamed[name] = renamed[name].reshape(network.get_parameter(name).shape)
    try:
        missing, unexpected = network.load_state_dict(renamed, strict=False)
    except RuntimeError as error:
        raise HubError(f"the weights of {source.name} do not fit its configuration: {error}") from error
    if missing or unexpected:
        raise HubError(f"{source.name} is built differently: missing {missing[:3]}, not expected {unexpected[:3]}")
    return network.eval()


def _siglip(config: dict[str, Any], weights: Weights) -> Any:  # noqa: ANN401
    from transformers import SiglipConfig, SiglipModel

    text, patches = config["text_cfg"], weights["visual.trunk.patch_embed.proj.weight"]
    cells, width = weights["visual.trunk.pos_embed"].shape[-2:]
    so400m = "so400m" in config["vision_cfg"]["timm_model_name"]
    words, text_width = weights["text.token_embedding.weight"].shape
    vision_config = {
        "hidden_size": width,
        "intermediate_size": weights["visual.trunk.blocks.0.mlp.fc1.weight"].shape[0],
        "num_hidden_layers": _depth(weights, r"visual\.trunk\.blocks\.(\d+)\."),
        "num_attention_heads": 16 if so400m else width // 64,
        "patch_size": patches.shape[-1],
        "image_size": math.isqrt(cells) * patches.shape[-1],
        "hidden_act": "gelu",
    }
    text_config = {
        "hidden_size": text_width,
        "projection_size": config["embed_dim"],
        "intermediate_size": weights["text.transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
        "num_hidden_layers": _depth(weights, r"text\.transformer\.resblocks\.(\d+)\."),
        "num_attention_heads": text["heads"],
        "vocab_size": words,
        "max_position_embeddings": weights["text.positional_embedding"].shape[0],
        "hidden_act": "gelu_pytorch_tanh" if text.get("act_kwargs", {}).get("approximate") == "tanh" else "gelu",
        "bos_token_id": None,
        "eos_token_id": None,
    }
    return SiglipModel(SiglipConfig(vision_config=vision_config, text_config=text_config, attn_implementation="eager"))


def _clip(config: dict[str, Any], weights: Weights) -> Any:  # noqa: ANN401
    from transformers import CLIPConfig, CLIPModel

    vision, text, patches = config["vision_cfg"], config["text_cfg"], weights["visual.conv1.weight"]
    cells, width = weights["visual.positional_embedding"].shape
    words, text_width = weights["token_embedding.weight"].shape
    act = "quick_gelu" if config.get("quick_gelu") else "gelu"
    vision_config = {
        "hidden_size": width,
        "intermediate_size": weights["visual.transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
        "num_hidden_layers": _depth(weights, r"visual\.transformer\.resblocks\.(\d+)\."),
        "num_attention_heads": width // vision.get("head_width", 64),
        "patch_size": patches.shape[-1],
        "image_size": math.isqrt(cells - 1) * patches.shape[-1],
        "hidden_act": act,
    }
    text_config = {
        "hidden_size": text_width,
        "intermediate_size": weights["transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
        "num_hidden_layers": _depth(weights, r"transformer\.resblocks\.(\d+)\."),
        "num_attention_heads": text["heads"],
        "vocab_size": words,
        "max_position_embeddings": weights["positional_embedding"].shape[0],
        "hidden_act": act,
        "bos_token_id": None,
        # 2 means to transformers what OpenCLIP always does: the text ends at its largest token.
        "eos_token_id": 2,
    }
    return CLIPModel(
        CLIPConfig(
            vision_config=vision_config,
            text_config=text_config,
            projection_dim=config["embed_dim"],
            attn_implementation="eager",
        )
    )


def _weights(source: Source) -> Weights:
    from safetensors.torch import load_file

    safe, plain = source.folder / "open_clip_model.safetensors", source.folder / "open_clip_pytorch_model.bin"
    if safe.exists():
        weights: Weights = load_file(safe)
        return weights
    if not plain.exists():
        raise HubError(f"{source.name} has neither {safe.name} nor {plain.name}")
    return dict(torch.load(plain, map_location="cpu", weights_only=True))


def _depth(weights: Iterable[str], pattern: str) -> int:
    return 1 + max((int(found[1]) for name in weights if (found := re.match(pattern, name))), default=-1)


def _renamed(weights: Weights, names: Names) -> Weights:
    renamed: Weights = {}
    for name, tensor in _joined(weights).items():
        for part, value in _parts(name, tensor):
            for pattern, replacement in names:
                part = re.sub(pattern, replacement, part)
            renamed[part] = value
    return renamed


def _joined(weights: Weights) -> Weights:
    """The pooling's queries, keys and values in one matrix, as transformers has them there, and no stored masks."""
    joined = {name: tensor for name, tensor in weights.items() if not name.endswith("attn_mask")}
    pool = "visual.trunk.attn_pool."
    for kind in ("weight", "bias"):
        if f"{pool}q.{kind}" in joined:
            parts = [joined.pop(f"{pool}{part}.{kind}") for part in ("q", "kv")]
            joined[f"{pool}attn.in_proj_{kind}"] = torch.cat(parts)
            joined[f"{pool}attn.out_proj.{kind}"] = joined.pop(f"{pool}proj.{kind}")
    return joined


def _parts(name: str, tensor: Tensor) -> Iterable[tuple[str, Tensor]]:
    """A tensor in the shapes of transformers: queries, keys and values apart elsewhere, products turned round."""
    split = re.fullmatch(r"(.*\.attn\.)(?:qkv\.|in_proj_)(weight|bias)", name)
    if split and "attn_pool" not in name:
        return [
            (f"{split[1]}{part}_proj.{split[2]}", value) for part, value in zip("qkv", tensor.chunk(3), strict=True)
        ]
    if name in ("visual.proj", "text_projection"):
        return [(name, tensor.t().contiguous())]
    if name == "visual.trunk.pos_embed":
        return [(name, tensor.squeeze(0))]
    return [(name, tensor)]
