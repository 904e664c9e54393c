"""Arithmetic that a pre-training step needs, whoever computes it: FLOPs, a multiplication and an addition being two."""

from __future__ import annotations

import math

from ASDA.core.encoder import SpectrogramEncoder
from ASDA.objectives.conv_decoder import ConvDecoder2d


def block_flops(encoder: SpectrogramEncoder, sequences: int, tokens: int) -> int:
    """Forward pass of one block over sequences of S tokens: linear maps, both attention maps, one product with V.

    (A1 - lambda A2) V needs one product; computing A1 V and A2 V apart is the implementation's affair.
    """
    stack, D = encoder.config.stack, encoder.embed_dim
    hidden = stack.mlp_dim
    maps = 2 if stack.attention.kind == "differential" else 1
    weights = (2 * maps + 2) * D * D + 2 * D * hidden  # queries and keys of each map, V, projection; MLP
    return 2 * sequences * tokens * weights + 2 * sequences * tokens * tokens * D * (maps + 1)


def encoder_flops(encoder: SpectrogramEncoder, clips: int, patches: int, sequences: int, tokens: int) -> int:
    """Forward pass: all patches of the clips embedded, the blocks over (sequences, tokens)."""
    embedding = 2 * clips * patches * encoder.embed_dim * math.prod(encoder.config.patches.size)
    return embedding + encoder.depth * block_flops(encoder, sequences, tokens)


def decoder_flops(decoder: ConvDecoder2d, students: int, patches: int) -> int:
    """Forward pass over the full grid of every student."""
    weights = sum(block[0].weight.numel() for block in decoder.blocks) + decoder.proj.weight.numel()
    return 2 * students * patches * weights


def step_flops(
    encoder: SpectrogramEncoder, decoder: ConvDecoder2d, clips: int, students: int, patches: int, kept: int
) -> dict[str, int]:
    """FLOPs of a step by part; a backward pass takes twice its forward pass.

    Args:
        encoder: sizes of student and teacher.
        decoder: its sizes.
        clips: B.
        students: M, per clip.
        patches: N.
        kept: K, patches that each student sees.
    """
    student = encoder_flops(encoder, clips, patches, clips * students, 1 + kept)
    decoding = decoder_flops(decoder, clips * students, patches)
    return {
        "teacher": encoder_flops(encoder, clips, patches, clips, 1 + patches),
        "student forward": student,
        "decoder forward": decoding,
        "decoder backward": 2 * decoding,
        "student backward": 2 * student,
    }
