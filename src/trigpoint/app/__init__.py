"""The labelling page: a local server and its page in plain JavaScript, for one dataset and one annotator at a time.

- ``folder.py``: what a folder is opened as; ``table.py``, ``describing.py``: its table and ``dataset.yaml``, changed
  cell by cell
- ``state.py``: what is known of an image; ``journal.py``: every change, for undo and after a crash
- ``project.py``: the set while it is labelled; ``pictures.py``: its pixels as tiles
- ``predictions.py``, ``worker.py``: what runs find, in processes of their own; ``learning.py``: a model that learns
  meanwhile; ``choosing.py``: what to label next; ``auditing.py``: which labels are likely wrong
- ``access.py``: token, password, limits; ``server.py``: the requests; ``live.py``: news for open pages
- ``serving.py``: all of it, from the command line
- ``page/``: the page; ``page/vendor``: OpenSeadragon with its licence

Needs the extra ``label``.
"""
