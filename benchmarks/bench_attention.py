"""An attention layer at base width over sequence lengths: differential against plain, fast path against explicit maps.

    python -m benchmarks.bench_attention [--tokens 103 257 513 1025 2049] [--precisions fp32 bf16] [--forward-only]
    python -m benchmarks.bench_attention --encoder [--depth 12]

The second compares whole encoders with each kind of attention: parameters, FLOPs, time and memory (attention_cost.py).

What does the second attention map cost? And what do explicit maps? A layer is all of it: projections, attention, norm.
Times are of forward and backward together; the sequences per batch are as many as make 1024 tokens, at least one.
`core` leaves the projections out: what is left is where the implementations differ.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn

from ASDA.core.attention import Attention, DifferentialAttention
from benchmarks import measuring, reference
from benchmarks.attention_cost import cost_report
from benchmarks.bench_step import DTYPES

KINDS = {"plain": Attention, "differential": DifferentialAttention}


class Run:
    """Forward and backward passes of a layer over one batch."""

    def __init__(self, layer: nn.Module, x: Tensor, precision: str, explicit: bool, forward_only: bool):
        self.layer, self.x, self.precision = layer, x, precision
        self.explicit, self.forward_only = explicit, forward_only

    def __call__(self) -> None:
        with (
            torch.autocast(self.x.device.type, torch.bfloat16, enabled=self.precision == "bf16"),
            torch.set_grad_enabled(not self.forward_only),
        ):
            out = reference.attention(self.layer, self.x) if self.explicit else self.layer(self.x)
        if not self.forward_only:
            out.backward(torch.ones_like(out))
            self.layer.zero_grad(set_to_none=True)


class WithoutProjections(nn.Module):
    """Stands in for the linear maps of a layer, so that what lies between them is measured alone."""

    def __init__(self, widen: int, dtype: torch.dtype):
        super().__init__()
        self.widen, self.dtype = widen, dtype

    def forward(self, x: Tensor) -> Tensor:
        return x.to(self.dtype).repeat(1, 1, self.widen)


def make_layer(kind: str, embed_dim: int, device: torch.device, core: bool, dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(0)
    layer = KINDS[kind](embed_dim, embed_dim // 64).to(device)
    if core:
        for name, child in layer.named_children():
            if isinstance(child, nn.Linear):
                setattr(layer, name, WithoutProjections(child.out_features // embed_dim, dtype))
    return layer


def attention_table(
    tokens: list[int], precision: str, embed_dim: int, device: torch.device, repeats: int, forward_only: bool
) -> str:
    rows = []
    for S in tokens:
        B = max(1, 1024 // S)
        x = torch.randn(B, S, embed_dim, device=device, requires_grad=not forward_only)
        runs = {}
        for core in (False, True):
            for kind in KINDS:
                layer = make_layer(kind, embed_dim, device, core, DTYPES[precision])
                for explicit in (True, False):
                    runs[(core, kind, explicit)] = Run(layer, x, precision, explicit, forward_only)
        measured = measuring.take_turns(runs, device, repeats)

        def us(core: bool, kind: str, explicit: bool, tokens: int = B * S, measured=measured) -> float:
            return 1e6 * measured[(core, kind, explicit)].seconds / tokens

        rows.append(
            (
                f"{S} tokens x {B}",
                *(f"{us(False, kind, explicit):.1f}" for kind in KINDS for explicit in (True, False)),
                f"{us(False, 'differential', False) / us(False, 'plain', False):.2f}",
                *(f"{us(True, kind, explicit):.1f}" for kind in KINDS for explicit in (True, False)),
                f"{us(True, 'differential', True) / us(True, 'differential', False):.2f}",
                *(
                    f"{measured[(False, 'differential', explicit)].peak_bytes / measuring.MIB:.0f}"
                    for explicit in (True, False)
                ),
            )
        )
    headings = [precision, "plain explicit", "plain fast", "diff. explicit", "diff. fast", "diff./plain, fast"]
    headings += ["core: plain explicit", "plain fast", "diff. explicit", "diff. fast", "explicit/fast, diff."]
    headings += ["MiB: diff. explicit", "diff. fast"]
    return measuring.table(headings, rows)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tokens", type=int, nargs="+", default=[103, 257, 513, 1025, 2049])
    parser.add_argument("--precisions", nargs="+", choices=DTYPES, default=list(DTYPES))
    parser.add_argument("--embed-dim", type=int, default=768, help="a multiple of 64")
    parser.add_argument("--forward-only", action="store_true")
    parser.add_argument("--encoder", action="store_true", help="whole encoders, with every kind of attention")
    parser.add_argument("--depth", type=int, default=12, help="layers, with --encoder")
    measuring.add_arguments(parser, repeats=5)
    args = parser.parse_args(argv)
    measuring.set_threads(args.threads)
    if args.encoder:
        if args.forward_only:
            parser.error("--forward-only: --encoder measures both")
        text = cost_report(args.tokens, args.precisions, args.depth, args.embed_dim, args.device, args.repeats)
        measuring.publish("bench_attention", argv, text, args.output)
        return 0
    tables = "\n\n".join(
        attention_table(args.tokens, p, args.embed_dim, args.device, args.repeats, args.forward_only)
        for p in args.precisions
    )
    passes = "forward" if args.forward_only else "forward and backward"
    text = (
        f"Attention layer of width {args.embed_dim}, {args.embed_dim // 64} heads: microseconds per token, {passes} "
        f"({measuring.clock_name(args.device)}).\n{measuring.environment(args.device)}\n\n{tables}"
    )
    measuring.publish("bench_attention", argv, text, args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
