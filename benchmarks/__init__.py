"""How fast trigpoint is, as ratios measured in one run: ``python -m benchmarks``.

- ``timing``: interleaved measurement and the table's rows
- ``codec``: encoding and decoding against landmarker, when it can be imported
- ``instances``: decoding several instances per landmark, against landmarker and against the network
- ``transfer``: what a frozen source adds to a training step
- ``training``: a training step against the bare network, and the share of time spent waiting for data
- ``prediction``: one prediction in a process of its own: seconds of its parts, peak of memory
- ``foveated``: what looking costs in a prediction at the size of a radiograph, on one core
- ``scale``: predictions of ever larger images, against a U-Net at full resolution
"""
