"""A user-dir for tests: the tasks of ASDA, which also write down what each process sees and has after every update.

$ASDA_PROBE is the folder for `rank{r}.jsonl`. Tensors are written as hashes, losses to the last bit. $ASDA_FAULT, "RANK
UPDATE TEXT", has the network of one process fail with that text in that update. With $ASDA_COUNT_WAITS the tasks are
ASDA's alone, and `waits.jsonl` has a line per update: where the host would have waited for a device.
"""

import hashlib
import json
import os
import time
from pathlib import Path

import torch
import torch.distributed as dist
from fairseq.tasks import register_task

import ASDA  # noqa: F401 - registers models and tasks
from ASDA.fairseq_plugin.tasks.finetuning import FinetuningTask, FinetuningTaskConfig
from ASDA.fairseq_plugin.tasks.mae_ast import MaeAstPretrainingTask, MaeAstTaskConfig
from ASDA.fairseq_plugin.tasks.pretraining import PretrainingTask, PretrainingTaskConfig

COUNTS = bool(os.environ.get("ASDA_COUNT_WAITS"))


def digest(tensors):
    content = hashlib.sha256()
    for tensor in tensors:
        content.update(tensor.detach().cpu().contiguous().float().numpy().tobytes())
    return content.hexdigest()[:16]


batches = []


def fail_if_asked(model, update):
    rank, at, text = os.environ.get("ASDA_FAULT", "-1 0 -").split(" ", 2)
    if int(rank) == (dist.get_rank() if dist.is_initialized() else 0) and int(at) == update:

        def fail(*_):
            (Path(os.environ["ASDA_PROBE"]) / "fault").touch()
            while text == "stand still":
                time.sleep(0.1)
            raise RuntimeError(text)

        if text == "gradient":  # of the second batch of the update
            batches.append(update)
            if len(batches) == 2:
                last = [parameter for parameter in model.parameters() if parameter.requires_grad][-1]
                handle = last.register_hook(lambda gradient: handle.remove() or gradient * float("nan"))
            return

        next(module for module in model.modules() if isinstance(module, torch.nn.LayerNorm)).register_forward_pre_hook(
            fail
        )


def count_waits():
    from fairseq.trainer import Trainer

    from tests.waiting import Waits

    train_step = Trainer.train_step

    def counted(self, samples, *args, **kwargs):
        with Waits() as waits:
            result = train_step(self, samples, *args, **kwargs)
        with open(Path(os.environ["ASDA_PROBE"]) / "waits.jsonl", "a") as file:
            print(json.dumps(waits.places), file=file)
        return result

    Trainer.train_step = counted


if COUNTS:
    count_waits()


class _Probe:
    def train_step(self, sample, model, criterion, optimizer, update_num, ignore_grad=False):
        fail_if_asked(model, update_num + 1)
        loss, sample_size, log = super().train_step(sample, model, criterion, optimizer, update_num, ignore_grad)
        stands_in = "stand_in" in sample
        sample = sample.get("stand_in", sample)
        inputs = sample["net_input"]
        self.__dict__.setdefault("batches", []).append(
            {
                "clips": sample["id"].tolist(),
                "source": digest([inputs["source"]]),
                "masks": [digest([kept]) for kept in inputs.get("places", {}).get("kept", ())],
                "seeds": inputs["seeds"].tolist() if "seeds" in inputs else None,
                "loss": float(loss).hex(),
                "dummy": ignore_grad or stands_in,
            }
        )
        return loss, sample_size, log

    def optimizer_step(self, optimizer, model, update_num):
        super().optimizer_step(optimizer, model, update_num)
        rank = dist.get_rank() if dist.is_initialized() else 0
        teacher = getattr(model, "teacher", None)
        record = {
            "update": update_num + 1,
            "batches": self.__dict__.pop("batches", []),
            "epoch": self.datasets["train"].epoch,
            "weights": digest(model.parameters()),
            "statistics": digest(model.buffers()),
            "teacher": digest(teacher.encoder.parameters()) if teacher else None,
            "followed_updates": model.objective.num_updates,
            "random": float(torch.rand(())).hex(),  # where the generator of the network stands
        }
        with open(Path(os.environ["ASDA_PROBE"]) / f"rank{rank}.jsonl", "a") as file:
            print(json.dumps(record), file=file)


class _Nothing:
    pass


Probe = _Nothing if COUNTS else _Probe


@register_task("probe_pretraining_AS2M", dataclass=PretrainingTaskConfig)
class ProbePretraining(Probe, PretrainingTask):
    pass


@register_task("probe_pretraining_SSAST", dataclass=PretrainingTaskConfig)
class ProbeSsast(Probe, PretrainingTask):
    pass


@register_task("probe_pretraining_MAE_AST", dataclass=MaeAstTaskConfig)
class ProbeMaeAst(Probe, MaeAstPretrainingTask):
    pass


@register_task("probe_finetuning", dataclass=FinetuningTaskConfig)
class ProbeFinetuning(Probe, FinetuningTask):
    pass
