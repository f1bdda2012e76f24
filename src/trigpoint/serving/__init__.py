"""Models as a service: images come in, landmarks go out, and nothing of an image stays.

- ``serve.py``: ``trigpoint serve``, from its options to the end of the process
- ``api.py``: the addresses and what they answer; ``answers.py``: the form of the answers
- ``gate.py``: who and what is let in; ``limits.py``: how much
- ``decoding.py``, ``decoder.py``: images are decoded in processes of their own, ``passing.py``: and handed over
- ``batching.py``: images that wait are predicted together
- ``metrics.py``: what Prometheus is told
- ``asgi.py``, ``listening.py``: what all servers of the package share
"""
