# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What a backbone and an experiment are: frozen dataclasses, data only.

Nothing here imports JAX, so that a command line can answer `--help` in under a second. A config is
saved beside what it produced as JSON (pali/config_json.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from pali import remat
from pali.config_json import from_json as from_json
from pali.config_json import to_json as to_json
from pali.mesh_config import MeshConfig

Dtype = Literal["float32", "bfloat16"]

JSONL = ".jsonl"
"""A mixture whose name ends so is a file of records (pali/data/jsonl.py)."""

Precision = Literal["float32", "bfloat16", "int8"]
"""In what numbers a loaded model computes (pali/precision.py)."""

ImageSize = int | tuple[int, int]
"""Of pictures, in pixels: the side of a square, or height and width."""

_HUGE, _DEEP = 10_000_000, 1_000
"""No model is so large: what a damaged file says is refused before anything is made of it."""

Norm = Literal["layer", "centred", "rms"]
"""A norm: to mean 0 and variance 1 with a scale and a bias; the same with a scale alone; to a mean
square of 1, without centring, with a scale alone."""


@dataclass(frozen=True)
class PixelConfig:
    """How a picture becomes the numbers that a ViT reads; the defaults are SigLIP's in big_vision.

    It belongs to the weights: a ViT sees worse through the preprocessing of another.
    """

    resample: Literal["bilinear", "bicubic"] = "bilinear"
    """Antialiased in either case."""
    fit: Literal["squash", "crop"] = "squash"
    """A picture of another aspect ratio is squashed, or cut at both ends of its longer side."""
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    """Of red, green and blue in [0, 1]; taken off."""
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    """Then divided by this."""

    def __post_init__(self):
        for name in ("mean", "std"):
            value = getattr(self, name)
            finite = len(value) == 3 and all(map(math.isfinite, value))
            if not finite or (name == "std" and min(value) <= 0):
                raise ValueError(f"{name} is {value}; it must be three numbers, std above 0")


@dataclass(frozen=True)
class ViTConfig:
    """A Vision Transformer: pre-norm, learned positions, patch tokens out (pali/models/vit.py)."""

    width: int
    depth: int
    mlp_dim: int
    num_heads: int
    patch_size: int
    """Side of a square patch, in pixels."""
    image_size: ImageSize
    """Multiples of `patch_size`."""
    cut_rest: bool = False
    """Whether a side may be no multiple of `patch_size`. What is left over at the right and at the
    bottom then goes unseen, as in SigLIP So400m/14 at 384 pixels."""
    class_token: bool = False
    """Whether a learned token stands before the patches (ViT, CLIP)."""
    class_token_visual: bool = False
    """Whether it is a visual token, too: the first one."""
    pool: Literal["none", "map", "token"] = "none"
    """What a picture is summed up by: the attention-pooling head of SigLIP, or the class token."""
    pre_logits: bool = False
    """A linear map and a tanh on that vector (Hugging Face's `pooler`)."""
    num_classes: int = 0
    """Outputs of the linear classifier on the pooled vector; 0 leaves that vector as it is."""
    gelu: Literal["exact", "tanh", "quick"] = "tanh"
    """big_vision and SigLIP use the tanh approximation, Hugging Face's ViT the exact function, CLIP
    x sigmoid(1.702 x)."""
    norm: Norm = "layer"
    layer_norm_epsilon: float = 1e-6
    """Of every norm."""
    final_norm: Literal["tokens", "pooled"] = "tokens"
    """What goes through the last norm: every token, or (CLIP) only what is pooled."""
    embedding_norm: bool = False
    """A norm before the first block (CLIP)."""
    patch_bias: bool = True
    """Whether the patch embedding has a bias (CLIP's has none)."""
    parallel: bool = False
    """Attention and MLP side by side on one norm, their outputs under one bias (ViT-22B)."""
    qkv_bias: bool = True
    """Whether queries, keys and values have biases (ViT-22B's have none)."""
    qk_norm: Norm | None = None
    """A norm on the queries and keys of each head, its scale shared by the heads (ViT-22B)."""
    pixels: PixelConfig = field(default_factory=PixelConfig)
    dropout: float = 0.0
    dtype: Dtype = "float32"
    """Operands of the matrix products; accumulation and parameters stay float32."""
    scan: bool = True
    """Compile one block and loop over a stacked layer axis, instead of unrolling every block."""
    remat: str = "none"
    """What a block keeps of its forward pass for the backward pass, by name (pali/remat.py)."""

    def __post_init__(self):
        remat.check(self.remat)
        _between(self, 1, _HUGE, "width", "mlp_dim", "num_heads", "patch_size")
        _between(self, 1, _DEEP, "depth")
        _between(self, 0, _HUGE, "num_classes")
        _between(self, 0, 1, "dropout")
        _between(self, 0, math.inf, "layer_norm_epsilon")
        for side in self.image_shape:
            rest = 0 if self.cut_rest else side % self.patch_size
            if side < self.patch_size or rest:
                below = side // self.patch_size * self.patch_size
                near = [str(s) for s in (below, below + self.patch_size) if s > 0]
                raise ValueError(
                    f"image_size {self.image_size} is not a multiple of patch_size "
                    f"{self.patch_size}; the nearest sizes are {' and '.join(near)}"
                )
        if self.width % self.num_heads:
            raise ValueError(f"num_heads {self.num_heads} does not divide width {self.width}")
        if (self.num_classes or self.pre_logits) and self.pool == "none":
            what = "pre_logits" if self.pre_logits else f"num_classes {self.num_classes}"
            raise ValueError(f'{what} needs pool="map" or pool="token": there is no vector')
        if not self.class_token and (self.pool == "token" or self.class_token_visual):
            what = 'pool="token"' if self.pool == "token" else "class_token_visual"
            raise ValueError(f"{what} needs class_token=True: there is no such token")

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.width // self.num_heads

    @property
    def image_shape(self) -> tuple[int, int]:
        """Height and width of the picture, in pixels."""
        return image_shape(self.image_size)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        height, width = self.image_shape
        return height // self.patch_size, width // self.patch_size

    @property
    def num_visual_tokens(self) -> int:
        """Patches of one picture, which all become visual tokens; and the class token, if asked."""
        return math.prod(self.grid) + self.class_token_visual


@dataclass(frozen=True)
class MT5Config:
    """An mT5 / T5.1.1 encoder-decoder (pali/models/mt5.py)."""

    vocab_size: int
    width: int
    mlp_dim: int
    num_heads: int
    head_dim: int
    """mT5-small has heads * head_dim = 384 beside width 512: the two are independent."""
    encoder_layers: int
    decoder_layers: int
    relative_buckets: int = 32
    relative_max_distance: int = 128
    relative_bias: Literal["stack", "layer"] = "stack"
    """One table of positions for a whole stack of layers (mT5), or one for each layer (umT5)."""
    dropout: float = 0.0
    dtype: Dtype = "float32"
    """Operands of the matrix products. Never float16: mT5's activations overflow it."""
    scan: bool = True
    remat: str = "none"

    def __post_init__(self):
        remat.check(self.remat)
        _between(self, 1, _HUGE, "vocab_size", "width", "mlp_dim", "num_heads", "head_dim")
        _between(self, 1, _DEEP, "encoder_layers", "decoder_layers")
        _between(self, 4, _HUGE, "relative_buckets")
        # The first half of the buckets has one distance each; the rest must reach further.
        _at_least(self, self.relative_buckets // 2 + 1, "relative_max_distance")
        _between(self, 0, 1, "dropout")


@dataclass(frozen=True)
class PaLIConfig:
    """A ViT whose patch tokens stand before the text embeddings of an mT5."""

    vit: ViTConfig
    mt5: MT5Config


@dataclass(frozen=True)
class InitConfig:
    """Where parameters come from that are not random; what comes later wins."""

    vision: str | None = None
    """Weights of a ViT: a folder of Hugging Face's, a repository of its hub, a big_vision .npz."""
    language: str | None = None
    """Weights of an mT5 or umT5: a folder of Hugging Face's, a repository, a T5X checkpoint."""
    models: tuple[str, ...] = ()
    """Workdirs or model folders of pali, taken over wherever the paths agree; "embedded" is the
    model that pali carries."""

    @property
    def sources(self) -> tuple[str, ...]:
        """All of them, in the order in which they are read."""
        return tuple(s for s in (self.vision, self.language, *self.models) if s is not None)


@dataclass(frozen=True)
class DataConfig:
    """Which examples a run reads, and in what shape."""

    mixture: str
    """Name of a registered SeqIO task or mixture, or of what `records` holds; or a JSONL file of
    captions or questions: other splits are beside it, as in `validation.jsonl`."""
    task_modules: tuple[str, ...] = ()
    """Your own task files, as importable names or paths; those of the checkout are always there."""
    records: str | None = None
    """Folder of tokenised records (`pali tasks NAME --write DIR`): SeqIO is then never imported."""
    batch_size: int = 128
    """Examples per step, over all hosts."""
    inputs_length: int = 16
    """Prompt tokens, the end-of-sequence token counted; longer prompts are cut."""
    targets_length: int = 24
    """Target tokens, the end-of-sequence token counted; longer targets are cut."""
    short: tuple[tuple[int, int], ...] = ()
    """Shorter (prompt, target) lengths. Tasks whose texts fit in one of them make a part of the
    batch of their own, in proportion to their rates, and are padded to that length alone."""
    rows_multiple: int = 1
    """Rows of every part (see `short`) are a multiple of this, which data x fsdp of a mesh must
    divide. It is not taken from the mesh: the batches of a run are the same on any."""
    visual_token_cache: str | None = None
    """Folder of visual tokens that the frozen ViT makes once of each picture; what it lacks is
    computed before the first step (docs/training.md). None runs the ViT in every step."""
    visual_token_dtype: Literal["bfloat16", "int8"] = "bfloat16"
    """"int8", with a scale for each token, takes half of the room, and is off by about 1 %."""
    visual_token_views: int = 1
    """Of pictures that are drawn anew at every visit (`DecodeRandomCrop`): how many fixed views of
    each are kept, of which every visit draws one."""
    replay: str | None = None
    """A mixture that the model was trained on before, of which it is shown some more so that it
    does not forget: a share of `replay_rate` of the training examples."""
    replay_rate: float = 0.1
    prefetch_threads: int = 1
    """Threads that prepare examples while a step runs."""
    prompts: tuple[tuple[str, str], ...] = ()
    """(name, template) of prompts in other words than those of pali/prompts.py."""
    max_skipped: float = 0.01
    """Share of the examples that may be unusable, as broken pictures are; more of them stop the
    run. They keep their places in the batch and weigh nothing."""
    images: str | None = None
    """Folder of the pictures that a JSONL file names; None: where the file lies."""

    def __post_init__(self):
        _between(self, 0, 1, "max_skipped")
        if self.images and not self.mixture.endswith(JSONL):
            raise ValueError(
                f"images is {self.images!r}, and mixture {self.mixture!r} is no JSONL file: what a "
                "task reads is said in the task"
            )
        if self.records and self.prompts:
            raise ValueError(
                f"the records in {self.records} hold the prompts that they were written with; "
                "leave data.prompts out, or train from the tasks"
            )
        if self.replay and not 0 < self.replay_rate < 1:
            raise ValueError(
                f"replay_rate is {self.replay_rate}; it must be between 0 and 1, or replay None"
            )
        if self.replay and self.records:
            raise ValueError(
                f"the records in {self.records} hold what they were written of; write a mixture "
                "that has the replayed one in it, or train from the tasks"
            )
        _at_least(self, 1, "batch_size", "inputs_length", "targets_length", "prefetch_threads")
        _at_least(self, 1, "rows_multiple", "visual_token_views")
        if (views := self.visual_token_views) > 1 and not self.visual_token_cache:
            raise ValueError(f"visual_token_views {views} are kept in visual_token_cache: set both")
        if self.batch_size % self.rows_multiple:
            raise ValueError(
                f"batch_size {self.batch_size} is no multiple of rows_multiple {self.rows_multiple}"
            )
        for lengths in self.short:
            inputs, targets = lengths
            if not (1 <= inputs <= self.inputs_length and 1 <= targets <= self.targets_length):
                raise ValueError(
                    f"short has {lengths}; prompt and target lengths must be from 1 to "
                    f"{self.longest}, which are inputs_length and targets_length"
                )

    @property
    def longest(self) -> tuple[int, int]:
        """Prompt and target length of what fits in nothing shorter."""
        return self.inputs_length, self.targets_length


@dataclass(frozen=True)
class OptimConfig:
    """The update rule, its schedule, and what it leaves alone."""

    name: Literal["adamw", "muon", "adafactor"] = "adamw"
    """"adafactor" is T5X's, in which PaLI and mT5 were trained (pali/adafactor.py): its rates are
    shares of a parameter's own size, so 1e-2 where AdamW has 1e-3."""
    learning_rate: float = 1e-3
    """Peak, reached after `warmup_steps`."""
    warmup_steps: int = 500
    schedule: Literal["cosine", "rsqrt", "linear", "constant"] = "cosine"
    """After the warm-up: cosine or linear to zero at the last step, inverse square root of the
    step (T5X's `constant * linear_warmup * rsqrt_normalized_decay`), or the peak to the end."""
    b1: float = 0.9
    """Of AdamW, and of what Muon leaves to it; so is b2."""
    b2: float = 0.98
    weight_decay: float = 0.0
    """Decoupled, on matrices only; of Muon, on those between hidden layers; not of Adafactor."""
    clip_norm: float | None = 1.0
    """Largest norm of the whole gradient. None clips nothing, as T5X does with Adafactor."""
    freeze: tuple[str, ...] = ()
    """Regular expressions over parameter paths (`vit/.*`): no gradients and no optimizer slots."""

    def __post_init__(self):
        _at_least(self, 0, "warmup_steps")
        _between(self, 0, math.inf, "learning_rate", "weight_decay")
        _between(self, 0, 1, "b1", "b2")
        if self.clip_norm is not None and not 0 < self.clip_norm < math.inf:
            raise ValueError(
                f"clip_norm is {self.clip_norm}; it must be finite and above 0, or None, which "
                "clips nothing"
            )
        if self.name == "adafactor" and self.weight_decay:
            raise ValueError(
                f"weight_decay is {self.weight_decay}; Adafactor as T5X trains with it has none: "
                'set it to 0, or name to "adamw"'
            )


@dataclass(frozen=True)
class LoRAConfig:
    """Low-rank adapters of the language half, trained instead of it (pali/lora.py)."""

    rank: int = 0
    """Of the update of each kernel; 0: no adapters, and the language half itself is trained."""
    alpha: float = 16.0
    """The update of a kernel is alpha / rank · A B."""
    targets: tuple[str, ...] = (r"mt5/.*attention/\w+/kernel", r"mt5/.*/mlp/\w+/kernel")
    """Regular expressions over paths: which kernels of the mT5 have one."""

    def __post_init__(self):
        _between(self, 0, _HUGE, "rank")
        _between(self, 0, math.inf, "alpha")


@dataclass(frozen=True)
class Config:
    """One experiment: what `get_config()` in a file of configs/ returns, and `pali train` runs."""

    model: PaLIConfig
    data: DataConfig
    optim: OptimConfig = field(default_factory=OptimConfig)
    lora: LoRAConfig = field(default_factory=LoRAConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)
    """How the devices divide batches and parameters (pali/sharding.py)."""
    objective: Literal["generate", "classify"] = "generate"
    """"generate": cross-entropy of the target text. "classify": the ViT alone, on its own heads."""
    steps: int = 1000
    seed: int = 0
    accumulate: int = 1
    """Micro-batches in which a batch is computed, one after the other: the same update to rounding,
    in less memory."""
    loss_chunks: int = 8
    """Parts in which the logits over the vocabulary are computed, each let go before the next; of
    fewer where a part would be small (pali/vocabulary_loss.py)."""
    weigh: Literal["tokens", "targets"] = "tokens"
    """What counts alike in "generate": every token, or every target, however long it is."""
    label_smoothing: float = 0.0
    z_loss: float = 0.0
    class_weight: float = 0.0
    """Of "generate" with a ViT that is trained: weight of the cross-entropy of its own head over
    the classes, of those examples that have one."""
    contrast_weight: float = 0.0
    """Likewise: weight of the contrast between pictures and target words, of those examples whose
    target names what is pictured."""
    patch_weight: float = 0.0
    """Of "classify", too: weight of the cross-entropy of the words each patch shows, of those
    examples of which it is known (pali/data/patch_words.py), on a head that no model keeps."""
    init: InitConfig = field(default_factory=InitConfig)
    tokenizer: str | None = None
    """A sentencepiece model; None is the one beside `init.language`, or the embedded model's."""
    languages: tuple[str, ...] = ()
    """Languages the exported model says it was trained on."""
    notes: str = ""
    """One or two sentences that the exported model carries: what it learned, what it is for."""
    log_every: int = 50
    eval_every: int = 1000
    eval_splits: tuple[str, ...] = ("validation",)
    eval_batches: int = 16
    eval_tasks: tuple[str, ...] = ()
    """Tasks whose pictures the model answers about every `eval_every` steps, as in `pali evaluate`;
    the answers and their scores are kept."""
    eval_limit: int = 20
    """Examples of each of their splits and languages."""
    forgetting_tasks: tuple[str, ...] = ()
    """Tasks that are answered before the first step and after the last, in as many examples: what
    a model forgets in fine-tuning is in forgetting.md (pali/training/forgetting.py)."""
    checkpoint_every: int = 1000
    keep_checkpoints: int = 2
    keep_best: str | None = None
    """Name of a score ("validation/loss", "demo_captions/validation/exact_match"): its best
    checkpoint is kept as well, of those saved at a step with an evaluation, and exported to
    `best_model`."""
    max_unusable_steps: int = 0
    """Steps whose loss or gradient may be no number. They update nothing; one more ends the run."""

    def __post_init__(self):
        _at_least(self, 1, "steps", "log_every", "eval_every", "eval_batches")
        _at_least(self, 1, "checkpoint_every", "keep_checkpoints", "eval_limit")
        _at_least(self, 1, "accumulate", "loss_chunks")
        _at_least(self, 0, "max_unusable_steps")
        if self.data.batch_size % self.accumulate:
            raise ValueError(
                f"accumulate {self.accumulate} does not divide data.batch_size "
                f"{self.data.batch_size}"
            )
        for name in ("contrast_weight", "patch_weight"):
            if getattr(self, name) and self.accumulate > 1:
                raise ValueError(
                    f"{name} compares each picture with the words of the whole batch, so parts of "
                    "it do not add up: set accumulate to 1"
                )
        if self.lora.rank and self.objective == "classify":
            raise ValueError(
                'lora adapts the language half, which objective "classify" does not train: set '
                "lora.rank to 0"
            )
        _between(self, 0, 2**32, "seed")
        _between(self, 0, 1, "label_smoothing")
        _between(self, 0, math.inf, "z_loss", "class_weight", "contrast_weight")
        _between(self, 0, math.inf, "patch_weight")
        for name in ("class_weight", "contrast_weight", "patch_weight"):
            if getattr(self, name) and self.data.visual_token_cache:
                raise ValueError(
                    f"{name} teaches the ViT, and needs pictures as pixels: set it to 0, or "
                    "data.visual_token_cache to None"
                )
            if getattr(self, name) and self.objective == "classify" and name != "patch_weight":
                raise ValueError(f'{name} is of objective "generate"; set it to 0')
        if self.class_weight and not self.model.vit.num_classes:
            raise ValueError('class_weight needs a ViT with pool="map" and num_classes')


def image_shape(size: ImageSize) -> tuple[int, int]:
    """Height and width."""
    return (size, size) if isinstance(size, int) else size


def _at_least(config: Any, minimum: int, *names: str) -> None:
    for name in names:
        if getattr(config, name) < minimum:
            raise ValueError(f"{name} is {getattr(config, name)}; it must be at least {minimum}")


def _between(config: Any, low: int, high: float | int, *names: str) -> None:
    """The upper end is left out, and so are NaN and infinity."""
    for name in names:
        value = getattr(config, name)
        if not low <= value < high:
            end = "finite and " if high == math.inf else ""
            limit = "" if high == math.inf else f" and below {high:g}"
            raise ValueError(f"{name} is {value}; it must be {end}at least {low:g}{limit}")
