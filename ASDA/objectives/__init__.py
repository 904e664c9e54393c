"""Self-supervised objectives in plain torch, one method per file."""

from .self_distillation import SelfDistillation

__all__ = ["SelfDistillation"]
