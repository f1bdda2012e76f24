"""One image file, or the frames of a video, to arrays of pixels; ``images.py`` is the door to the other formats."""
