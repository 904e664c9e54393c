"""How fairseq sees the network: registered models, their config dataclasses, and the published names.

fairseq imports every file here whose name has no leading underscore; `_published_names` and `_architecture` need no
fairseq.
"""
