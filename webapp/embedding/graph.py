"""A BERT encoder as an ONNX file, written from its weights without torch.

The graph is the one of Devlin et al., "BERT" (2018), with mean pooling and L2 normalisation as all-MiniLM-L6-v2 uses
them, in the fused operators of onnxruntime (domain com.microsoft). Their arithmetic is the exact one: erf GELU, no
quantisation; the vectors agree with sentence-transformers to a cosine of 1.0000.

`write` runs in a child process (webapp.core.sandbox): it holds the weights three times over for a second.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Weights = dict[str, NDArray[np.float32]]

VERSION = 1  # of the graph; part of the file's name
OPSET, FUSED = 17, "com.microsoft"


def write(folder: str, target: str) -> dict[str, Any]:
    """Write the model in `folder` (config.json, model.safetensors) to the file `target`, whole or not at all.

    Beside it goes `<target>.sha256`. Returns {"bytes": n, "sha256": hex}.
    """
    config = json.loads((Path(folder) / "config.json").read_text("utf-8"))
    data = _model(config, _weights(Path(folder) / "model.safetensors")).SerializeToString()
    digest = hashlib.sha256(data).hexdigest()
    path = Path(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path.with_name(path.name + ".sha256"), digest.encode())
    _replace(path, data)
    return {"bytes": len(data), "sha256": digest}


def intact(path: Path) -> bool:
    """The file is there and is what was written. Reads it all: about 0.1 s."""
    try:
        wanted = path.with_name(path.name + ".sha256").read_text("ascii")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == wanted
    except (OSError, UnicodeError):
        return False


def _replace(path: Path, data: bytes) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with part.open("wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    part.replace(path)


def _weights(path: Path) -> Weights:
    """The tensors of a safetensors file: 8 bytes of length, a JSON header of types, shapes and places, the data."""
    import numpy as np

    data = np.memmap(path, dtype=np.uint8, mode="r")
    (length,) = struct.unpack("<Q", data[:8].tobytes())
    header = json.loads(data[8 : 8 + length].tobytes())
    header.pop("__metadata__", None)
    found = {}
    for name, about in header.items():
        if about["dtype"] == "F32":
            start, end = about["data_offsets"]
            found[name] = data[8 + length + start : 8 + length + end].view("<f4").reshape(about["shape"])
    return found


def _model(config: dict[str, Any], weights: Weights) -> Any:
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    if config["model_type"] != "bert" or config["hidden_act"] != "gelu":
        raise ValueError("not a BERT encoder with GELU")
    epsilon = float(config["layer_norm_eps"])
    nodes: list[Any] = []
    tensors: list[Any] = []

    def keep(name: str, value: Any) -> str:
        tensors.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(kind: str, inputs: list[str], outputs: list[str], domain: str = "", **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, outputs, domain=domain, **attributes))
        return outputs[0]

    def linear(value: str, name: str, tag: str) -> str:
        return node("MatMul", [value, keep(f"{tag}.w", weights[f"{name}.weight"].T)], [f"{tag}.out"])

    def add_norm(value: str, skip: str, dense: str, norm: str, tag: str) -> str:
        inputs = [linear(value, dense, tag), skip, keep(f"{tag}.gamma", weights[f"{norm}.weight"]),
                  keep(f"{tag}.beta", weights[f"{norm}.bias"]), keep(f"{tag}.b", weights[f"{dense}.bias"])]  # fmt: skip
        return node("SkipLayerNormalization", inputs, [f"{tag}.norm"], FUSED, epsilon=epsilon)

    def joined(layer: str, which: str) -> Any:
        return [weights[f"{layer}.attention.self.{part}.{which}"] for part in ("query", "key", "value")]

    # One text, one segment: its embedding is the same everywhere and is added to the positions once.
    places = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    hidden = node(
        "EmbedLayerNormalization",
        ["input_ids", "", keep("words", weights["embeddings.word_embeddings.weight"]), keep("places", places), "",
         keep("gamma", weights["embeddings.LayerNorm.weight"]), keep("beta", weights["embeddings.LayerNorm.bias"]),
         "attention_mask"],
        ["embedded", "lengths"], FUSED, epsilon=epsilon,
    )  # fmt: skip
    for number in range(config["num_hidden_layers"]):
        layer, tag = f"encoder.layer.{number}", f"l{number}"
        attended = node(
            "Attention",
            [hidden, keep(f"{tag}.qkv.w", np.concatenate([w.T for w in joined(layer, "weight")], axis=1)),
             keep(f"{tag}.qkv.b", np.concatenate(joined(layer, "bias"))), "lengths"],
            [f"{tag}.attended"], FUSED, num_heads=config["num_attention_heads"],
        )  # fmt: skip
        hidden = add_norm(attended, hidden, f"{layer}.attention.output.dense",
                          f"{layer}.attention.output.LayerNorm", f"{tag}.att")  # fmt: skip
        wide = linear(hidden, f"{layer}.intermediate.dense", f"{tag}.wide")
        bias = keep(f"{tag}.wide.b", weights[f"{layer}.intermediate.dense.bias"])
        wide = node("BiasGelu", [wide, bias], [f"{tag}.gelu"], FUSED)
        hidden = add_norm(wide, hidden, f"{layer}.output.dense", f"{layer}.output.LayerNorm", f"{tag}.ffn")

    node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT)
    node("Unsqueeze", ["mask", keep("last", np.array([2], np.int64))], ["mask3"])
    node("Mul", [hidden, "mask3"], ["masked"])
    axis = keep("axis", np.array([1], np.int64))
    node("ReduceSum", ["masked", axis], ["sum"], keepdims=0)
    node("ReduceSum", ["mask", axis], ["count"], keepdims=1)
    node("Div", ["sum", "count"], ["mean"])
    node("LpNormalization", ["mean"], ["vectors"], axis=1, p=2)
    tokens = [helper.make_tensor_value_info(name, TensorProto.INT32, ["batch", "length"])
              for name in ("input_ids", "attention_mask")]  # fmt: skip
    vectors = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["batch", config["hidden_size"]])
    graph = helper.make_graph(nodes, "bert-mean-pooling", tokens, [vectors], tensors)
    return helper.make_model(graph, producer_name="brainstem", ir_version=8,
                             opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(FUSED, 1)])  # fmt: skip
