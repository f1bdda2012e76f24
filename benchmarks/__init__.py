"""How fast trigpoint is, as ratios measured in one run: ``python -m benchmarks``.

- ``timing``: interleaved measurement and the table's rows
- ``codec``: encoding and decoding against landmarker, when it can be imported
- ``training``: a training step against the bare network, and the share of time spent waiting for data
"""
