"""One image file, or the frames of a video, to arrays of pixels.

- ``images.py``: PNG, JPEG, BMP and the door to the others; size and spacing without decoding
- ``dicom.py``, ``tiff.py``: what these formats need
- ``frames.py``: the frames of a folder or a video, and a video written from frames
"""
