from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from deepicd.training.weights import Tensor, adapter_parameters, linear_layers, parameters_in, tensors_in


def write(path: Path, **shapes: list[int]) -> None:
    tensors = {name: {"dtype": "F32", "shape": shape} for name, shape in shapes.items()}
    header = json.dumps({"__metadata__": {"format": "pt"}, **tensors}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)


def test_parameters_are_counted_in_the_weights_of_all_files(tmp_path: Path) -> None:
    write(tmp_path / "model-00001-of-00002.safetensors", x=[3, 4])
    write(tmp_path / "model-00002-of-00002.safetensors", y=[5])
    assert tensors_in(tmp_path) == {"x": Tensor("F32", (3, 4)), "y": Tensor("F32", (5,))}
    assert parameters_in(tmp_path) == 17


@pytest.mark.parametrize("content", [None, b"", b"model", struct.pack("<Q", 4) + b"nope"])
def test_weights_that_cannot_be_read_are_not_counted(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "model.safetensors").write_bytes(content)
    assert parameters_in(tmp_path) is None


def test_adapters_belong_to_the_linear_layers_but_not_to_embeddings() -> None:
    tensors = {
        "model.embed_tokens.weight": (100, 8), "lm_head.weight": (100, 8), "model.norm.weight": (8,),
        "model.layers.0.mlp.up_proj.weight": (32, 8), "model.layers.0.self_attn.q_proj.weight": (8, 8),
        "model.layers.0.self_attn.q_proj.bias": (8,),
    }  # fmt: skip
    layers = list(linear_layers({name: Tensor("F32", shape) for name, shape in tensors.items()}))
    assert layers == [("up_proj", (32, 8)), ("q_proj", (8, 8))]
    assert adapter_parameters(layers, 4, ()) == 4 * (40 + 16)
    assert adapter_parameters(layers, 4, ("q_proj",)) == 4 * 16
