"""What a run hears: what it states, what its data set says, what the checkpoint that it starts from records.

No postponed annotations here: omegaconf 2.0 reads the types of the fields.
"""

from dataclasses import replace
from enum import Enum
from typing import Any, Dict, List, Optional

from ...audio.front_end import FrontEnd
from ...checkpoints.layouts.published_names import PUBLISHED_FLAGS
from ...data.corpora.corpus import AUDIOSET, Corpus, get_corpus
from ..models.encoder_keys import plain


class Padding(Enum):
    constant = "constant"
    mask = "mask"


def named_corpus(cfg: Any) -> Optional[Corpus]:
    """The data set that ``task.dataset`` or one of EAT's flags names; None if nothing does.

    Raises:
        ValueError: an unknown name, or flags that contradict each other or ``task.dataset``.
    """
    flagged = {flag: name for flag, name in PUBLISHED_FLAGS.items() if cfg[flag]}
    names = sorted({*flagged.values(), *([cfg.dataset] if cfg.dataset else [])})
    if len(names) > 1:
        raise ValueError(
            f"task.dataset={cfg.dataset or '(empty)'} and {', '.join(f'task.{f}=true' for f in flagged)} "
            f"name different data sets ({', '.join(names)}); set task.dataset alone"
        )
    return get_corpus(names[0]) if names else None


def corpus_of(cfg: Any) -> Corpus:
    """The data set whose numbers hold where a run states none: the one that it names, else AudioSet."""
    return named_corpus(cfg) or AUDIOSET


# Field of a front end -> key of the task that states it. A data set has numbers; padding is a matter of training.
NUMBERS = {"target_length_frames": "target_length", "norm_mean": "norm_mean", "norm_std": "norm_std"}
STATED = {**NUMBERS, "padding": "padding"}


def front_end_of(cfg: Any, recorded: Optional[FrontEnd] = None, own: Optional[FrontEnd] = None) -> FrontEnd:
    """What a run hears: what it states; else the numbers of the data set that it names; else what is recorded.

    Args:
        cfg: of the task.
        recorded: the front end of the checkpoint that fine-tuning starts from, if there is one that records it.
        own: of a task whose models normalise by themselves.
    """
    front_end = own or recorded or AUDIOSET.front_end()
    named = named_corpus(cfg)
    if named is not None:
        its = named.front_end()
        said = {name: getattr(its, name) for name in _said_by_corpus(named, recorded, own)}
        front_end = replace(front_end, **said)
    return replace(front_end, **{name: plain(cfg[key]) for name, key in STATED.items() if cfg[key] is not None})


def origins(cfg: Any, recorded: Optional[FrontEnd], own: Optional[FrontEnd] = None) -> Dict[str, str]:
    """Key of the task -> whose value `front_end_of` takes, in words."""
    otherwise = "the model's" if own else "the checkpoint's" if recorded else "the default"
    found = dict.fromkeys(STATED.values(), otherwise)
    named = named_corpus(cfg)
    if named is not None:
        said = _said_by_corpus(named, recorded, own)
        found.update({key: f"{named.title}'s" for name, key in NUMBERS.items() if name in said})
    return {key: "as stated" if cfg[key] is not None else whose for key, whose in found.items()}


def _said_by_corpus(corpus: Corpus, recorded: Optional[FrontEnd], own: Optional[FrontEnd]) -> List[str]:
    """The fields of its front end that a data set decides.

    Its statistics are those of its own kind of features: a model that hears another kind, or normalises by itself,
    keeps its own. The rate is the checkpoint's, if there is one.
    """
    if own is not None or (recorded is not None and recorded.window != corpus.front_end().window):
        return ["target_length_frames"]
    said = ["target_length_frames", *corpus.statistics()]
    return [*said, "sample_rate_hz"] if recorded is None else said
