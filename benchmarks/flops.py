"""Arithmetic that a pre-training step needs, whoever computes it: FLOPs, a multiplication and an addition being two."""

from __future__ import annotations

from ASDA.core.counting import encoder_flops
from ASDA.core.encoder import SpectrogramEncoder
from ASDA.objectives.conv_decoder import ConvDecoder2d


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
    student = encoder_flops(encoder.config, clips, patches, clips * students, 1 + kept)
    decoding = decoder_flops(decoder, clips * students, patches)
    return {
        "teacher": encoder_flops(encoder.config, clips, patches, clips, 1 + patches),
        "student forward": student,
        "decoder forward": decoding,
        "decoder backward": 2 * decoding,
        "student backward": 2 * student,
    }
