"""How do benchmarks of others hear it? One thin file for each host, over one encoder; commands: docs/benchmarks.md.

The files have other names than their hosts, so that none hides its host where a folder of theirs is on the path.
"""
