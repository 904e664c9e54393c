"""Whose are the samples of a data set? Links, views and external samples of HDF5 lead to any file of a machine.

What lies beside the file, in its folder or below, is followed: data sets are kept as one file of links and several of
samples. What lies elsewhere is not: it would be read for whoever made the file.
"""

from __future__ import annotations

import os
from typing import Any

_MOST_LINKS = 16  # one after the other


def leads_away(group, key: str, links: int = _MOST_LINKS) -> str | None:
    """Why the way to a data set leaves the folder of its file; None if it does not, or leads nowhere.

    Args:
        group: of an open file; the key begins there.
        key: names with slashes between them.
        links: how many may still be followed.
    """
    import h5py  # whoever has an open file has paid for this import

    names = [name for name in key.split("/") if name]
    for place, name in enumerate(names):
        link = group.get(name, getlink=True) if isinstance(group, h5py.Group) else None
        if isinstance(link, h5py.SoftLink):
            if not links:
                return f"links that lead round in a circle, at {name!r}"
            start = group.file if link.path.startswith("/") else group
            return leads_away(start, "/".join([link.path, *names[place + 1 :]]), links - 1)
        if isinstance(link, h5py.ExternalLink):
            way = "/".join([link.path, *names[place + 1 :]])
            return _elsewhere(group.file, link.filename, "a link to") or _further(group.file, link.filename, way, links)
        if link is None or place == len(names) - 1:
            return None
        group = group[name]
    return None


def _further(file, name: str, key: str, links: int) -> str | None:
    """The same of the way that goes on in another file, beside the first."""
    import h5py

    path = os.path.join(os.path.dirname(file.filename), name)
    if not links:
        return f"links that lead round in a circle, at {name!r}"
    if not os.path.isfile(path):
        return None
    with h5py.File(path, "r") as other:
        return leads_away(other, key, links - 1)


def stored_away(data, views: int = _MOST_LINKS) -> str | None:
    """Why the samples of a data set are not in the folder of its file; None if they are.

    Args:
        data: the data set.
        views: how many views of views are looked through.
    """
    for name, *_ in data.external or ():
        # Such names count from where the program runs.
        if reason := _elsewhere(data.file, os.path.abspath(os.fsdecode(name)), "samples that are stored in"):
            return reason
    if not data.is_virtual:
        return None
    for source in data.virtual_sources():
        if source.file_name != ".":
            if reason := _elsewhere(data.file, source.file_name, "a view of"):
                return reason
        if reason := _source_stored_away(data, source, views):
            return reason
    return None


def own_data_set(group, name: str):
    """The data set of this name that the file itself holds; None if there is none, or if its values are elsewhere."""
    import h5py

    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        return None
    found = group[name]
    return found if isinstance(found, h5py.Dataset) and not found.external and not found.is_virtual else None


def _source_stored_away(data, source: Any, views: int) -> str | None:
    """What a view shows may itself be stored elsewhere."""
    import h5py

    if not views:
        return "views of views without end"
    file = data.file.filename
    if source.file_name != ".":
        file = os.path.join(os.path.dirname(file), source.file_name)
        if not os.path.isfile(file):  # with a pattern for a name, or missing: nothing that could be read
            return None
    same = os.path.samefile(file, data.file.filename)
    opened = data.file if same else h5py.File(file, "r")
    try:
        if reason := leads_away(opened, source.dset_name):
            return reason
        shown = opened.get(source.dset_name)
        return stored_away(shown, views - 1) if isinstance(shown, h5py.Dataset) else None
    finally:
        if not same:
            opened.close()


def _elsewhere(file, name: str, what: str) -> str | None:
    folder = os.path.abspath(os.path.dirname(file.filename) or ".")
    path = os.path.normpath(os.path.join(folder, name))
    if path.startswith(folder.rstrip(os.sep) + os.sep):
        return None
    return f"{what} {name!r}, which is not in the folder of the file; name that file itself, or move it there"
