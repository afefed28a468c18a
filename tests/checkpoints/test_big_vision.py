# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""ViTs of big_vision and vit_jax, in files that NumPy alone wrote."""

import zipfile
from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest

from pali.checkpoints import big_vision, merge
from pali.config import ViTConfig
from pali.models.vit import ViT

# Every size is another number.
D, N, M, PATCH, DEPTH, CLASSES = 6, 2, 10, 4, 3, 5
CONFIG = ViTConfig(D, DEPTH, M, N, PATCH, image_size=12)


class Drawer:
    """Random arrays, none of them zero."""

    def __init__(self, dtype: Any = np.float32):
        self.rng, self.dtype = np.random.default_rng(0), dtype

    def __call__(self, *shape):
        return self.rng.normal(size=shape).astype(self.dtype)

    def dense(self, inputs, outputs):
        return {"kernel": self(*inputs, *outputs), "bias": self(*outputs)}

    def norm(self):
        return {"scale": self(D), "bias": self(D)}

    def attention(self):
        heads = {name: self.dense((D,), (N, D // N)) for name in ("query", "key", "value")}
        return heads | {"out": self.dense((N, D // N), (D,))}

    def mlp(self):
        return {"Dense_0": self.dense((D,), (M,)), "Dense_1": self.dense((M,), (D,))}

    def block(self):
        return {
            "LayerNorm_0": self.norm(),
            "MultiHeadDotProductAttention_0": self.attention(),
            "LayerNorm_1": self.norm(),
            "MlpBlock_0": self.mlp(),
        }

    def vit(self, positions=9):
        blocks = {f"encoderblock_{i}": self.block() for i in range(DEPTH)}
        return {
            "embedding": self.dense((PATCH, PATCH, 3), (D,)),
            "pos_embedding": self(1, positions, D),
            "Transformer": {**blocks, "encoder_norm": self.norm()},
        }

    def map_head(self):
        attention = {"MultiHeadDotProductAttention_0": self.attention()}
        return {"probe": self(1, 1, D), "LayerNorm_0": self.norm(), "MlpBlock_0": self.mlp()} | (
            attention
        )

    def head(self, outputs=CLASSES):
        return self.dense((D,), (outputs,))


def flat(tree, above=""):
    named = {}
    for key, value in tree.items():
        named |= flat(value, f"{above}{key}/") if isinstance(value, dict) else {above + key: value}
    return named


def stacked(vit):
    """As big_vision has it with `scan=True`."""
    blocks = [flat(vit["Transformer"][f"encoderblock_{i}"]) for i in range(DEPTH)]
    stack = {name: np.stack([block[name] for block in blocks]) for name in blocks[0]}
    return vit | {
        "Transformer": {
            "encoderblock": stack,
            "encoder_norm": vit["Transformer"]["encoder_norm"],
        }
    }


def save(path, tree, write=np.savez):
    write(path, **flat(tree))
    return path


def assert_holds(component, tree, config):
    expected = flat(tree)
    assert component.config == config
    assert component.tensors.keys() == expected.keys()
    for name, tensor in component.tensors.items():
        wanted = expected[name]
        assert (tensor.shape, tensor.dtype) == (wanted.shape, wanted.dtype), name
        for _ in range(2):  # it can be read again
            got = tensor.read()
            assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype), name
            assert got.tobytes() == wanted.tobytes(), name
    # And these are names and shapes of the model.
    picture = np.zeros((1, *config.image_shape, 3), np.uint8)
    model = jax.eval_shape(ViT(config).init, jax.random.key(0), picture)["params"]
    merge.check_shapes(component.tensors, merge.flatten(model))


def with_(config, **changes):
    return ViTConfig(**{**vars(config), **changes})


SIGLIP = with_(CONFIG, pool="map")


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_the_image_tower_of_siglip_is_read(tmp_path, write):
    draw = Drawer()
    image = draw.vit() | {"MAPHead_0": draw.map_head()}
    text = {"Embed_0": {"embedding": draw(7, D)}, "Encoder_0": {"encoder_norm": draw.norm()}}
    towers = {"params": {"img": image, "txt": text, "t": draw(1), "b": draw(1)}}
    component = big_vision.read(save(tmp_path / "siglip.npz", towers, write))
    assert_holds(component, image, SIGLIP)
    assert component.origin == f"ViT of big_vision in {tmp_path / 'siglip.npz'}"
    assert component.tokenizer is None
    assert set(component.unused) == {
        *("params/txt/Embed_0/embedding", "params/t", "params/b"),
        *("params/txt/Encoder_0/encoder_norm/scale", "params/txt/Encoder_0/encoder_norm/bias"),
    }


def test_stacked_layers_are_separated_and_slots_passed_over(tmp_path):
    draw = Drawer()
    image = draw.vit() | {"MAPHead_0": draw.map_head()}
    file = {"params": {"img": stacked(image)}, "opt": {"0": {"mu": {"img": draw.vit()}}}}
    component = big_vision.read(save(tmp_path / "scanned.npz", file))
    assert_holds(component, image, SIGLIP)
    assert all(name.startswith("opt/0/mu/img/") for name in component.unused)


def test_the_projection_of_paligemma_is_no_part_of_the_vit(tmp_path):
    draw = Drawer()
    image = draw.vit()
    towers = {"img": stacked(image) | {"head": draw.head(9)}, "llm": {"final_norm": draw.norm()}}
    component = big_vision.read(save(tmp_path / "paligemma.npz", {"params": towers}))
    assert_holds(component, image, CONFIG)
    assert component.unused == (
        *("params/img/head/bias", "params/img/head/kernel"),
        *("params/llm/final_norm/bias", "params/llm/final_norm/scale"),
    )


def test_a_classifier_on_the_pooling_head(tmp_path):
    draw = Drawer()
    vit = draw.vit() | {"MAPHead_0": draw.map_head(), "head": draw.head()}
    component = big_vision.read(save(tmp_path / "vit.npz", {"params": vit}))
    assert_holds(component, vit, with_(SIGLIP, num_classes=CLASSES))
    assert component.unused == ()


def test_bfloat16_stays_bfloat16(tmp_path):
    """NumPy writes it as two bytes of it knows not what."""
    draw = Drawer(ml_dtypes.bfloat16)
    vit = draw.vit() | {"cls": draw(1, 1, D)}
    path = save(tmp_path / "half.npz", {"params": stacked(vit)})
    with np.load(path) as file:
        assert file["params/cls"].dtype == np.dtype("V2")
    assert_holds(big_vision.read(path), vit, with_(CONFIG, class_token=True))


TOKEN = with_(CONFIG, class_token=True, pool="token", num_classes=CLASSES)


@pytest.mark.parametrize("place", ["", "opt/target/"])
@pytest.mark.parametrize("pre_logits", [True, False])
def test_files_of_vit_jax_are_read(tmp_path, place, pre_logits):
    draw = Drawer()
    vit = draw.vit(positions=10) | {"cls": draw(1, 1, D), "head": draw.head()}
    if pre_logits:
        vit["pre_logits"] = draw.dense((D,), (D,))
    old = {**vit, "Transformer": {"encoder_norm": vit["Transformer"]["encoder_norm"]}}
    for i in range(DEPTH):
        block = vit["Transformer"][f"encoderblock_{i}"]
        old["Transformer"][f"encoderblock_{i}"] = {
            "LayerNorm_0": block["LayerNorm_0"],
            "MultiHeadDotProductAttention_1": block["MultiHeadDotProductAttention_0"],
            "LayerNorm_2": block["LayerNorm_1"],
            "MlpBlock_3": block["MlpBlock_0"],
        }
    positions = old.pop("pos_embedding")
    old["Transformer"]["posembed_input"] = {"pos_embedding": positions}
    np.savez(tmp_path / "augreg.npz", **{place + name: a for name, a in flat(old).items()})
    expected = vit | {"cls": vit["cls"] + positions[:, :1], "pos_embedding": positions[:, 1:]}
    component = big_vision.read(tmp_path / "augreg.npz")
    assert_holds(component, expected, with_(TOKEN, pre_logits=pre_logits))
    assert component.unused == ()


def test_the_sum_of_class_token_and_its_position_keeps_all_digits(tmp_path):
    draw = Drawer(ml_dtypes.bfloat16)
    vit = draw.vit(positions=10) | {"cls": draw(1, 1, D)}
    cls, first = (a.astype(np.float32) for a in (vit["cls"], vit["pos_embedding"][:, :1]))
    expected = vit | {"cls": cls + first, "pos_embedding": vit["pos_embedding"][:, 1:]}
    path = save(tmp_path / "half.npz", {"params": vit})
    assert_holds(big_vision.read(path), expected, with_(CONFIG, class_token=True))


def test_a_class_token_without_a_position_is_left_as_it_is(tmp_path):
    draw = Drawer()
    vit = draw.vit() | {"cls": draw(1, 1, D), "head": draw.head()}
    assert_holds(big_vision.read(save(tmp_path / "vit.npz", {"params": vit})), vit, TOKEN)


def test_pictures_that_are_no_square_must_be_told(tmp_path):
    draw = Drawer()
    vit = draw.vit(positions=8)
    path = save(tmp_path / "wide.npz", {"params": vit})
    with pytest.raises(ValueError, match="its 8 positions are no square grid.*image_size.*4 pixel"):
        big_vision.read(path)
    wide = with_(CONFIG, image_size=(8, 16))
    assert_holds(big_vision.read(path, image_size=(8, 16)), vit, wide)
    for wrong, grid in ((12, "3 x 3"), ((8, 18), "2 x 4.5")):
        with pytest.raises(ValueError, match=f"makes {grid} patches of 4 pixels; the file has 8"):
            big_vision.read(path, image_size=wrong)


def test_a_wide_picture_with_a_class_token(tmp_path):
    draw = Drawer()
    vit = draw.vit(positions=9) | {"cls": draw(1, 1, D)}  # 3 x 3, or 2 x 4 and the class token
    path = save(tmp_path / "wide.npz", {"params": vit})
    assert_holds(big_vision.read(path), vit, with_(CONFIG, class_token=True))
    positions = vit["pos_embedding"]
    expected = vit | {"cls": vit["cls"] + positions[:, :1], "pos_embedding": positions[:, 1:]}
    config = with_(CONFIG, class_token=True, image_size=(8, 16))
    assert_holds(big_vision.read(path, image_size=(8, 16)), expected, config)


def test_nothing_is_read_before_it_is_asked_for(tmp_path):
    path = save(tmp_path / "vit.npz", {"params": Drawer().vit()})
    component = big_vision.read(path)
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("params/embedding/kernel.npy")
    content = bytearray(path.read_bytes())
    content[info.header_offset + info.compress_size] ^= 1
    path.write_bytes(content)
    component.tensors["pos_embedding"].read()
    with pytest.raises(ValueError, match=r"is damaged: params/embedding/kernel\.npy cannot be"):
        component.tensors["embedding/kernel"].read()


def test_pickled_objects_are_refused(tmp_path):
    class Dangerous:
        def __reduce__(self):
            return (pytest.fail, ("this was unpickled",))

    draw = Drawer()
    tree = {"params": draw.vit() | {"extra": np.array([Dangerous()], dtype=object)}}
    path = save(tmp_path / "vit.npz", tree)
    with pytest.raises(ValueError, match=r"params/extra\.npy holds pickled Python objects"):
        big_vision.read(path)


def test_what_is_no_vit_is_explained(tmp_path):
    path = save(tmp_path / "mixer.npz", {"params": {"stem": {"kernel": np.ones(3)}}})
    with pytest.raises(ValueError, match="holds no ViT that pali knows.*It holds params/stem/ker"):
        big_vision.read(path)
    vit = Drawer().vit()
    del vit["pos_embedding"]
    with pytest.raises(ValueError, match="it lacks pos_embedding"):
        big_vision.read(save(tmp_path / "sincos.npz", {"params": vit}))
    vit = Drawer().vit()
    vit["embedding"]["kernel"] = np.ones((4, 2, 3, D), np.float32)
    with pytest.raises(ValueError, match="its patches are 4 x 2 pixels of 3 channels"):
        big_vision.read(save(tmp_path / "oblong.npz", {"params": vit}))
    vit["embedding"]["kernel"] = np.ones((48, D), np.float32)
    with pytest.raises(ValueError, match=r"embedding/kernel has shape \(48, 6\), not 4 axes"):
        big_vision.read(save(tmp_path / "flat.npz", {"params": vit}))


def test_what_is_no_archive_is_explained(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no .*nowhere"):
        big_vision.read(tmp_path / "nowhere.npz")
    with pytest.raises(FileNotFoundError, match="gcloud storage cp"):
        big_vision.read("gs://big_vision/siglip/webli_en_b16_224_63724782.npz")
    with pytest.raises(ValueError, match="is a folder, not the .npz archive"):
        big_vision.read(tmp_path)
    path = save(tmp_path / "vit.npz", {"params": Drawer().vit()})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="not the .npz archive.*or it is damaged"):
        big_vision.read(path)
