"""How much memory does a process of a run take at its peak? From the numbers of the network and of the batch alone.

Counted are the tensors that stay until the backward pass, in the units in which they come (a value per token and
channel), the weights with what training keeps beside them, and the data loader's processes. What is measured against it
stands in benchmarks/results/memory.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

FLOAT32, BF16_AUTOCAST, HALF = "float32", "bf16 autocast", "half precision"
"""Precisions: float32 weights that compute in float32 or in bfloat16; half weights with float32 ones beside them."""

RUNTIME_BYTES = {"cpu": 950e6, "cuda": 900e6}
"""A process before it has a network: Python, torch and fairseq; on a GPU CUDA's context and libraries."""

WORKER_BYTES = 100e6
"""A process of the data loader, beside its batches and what it shares with the one that it was forked from."""

# What the allocator loses between blocks of many sizes, and what is made and freed within a step.
_SLACK = {"cpu": 1.2, "cuda": 1.1}

# Bytes that stay per token and channel of a block, as (attention, MLP per mlp_ratio), by the number of its maps and
# whether these share their keys: inputs of the linear maps, queries, keys, values and outputs of the attention, inputs
# of the norms and of the GELU.
_BLOCK_BYTES = {
    FLOAT32: {(1, False): (32, 8), (2, False): (56, 8), (2, True): (44, 8)},
    HALF: {(1, False): (20, 4), (2, False): (32, 4), (2, True): (26, 4)},
}
# Input, norm and GELU of a convolution, per patch and channel.
_CONVOLUTION_BYTES = {FLOAT32: 12, HALF: 6}
_TOKEN_BYTES = {FLOAT32: 4, HALF: 2}
_EXPLICIT_MAP_TOKENS = 1024  # on a CPU; see ASDA/core/attention.py
_ROW_COPIES = 6  # prediction, target, their difference and its gradients, in float32


@dataclass(frozen=True)
class ConvolutionalDecoder:
    """A decoder of pre-training: channels, layers, groups and side of its convolutions.

    Attributes:
        products: whether these may be products of matrices (`model.decoder_backend`), which see a copy of each channel
            for each place of the kernel.
    """

    width: int
    layers: int
    groups: int
    kernel: int
    products: bool = False

    def parameters(self, embed_dim: int) -> int:
        inputs = [embed_dim, *[self.width] * (self.layers - 1)]
        kernels = sum(self.width * (i // self.groups) * self.kernel**2 + self.width for i in inputs)
        return kernels + (self.width + 1) * embed_dim


@dataclass(frozen=True)
class TransformerDecoder:
    """A decoder that sees every patch: channels, layers, hidden width of its MLPs, heads, values of a patch."""

    width: int
    layers: int
    mlp_width: int
    num_heads: int
    patch_values: int

    def parameters(self, embed_dim: int) -> int:
        D, h = self.width, self.mlp_width
        block = 4 * D * D + 4 * D + 2 * D * h + h + D + 4 * D
        projection = (embed_dim + 1) * D if embed_dim != D else 0
        return projection + self.layers * block + D + 2 * D + 2 * (D + 1) * self.patch_values


@dataclass(frozen=True)
class Trained:
    """What of an encoder is trained, where it is not all of it: adapters, some of the blocks, nothing.

    Attributes:
        parameters: that get a gradient, in the encoder and in what is added to it.
        frozen: the encoder's others.
        passed: of the frozen ones those in blocks that the backward pass goes through.
        blocks: these, which are the last ones.
        attentions: passes of each of these blocks' attention.
    """

    parameters: int
    frozen: int
    passed: int
    blocks: int
    attentions: int = 1


@dataclass(frozen=True)
class Workload:
    """What a process trains, by the numbers that its memory depends on.

    Attributes:
        depth: layers.
        width: channels of a token.
        num_heads: attention heads.
        mlp_width: hidden width of the MLPs.
        maps: softmax maps of a head: 1 plain, 2 differential.
        patches: of a clip.
        patch_values: of a patch.
        position_rows: of the position table, in patches.
        tokens: of a sequence that the encoder is trained on.
        sequences: of a clip: its students in pre-training, else 1.
        decoder: of pre-training; None where there is none.
        teacher: whether a second encoder sees every patch and follows the first.
        trained: what of the encoder is trained; None: all of it.
        recomputes: activations are computed again in the backward pass (`model.checkpoint_activations`).
        shares_keys: whether both maps have the same keys: differential_v2.
    """

    depth: int
    width: int
    num_heads: int
    mlp_width: int
    maps: int
    patches: int
    patch_values: int
    position_rows: int
    tokens: int
    sequences: int = 1
    decoder: ConvolutionalDecoder | TransformerDecoder | None = None
    teacher: bool = False
    trained: Trained | None = None
    recomputes: bool = False
    shares_keys: bool = False

    @property
    def encoder_parameters(self) -> int:
        D, h = self.width, self.mlp_width
        attention = 6 * D * D + 8 * D if self.maps == 2 else 4 * D * D + 4 * D
        if self.shares_keys:
            attention = 5 * D * D + 5 * D + (D + 1) * self.num_heads
        block = attention + 2 * D * h + h + D + 4 * D
        return self.depth * block + (self.patch_values + 1) * D + D + 2 * D

    @property
    def parameters(self) -> int:
        """Those that an optimiser sees, but for a classification head's."""
        decoder = self.decoder.parameters(self.width) if self.decoder else 0
        return decoder + (self.encoder_parameters if self.trained is None else self.trained.parameters)

    @property
    def still_parameters(self) -> int:
        """Those that no optimiser sees, of a teacher or frozen."""
        return (self.encoder_parameters if self.teacher else 0) + (self.trained.frozen if self.trained else 0)


@dataclass(frozen=True)
class Machine:
    """How a process computes.

    Attributes:
        device: "cpu" or "cuda".
        precision: `FLOAT32`, `BF16_AUTOCAST` or `HALF`.
        several: whether several processes share an update, and so gather their gradients.
        workers: processes of the data loader.
    """

    device: str
    precision: str
    several: bool = False
    workers: int = 0


def peak_bytes(work: Workload, machine: Machine, clips: int) -> float:
    """What a process takes at its peak; on a CPU with its data loader's processes, on a GPU without.

    Args:
        work: what it trains.
        machine: on what, and how.
        clips: in a step.
    """
    activations = clips * clip_bytes(work, machine) * _SLACK[machine.device]
    workers = 0.0
    if machine.device == "cpu":
        spectrograms = clips * work.patches * work.patch_values * 4
        workers = machine.workers * (WORKER_BYTES + 3 * spectrograms)  # two read ahead, one in the making
        # Forked before the first update, they hold on to the weights as they were: together one copy of what changes.
        changing = work.parameters + (work.encoder_parameters if work.teacher else 0)
        workers += 4 * changing if machine.workers else 0
    return RUNTIME_BYTES[machine.device] + weight_bytes(work, machine) + activations + workers


def weight_bytes(work: Workload, machine: Machine) -> float:
    """Weights; of those that are trained gradients, Adam's two moments, and beside half ones float32 ones."""
    per_parameter = 20 if machine.precision == HALF else 16
    if machine.precision == BF16_AUTOCAST:
        per_parameter += 2  # the weights as the linear maps see them
    if machine.several:
        per_parameter += 4  # gradients of several steps, beside the buckets in which they are summed
    table = 4 * work.position_rows * work.width
    kept = 4 * work.still_parameters
    if (
        work.trained and machine.precision == BF16_AUTOCAST
    ):  # as the linear maps see them, for the gradient of their input
        kept += 2 * work.trained.passed
    if work.decoder:  # the teacher's table, or the decoder's own
        kept += table
    return work.parameters * per_parameter + kept + table


def clip_bytes(work: Workload, machine: Machine) -> float:
    """What stays of a clip until the backward pass reaches it, at the most that there is at once."""
    kept_in = _kept_in(machine)
    token = _TOKEN_BYTES[kept_in] * work.width
    block = _block_bytes(work, machine) * work.sequences
    depth = work.depth if work.trained is None else work.trained.blocks
    if depth == 0:
        return 2 * block
    entering = token * work.tokens * work.sequences
    encoder = entering * depth + 4 * block if work.recomputes else block * (depth + 0.5)
    if work.decoder is None:
        return encoder
    grid = work.sequences * work.patches  # patches of all students, each with a place in the decoder
    layers = work.decoder.layers
    if isinstance(work.decoder, TransformerDecoder):
        width, mlp_width, num_heads = work.decoder.width, work.decoder.mlp_width, work.decoder.num_heads
        of = replace(work, width=width, mlp_width=mlp_width, num_heads=num_heads, maps=1, tokens=work.patches)
        of = replace(of, shares_keys=False)
        layer = _block_bytes(of, machine) * work.sequences
        decoder = 4 * layer + token * grid * layers if work.recomputes else layer * (layers + 0.5)
    else:
        layer = _CONVOLUTION_BYTES[kept_in] * work.decoder.width * grid
        decoder = layer * (layers / 3 + 3) if work.recomputes else layer * (layers + 1)
        if work.decoder.products:  # of a layer at a time
            decoder += work.decoder.kernel**2 * _TOKEN_BYTES[kept_in] * work.decoder.width * grid
    rows = 4 * _ROW_COPIES * work.width * (grid - work.sequences * work.tokens)
    filled = 3 * token * grid  # noise, and the tokens among it
    teacher = 2 * token * work.depth * work.patches if work.teacher else 0
    return encoder + decoder + rows + filled + teacher


def _kept_in(machine: Machine) -> str:
    """The precision of what stays: what autocast makes is bf16, that of norms too (ASDA/core/layer_norm.py)."""
    return HALF if machine.precision == BF16_AUTOCAST else machine.precision


def _block_bytes(work: Workload, machine: Machine) -> float:
    """What stays of a block and one sequence."""
    attention, mlp = _BLOCK_BYTES[_kept_in(machine)][work.maps, work.shares_keys]
    attentions = work.trained.attentions if work.trained else 1
    stays = (attentions * attention * work.width + mlp * work.mlp_width) * work.tokens
    if machine.device == "cpu" and machine.precision != FLOAT32 and work.tokens <= _EXPLICIT_MAP_TOKENS:
        stays += 2 * attentions * work.maps * work.num_heads * work.tokens**2
    return stays
