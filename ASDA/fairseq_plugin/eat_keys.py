"""Keys of EAT's configs that this project accepts and that do nothing here."""

from dataclasses import field, fields, is_dataclass
from typing import Any


def inert(value: Any, *spellings: Any, network: bool = False):
    """A key of EAT's configs for something this project does not implement: a run may set it to ``value`` only.

    Args:
        value: the default.
        spellings: other ways to say the same.
        network: the key changes what a trained network computes or consists of, so that a checkpoint of another value
            cannot be used. Other keys concern training alone; a checkpoint may hold any value of them.
    """
    metadata = {"inert": (value, *spellings), "network": network, "help": f"not implemented; stays {value}"}
    return field(default=value, metadata=metadata)


def moot(value: Any, help: str):
    """A key of EAT's configs that has nothing to act on here, whatever its value; ``help`` says why."""
    return field(default=value, metadata={"help": help})


def reject_unsupported(config_class: type, cfg: Any, path: str, training: bool) -> None:
    """Raises ValueError, naming the key and its value, if a key that is not implemented asks for something.

    Args:
        config_class: the dataclass that describes the keys.
        cfg: their values.
        path: where they stand, for the message.
        training: look at all keys; otherwise at those of the network alone.
    """
    for entry in fields(config_class):
        if entry.name not in cfg:
            continue
        value = cfg[entry.name]
        name = f"{path}.{entry.name}"
        accepted = entry.metadata.get("inert", (value,))
        if value not in accepted and (training or entry.metadata["network"]):
            raise ValueError(f"{name}={value} is not implemented here; only {name}={accepted[0]} is accepted")
        if is_dataclass(entry.type) and value is not None:
            reject_unsupported(entry.type, value, name, training)
