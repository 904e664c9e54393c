"""A user-dir for tests: the tasks of ASDA, which also write down what each process sees and has after every update.

$ASDA_PROBE is the folder for `rank{r}.jsonl`. Tensors are written as hashes, losses to the last bit.
"""

import hashlib
import json
import os
from pathlib import Path

import torch
import torch.distributed as dist
from fairseq.tasks import register_task

import ASDA  # noqa: F401 - registers models and tasks
from ASDA.fairseq_plugin.tasks.finetuning import FinetuningTask, FinetuningTaskConfig
from ASDA.fairseq_plugin.tasks.pretraining import PretrainingTask, PretrainingTaskConfig


def digest(tensors):
    content = hashlib.sha256()
    for tensor in tensors:
        content.update(tensor.detach().cpu().contiguous().float().numpy().tobytes())
    return content.hexdigest()[:16]


class Probe:
    def train_step(self, sample, model, criterion, optimizer, update_num, ignore_grad=False):
        loss, sample_size, log = super().train_step(sample, model, criterion, optimizer, update_num, ignore_grad)
        inputs = sample["net_input"]
        self.__dict__.setdefault("batches", []).append(
            {
                "clips": sample["id"].tolist(),
                "source": digest([inputs["source"]]),
                "masks": [digest([kept]) for kept in inputs.get("places", {}).get("kept", ())],
                "seeds": inputs["seeds"].tolist() if "seeds" in inputs else None,
                "loss": float(loss).hex(),
                "dummy": ignore_grad,
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
            "teacher": digest(teacher.encoder.parameters()) if teacher else None,
            "teacher_updates": teacher.num_updates if teacher else None,
            "random": float(torch.rand(())).hex(),  # where the generator of the network stands
        }
        with open(Path(os.environ["ASDA_PROBE"]) / f"rank{rank}.jsonl", "a") as file:
            print(json.dumps(record), file=file)


@register_task("probe_pretraining", dataclass=PretrainingTaskConfig)
class ProbePretraining(Probe, PretrainingTask):
    pass


@register_task("probe_finetuning", dataclass=FinetuningTaskConfig)
class ProbeFinetuning(Probe, FinetuningTask):
    pass
