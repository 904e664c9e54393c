"""What do the kinds of attention cost? Whole encoders that differ in nothing else, by the length of a sequence."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ASDA.core import zoo
from ASDA.core.config import Differential, DifferentialV2, Plain
from ASDA.core.counting import block_flops
from ASDA.core.stack import TransformerStack
from benchmarks import measuring

KINDS = {
    "plain": Plain(),
    "differential": Differential(),
    "learned lambda": Differential(lambda_mode="learned"),
    "lambda of each token": DifferentialV2(),
}


def make_stack(kind: str, depth: int, embed_dim: int, device: torch.device | str) -> TransformerStack:
    """The blocks of ASDA at this size, with heads of 64 channels."""
    torch.manual_seed(0)
    config = replace(zoo.ASDA.stack, depth=depth, embed_dim=embed_dim, num_heads=embed_dim // 64, attention=KINDS[kind])
    with torch.device(device):
        return TransformerStack(config)


class Pass:
    """A pass over a batch: features, or a training step: forward, backward and AdamW."""

    def __init__(self, stack: TransformerStack, x: Tensor, precision: str, trains: bool):
        self.stack, self.x, self.precision, self.trains = stack, x, precision, trains
        # A learning rate of zero costs the same, and the weights stay.
        self.optimizer = torch.optim.AdamW(stack.parameters(), lr=0.0) if trains else None

    def __call__(self) -> None:
        with (
            torch.autocast(self.x.device.type, torch.bfloat16, enabled=self.precision == "bf16"),
            torch.set_grad_enabled(self.trains),
        ):
            out = self.stack(self.x)
        if self.optimizer is not None:
            out.backward(torch.ones_like(out))
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)


def cost_table(
    tokens: list[int], precision: str, depth: int, embed_dim: int, device: torch.device, repeats: int
) -> str:
    """A row for each kind and number of tokens; a batch has as many sequences as make 1024 tokens, at least one."""
    rows = []
    stacks = {kind: make_stack(kind, depth, embed_dim, device) for kind in KINDS}
    for S in tokens:
        B = max(1, 1024 // S)
        x = torch.randn(B, S, embed_dim, device=device)
        passes = {
            (kind, trains): Pass(stack, x, precision, trains)
            for kind, stack in stacks.items()
            for trains in (False, True)
        }
        measured = measuring.take_turns(passes, device, repeats)
        for kind, stack in stacks.items():
            inference, step = (measured[kind, trains] for trains in (False, True))
            least = measured["plain", True].seconds
            rows.append(
                (
                    f"{S} tokens x {B}, {kind}",
                    f"{sum(p.numel() for p in stack.parameters()) / 1e6:.2f}",
                    f"{depth * block_flops(stack.config, B, S) / 1e9:.3g}",
                    f"{1000 * inference.seconds:.0f}",
                    f"{inference.peak_bytes / measuring.MIB:.0f}",
                    f"{1000 * step.seconds:.0f}",
                    f"{step.peak_bytes / measuring.MIB:.0f}",
                    f"{step.seconds / least:.2f}",
                )
            )
    headings = [precision, "M parameters", "GFLOP forward", "inference ms", "MiB", "step ms", "MiB", "step/plain"]
    return measuring.table(headings, rows)


def cost_report(
    tokens: list[int], precisions: list[str], depth: int, embed_dim: int, device: torch.device, repeats: int
) -> str:
    """Tables of all precisions, with what they were measured on."""
    tables = "\n\n".join(cost_table(tokens, p, depth, embed_dim, device, repeats) for p in precisions)
    gpu = "" if device.type == "cuda" else " Not measured on a GPU: the same command there makes those columns."
    return (
        f"Encoders of {depth} layer{'s' if depth > 1 else ''} of width {embed_dim}, {embed_dim // 64} heads, an MLP of "
        f"{zoo.ASDA.stack.mlp_ratio} x D ({measuring.clock_name(device)}).\n{measuring.environment(device)}\n\n"
        f"{tables}\n\n"
        "A step is forward, backward and AdamW. MiB: what the pass takes beyond weights and optimiser state. A list of "
        "lambdas costs what one does, but for layers where it is 0: these have one map. `lambda of each token` is "
        f"differential_v2, over shared keys and values (docs/attention.md).{gpu}"
    )
