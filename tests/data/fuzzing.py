"""Valid files of every format, damage done to them, and the verdict: a valid dataset or our own error, nothing else.

``python tests/data/fuzzing.py FORMAT [--inputs N] [--seed S]`` runs one format in a process of its own and prints the
rate; with ``--coverage`` libFuzzer (the package atheris) chooses the damage by what it reaches. A failing input is
written to ``--keep`` and named.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import logging
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial
from pathlib import Path

import numpy as np
import PIL.Image
import pydicom
import roifile
import safetensors.torch
import sleap_io
import tifffile
import torch
from pydicom.dataset import FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from trigpoint.config import to_yaml
from trigpoint.data import isolated
from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.formats import FORMATS
from trigpoint.data.formats.isbi import NAMES
from trigpoint.data.pixels.frames import Frames, VideoWriter
from trigpoint.data.pixels.images import image_size, image_spacing, read_frames, read_image
from trigpoint.data.table import read_table
from trigpoint.data.tiled import open_tiled
from trigpoint.errors import TrigpointError
from trigpoint.nn.weights import read_weights
from trigpoint.recipe import load_any_recipe
from trigpoint.recipes import recipe_names, recipe_values

ONE_FILE = (  # the others have a file per image
    "coco", "cvat", "deeplabcut", "imglab", "labelstudio", "nwb", "sleap", "tps", "via", "wflw",
)  # fmt: skip
PIXELS = 1 << 20  # limit of an image here: damage to a header shall not cost minutes of decoding
SECONDS = 20  # of the processor for one input: what takes longer hangs
isolated._PATIENCE = 5.0  # seconds of a process of its own: here all files are small
MEMORY = 3 << 30  # bytes beyond those of the start


@dataclass(frozen=True)
class Target:
    """One reader: the file that is damaged, valid contents of it, and how it is read and what comes out is checked."""

    file: str
    seeds: Callable[[], list[bytes]]
    read: Callable[[Path], None]
    kind: str  # of the damage: text, json, csv, yaml or bytes
    around: Callable[[Path], None] | None = None  # what has to stand beside the file


# -- valid files -----------------------------------------------------------------------------------------------------


def _images(folder: Path) -> None:
    for name in ("a", "b"):
        PIL.Image.new("L", (8, 6)).save(folder / f"{name}.png")


def _table_seeds() -> list[bytes]:
    plain = "image,split,subject,left_x,left_y,left_v,tip_x,tip_y\na.png,train,s1,1,2,1,3.5,4\nb.png,val,,,,0,5,-1e2\n"
    many = "image,instance,spacing_mm,left_x,left_y,tip_x,tip_y,note\na.png,1,0.5,1,2,3,4,=x\nb.png,2,,,,1,1,\n"
    predicted = "image,left_x,left_y,left_score,left_radius,tip_x,tip_y\na.png,1,2,0.5,3,4,5\n"
    elsewhere = (
        "image,left_x,left_y,tip_x,tip_y\n./a.png,1,2,3,4\n../x/b.png,1,2,3,4\n/x/ü.png,1,2,3,4\nc:\\b.png,1,2,3,4\n"
    )
    return [
        plain.encode(),
        many.encode(),
        predicted.encode(),
        elsewhere.encode(),
        plain.replace("\n", "\r\n").encode("utf-8-sig"),
    ]


def _table_around(folder: Path) -> None:
    _images(folder)
    (folder / "dataset.yaml").write_text("landmarks: [left, tip]\nspacing_mm: 0.1\n")


def _yaml_seeds() -> list[bytes]:
    full = (
        "name: faces\nimages: .\ntable: landmarks.csv\nlandmarks: [left, right, tip]\npairs: [[left, right]]\n"
        "groups: {eyes: [left, right]}\nnormalizer: {name: inter, between: [left, right]}\nspacing_mm: 0.1\n"
    )
    other = "name: &n tools\ninstances: true\nlandmarks:\n- 'left'\n- right\n- tip\nnormalizer: {name: *n, box: true}\n"
    return [full.encode(), other.encode(), full.encode("utf-16")]


def _yaml_around(folder: Path) -> None:
    _images(folder)
    header = "image,instance,left_x,left_y,right_x,right_y,tip_x,tip_y\n"
    (folder / "landmarks.csv").write_text(header + "a.png,1,1,2,3,4,5,6\nb.png,1,1,2,3,4,5,6\n")


def _pts_seeds() -> list[bytes]:
    return [b"version: 1\nn_points: 3\n{\n1 2\n3.5 4e0\nnan nan\n}\n", b"{\r\n1 2\r\n}\r\n"]


def _isbi_seeds() -> list[bytes]:
    lines = "".join(f"{k},{k * 2}\n" for k in range(len(NAMES)))
    return [(lines + "1\n" * 8).encode(), lines.replace("\n", "\r\n").encode(), b"1,2\n3.5,4e0\n7\n"]


def _coco_seeds() -> list[bytes]:
    kinds = [{"id": 1, "name": "face", "keypoints": ["left", "tip"], "skeleton": [[1, 2]]}]
    images = [{"id": k, "file_name": f"{n}.png", "width": 8, "height": 6, "split": "train"} for k, n in enumerate("ab")]
    note = {"id": 1, "image_id": 0, "category_id": 1, "keypoints": [1, 2, 2, 3.5, 4, 1], "num_keypoints": 2}
    notes = [note, note | {"id": 2, "image_id": 1, "keypoints": [0, 0, 0, 1, 1, 2], "bbox": [1, 1, 1, 1]}]
    one = {"images": images, "annotations": notes, "categories": kinds}
    two = one | {"annotations": [note | {"instance": "a"}, note | {"instance": "b", "iscrowd": 0}]}
    crowd = {"id": 7, "image_id": "1", "category_id": "1", "iscrowd": 1}
    scored = note | {"score": 0.5, "keypoint_scores": [0.25, None]}
    odd = one | {"annotations": [note, scored, crowd, {"image_id": 1, "category_id": 1}, {"category_id": 9}]}
    return [json.dumps(one).encode(), json.dumps(two, indent=1).encode(), json.dumps(odd).encode()]


def _deeplabcut_seeds() -> list[bytes]:
    single = "scorer,me,me,me,me\nbodyparts,left,left,tip,tip\ncoords,x,y,x,y\na.png,1,2,3,4\nb.png,,,nan,nan\n"
    many = (
        "scorer,,,me,me,me\nindividuals,,,m1,m1,m1\nbodyparts,,,left,left,left\ncoords,,,x,y,likelihood\n"
        "labeled-data,v1,a.png,1,2,0.9\n"
    )
    unique = (
        "scorer,me,me,me,me\nindividuals,m1,m1,single,single\nbodyparts,left,left,tip,tip\ncoords,x,y,x,y\n"
        "C:\\me\\labeled-data\\v1\\a.png,1,2,3,4\nb.png,,,3,4\n"
    )
    return [single.encode(), many.encode(), unique.encode()]


def _h5_seeds() -> list[bytes]:
    folder = Path(__file__).parent / "formats" / "files" / "deeplabcut"
    return [(folder / name).read_bytes() for name in ("flat.h5", "animals.h5", "packed.h5", "blocks.h5")]


def _ljson_seeds() -> list[bytes]:
    labels = [{"label": "left", "mask": [0]}, {"label": "jaw", "mask": [0, 1, 2]}]
    body = {"points": [[1, 2], [None, None], [3.5, 4e0]], "connectivity": [[0, 1]]}
    groups = [{"label": "jaw", "landmarks": [{"point": [1, 2]}, {"point": [None, None]}], "connectivity": [[0, 1]]}]
    versions = [
        {"version": 2, "labels": labels, "landmarks": body},
        {"version": 1, "groups": [*groups, {"label": "left", "landmarks": [{"point": [3.5, 4e0]}]}]},
        {"version": 3, "groups": {"PTS": {"labels": labels, "landmarks": body}}},
    ]
    return [json.dumps(values).encode() for values in versions]


def _endovis_seeds() -> list[bytes]:
    entries = [
        {"class": "HeadPoint", "id": "tool1", "x": 10, "y": 20.5},
        {"class": "ShaftPoint", "id": "tool1", "x": 30, "y": 20, "occluded": True},
        {"class": "TrackedPoint", "id": "tool3", "x": 1, "y": 1},
    ]
    frames = [{"filename": "/x/Tracking_Robotic_T/D1/Raw/a.png", "annotations": entries}]
    frames.append({"filename": "b", "annotations": []})
    return [json.dumps(frames).encode()]


def _tps_seeds() -> list[bytes]:
    full = "LM=2\n1 2\n-1 -1\nCURVES=1\nPOINTS=2\n1 1\n2 2\nIMAGE=A.JPG\nID=0\nSCALE=0.5\nLM=1\n3.5 4e0\nIMAGE=b.png\n"
    many = "LM=2\n1 2\nNA NA\nIMAGE=a.png\nID=x\nLM=0\nIMAGE=b.png\nLM=2\n1 2\n3 4\nIMAGE=a.png\nID=y\nCOMMENT=z\n"
    return [full.encode(), many.replace("\n", "\r\n").encode()]


def _imglab_seeds() -> list[bytes]:
    head = "<?xml version='1.0' encoding='ISO-8859-1'?>\n<?xml-stylesheet type='text/xsl' href='a.xsl'?>\n<dataset>\n"
    part = "<part name='0' x='1' y='2'/>\n<part name='1' x='3' y='4'/>\n"
    box = f"<box top='0' left='0' width='5' height='5'>\n<label>tool</label>\n{part}</box>\n"
    other = f"<image file='b.png'>\n<box top='0' left='0' width='5' height='5' ignore='1'/>\n{box}</image>\n"
    body = f"<images>\n<image file='a.png'>\n{box}</image>\n{other}</images>\n</dataset>\n"
    return [(head + body).encode(), ("<dataset>" + body.replace(box, 2 * box)).encode()]


def _markups_seeds() -> list[bytes]:
    points = [
        {"label": "tip", "position": [1, 2.5, 0], "positionStatus": "defined", "orientation": [1] * 9},
        {"label": "end", "position": [0, 0, 0], "positionStatus": "undefined"},
        {"id": "3", "position": [3, 4e0, 0.1]},
    ]
    node = {"type": "Fiducial", "coordinateSystem": "RAS", "coordinateUnits": "mm", "controlPoints": points}
    line = {"type": "Line", "coordinateSystem": "LPS", "controlPoints": points}
    return [
        json.dumps({"@schema": "x", "markups": [node, line]}).encode(),
        json.dumps({"markups": [node] * 2}).encode(),
    ]


def _fcsv_seeds() -> list[bytes]:
    head = "# Markups fiducial file version = 4.11\n# CoordinateSystem = LPS\n"
    columns = "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
    rows = '1,1,2,0,0,0,0,1,1,1,0,tip,"a, b",\n2,3,4.5,0,0,0,0,1,1,1,0,end,,\n'
    return [(head + columns + rows).encode(), ("# CoordinateSystem = 0\n" + rows).replace("\n", "\r\n").encode()]


def _wflw_seeds() -> list[bytes]:
    points = " ".join(f"{k}.5 {2 * k}" for k in range(98))
    lines = [f"{points} 0 0 5 5 0 1 0 1 0 1 {name}" for name in ("a.png", "b.png", "a.png")]
    return ["\n".join(lines).encode(), f"{points} a.png\n".encode()]


def _roi(points: list[list[float]], name: str) -> bytes:
    roi = roifile.ImagejRoi.frompoints(np.array(points, np.float32), name=name)
    roi.roitype = roifile.ROI_TYPE.POINT
    return bytes(roi.tobytes())


def _roi_zip_seeds() -> list[bytes]:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("tip.roi", _roi([[1, 2]], "tip"), zipfile.ZIP_DEFLATED)
        archive.writestr("many.roi", _roi([[1.5, 2], [3, 4.25]], "many"))
    return [stream.getvalue()]


def _results_seeds() -> list[bytes]:
    full = " ,Label,Area,X,Y,Slice\n1,a.png:tip,0,1,2,1\n2,a.png:0001-0002,0,3.5,4,1\n3,b.png,0,1,1,2\n"
    plain = " \tX\tY\n1\t1\t2\n2\tNaN\tNaN\n"
    return [full.encode(), plain.encode()]


def _pose_files(suffix: str) -> list[bytes]:
    """A file of sleap-io on the images beside it, and for SLEAP one with a predicted instance and images inside."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _images(folder)
        skeleton = sleap_io.Skeleton(["left", "right"], edges=[("left", "right")], symmetries=[("left", "right")])
        track = sleap_io.Track("one")
        video = sleap_io.Video.from_filename([str(folder / "a.png"), str(folder / "b.png")])
        first = sleap_io.Instance.from_numpy(np.array([[1.0, 2], [3, 4]]), skeleton=skeleton, track=track)
        points, scores = np.array([[1.5, 2], [np.nan, np.nan]]), np.array([0.5, 0])
        other = sleap_io.PredictedInstance.from_numpy(points, skeleton=skeleton, point_scores=scores, score=0.5)
        frames = [sleap_io.LabeledFrame(video=video, frame_idx=0, instances=[first])]
        frames += [sleap_io.LabeledFrame(video=video, frame_idx=1, instances=[other])] * (suffix == ".slp")
        labels = sleap_io.Labels(frames, videos=[video], skeletons=[skeleton], tracks=[track])
        if suffix == ".nwb":
            sleap_io.save_nwb(labels, str(folder / "a.nwb"), nwb_format="annotations")
            return [(folder / "a.nwb").read_bytes()]
        labels.save(str(folder / "a.slp"), verbose=False)
        labels.save(str(folder / "a.pkg.slp"), embed=True, verbose=False)
        return [(folder / "a.slp").read_bytes(), (folder / "a.pkg.slp").read_bytes()]


def _labelme_seeds() -> list[bytes]:
    def shape(label: str, x: float, group: int | None, kind: str = "point") -> dict[str, object]:
        return {"label": label, "points": [[x, 2]], "group_id": group, "shape_type": kind, "flags": {}}

    about = {"version": "5.5.0", "flags": {}, "imagePath": "..\\x\\a.png", "imageData": None, "imageHeight": 6}
    one = about | {"imageWidth": 8, "shapes": [shape("left", 1, None), shape("tip", 3.5, None)], "split": "train"}
    two = about | {"shapes": [shape("left", 1, 1), shape("left", 2, 2), shape("box", 3, None, "rectangle")]}
    return [json.dumps(one).encode(), json.dumps(two).encode()]


def _labelstudio_seeds() -> list[bytes]:
    value = {"x": 10, "y": 20.5, "width": 0.5, "keypointlabels": ["left"]}
    size = {"original_width": 8, "original_height": 6, "image_rotation": 0}
    region = {"id": "r", "type": "keypointlabels", "from_name": "kp", "to_name": "image", "value": value} | size
    box = {"id": "b", "type": "rectanglelabels", "value": {"x": 1, "y": 1, "width": 5, "height": 5}}
    notes = [{"id": 1, "completed_by": 2, "was_cancelled": False, "result": [region | {"parentID": "b"}, box]}]
    task = {"id": 7, "data": {"image": "/data/upload/1/abcdef12-a.png"}, "annotations": notes, "predictions": []}
    other = {
        "id": 8,
        "data": {"image": "/data/local-files/?d=b.png"},
        "predictions": [{"result": [region], "score": 1}],
    }
    least = {"id": 9, "image": "a.png", "kp": [value | size], "annotator": 1, "annotation_id": 3}
    return [json.dumps(tasks).encode() for tasks in ([task, other], [least], [other])]


def _via_seeds() -> list[bytes]:
    def region(x: float, name: object) -> dict[str, object]:
        shape = {"name": "point", "cx": x, "cy": 2}
        return {"shape_attributes": shape, "region_attributes": {"part": name, "instance": "1"}}

    image = {"filename": "a.png", "size": 70, "regions": [region(1, "left"), region(2, {"tip": True})]}
    image["file_attributes"] = {}
    about = {"region": {"part": {"type": "dropdown", "options": {"left": "", "tip": ""}}}, "file": {}}
    project = {"_via_settings": {}, "_via_img_metadata": {"a.png70": image}, "_via_attributes": about}
    third = {
        "project": {"pid": "1"},
        "attribute": {"1": {"aname": "part", "options": {"0": "left", "1": "tip"}}},
        "file": {"1": {"fid": "1", "fname": "a.png", "src": "a.png"}},
        "view": {"1": {"fid_list": ["1"]}},
        "metadata": {"m": {"vid": "1", "z": [], "xy": [1, 2.5, 3], "av": {"1": "0"}}},
    }
    first = {"a.png70": image | {"regions": {"0": region(1, "left")}}}
    return [json.dumps(values).encode() for values in (project, third, first)]


def _via_csv_seeds() -> list[bytes]:
    head = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n"
    shape = '"{""name"":""point"",""cx"":1.5,""cy"":2}"'
    rows = f'a.png,70,"{{}}",1,0,{shape},"{{""part"":""left""}}"\nb.png,70,"{{}}",0,0,"{{}}","{{}}"\n'
    return [(head + rows).encode()]


def _cvat_seeds() -> list[bytes]:
    label = "<label><name>left</name><type>points</type><parent>face</parent></label>"
    meta = f"<meta><task><size>2</size><labels>{label}</labels></task></meta>"
    point = (
        '<points label="left" outside="0" occluded="1" points="1.5,2" z_order="0" group_id="1"><attribute/></points>'
    )
    images = (
        f'<image id="0" name="a.png" subset="Train" width="8" height="6"><skeleton label="face">{point}</skeleton>'
        f'</image><image id="1" name="b.png" width="8" height="6">{point}<box label="x"/></image>'
    )
    frame = '<points frame="{}" keyframe="{}" outside="0" occluded="0" points="1,2"></points>'
    track = f'<track id="0" label="left">{frame.format(0, 1)}{frame.format(1, 0)}</track>'
    return [f"<annotations><version>1.1</version>{meta}{body}</annotations>".encode() for body in (images, track)]


def _yolo_seeds() -> list[bytes]:
    one = "train: images\nval: images\nkpt_shape: [2, 3]\nflip_idx: [1, 0]\nnames: {0: face}\n"
    two = "path: .\ntrain: list.txt\nval:\n- list.txt\nkpt_shape: [2, 3]\nkpt_names:\n  0: [left, tip]\nnames: [face]\n"
    return [one.encode(), two.encode()]


def _yolo_around(folder: Path) -> None:
    for name in ("images", "labels"):
        (folder / name).mkdir()
    _images(folder / "images")
    (folder / "labels/a.txt").write_text("0 0.5 0.5 0.5 0.5 0.25 0.5 2 0.5 0.5 1\n0 0.5 0.5 0.5 0.5 0 0 0 0.5 0.5 2\n")
    (folder / "labels/b.txt").write_text("")
    (folder / "list.txt").write_text("./images/a.png\n./images/b.png\n")
    (folder / "data.yaml").write_bytes(_yolo_seeds()[1])


def _yolo_label_seeds() -> list[bytes]:
    return [
        b"0 0.5 0.5 0.5 0.5 0.25 0.5 2 0.5 0.5 1\n",
        b"0 0.5 0.5 0.5 0.5 0.25 0.5 0 0.5 0.5 0.75\n\n0 1 1 1 1 0 0 0 1 1 2\n",
    ]


def _recipe_seeds() -> list[bytes]:
    return [to_yaml(recipe_values(name)).encode() for name in recipe_names()]


def _saved(write: Callable[[Path], object], suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"seed{suffix}"
        write(file)
        return file.read_bytes()


def _picture(channels: int = 1, kind: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, (6, 8, channels)).astype(kind).squeeze()


def _pillow_seeds(form: str) -> list[bytes]:
    options = {"JPEG": [{}, {"progressive": True}], "WEBP": [{}, {"lossless": True}]}.get(form, [{}])
    out = []
    for image in (PIL.Image.fromarray(_picture()), PIL.Image.fromarray(_picture(3))):
        exif = PIL.Image.Exif()
        exif[274] = 6
        for more in options:
            stream = io.BytesIO()
            image.save(stream, form, exif=exif, **more)
            out.append(stream.getvalue())
    if form in ("GIF", "WEBP", "PNG"):
        stream = io.BytesIO()
        image.save(stream, form, save_all=True, append_images=[image.rotate(180)], duration=40)
        out.append(stream.getvalue())
    if form == "PNG":
        for image in (PIL.Image.fromarray(_picture(1, np.uint16)), PIL.Image.fromarray(_picture(3)).quantize(8)):
            stream = io.BytesIO()
            image.save(stream, form)
            out.append(stream.getvalue())
        for colour, channels in ((2, 3), (4, 2), (6, 4)):
            out.append(deep_png(colour, np.random.default_rng(0).integers(0, 65536, (4, 5, channels))))
    return out


def _jp2_seeds() -> list[bytes]:
    out = []
    for values in (_picture(), _picture(3), _picture(1, np.uint16)):
        for bare in (False, True):
            stream = io.BytesIO()
            PIL.Image.fromarray(values).save(stream, "JPEG2000", no_jp2=bare)
            out.append(stream.getvalue())
    return out


def _pnm_seeds() -> list[bytes]:
    grey, deep = _picture().tobytes(), _picture(1, np.uint16).astype(">u2").tobytes()
    text = " ".join(map(str, _picture().ravel())).encode()
    floats = b"Pf\n8 6\n-1.0\n" + _picture(1, np.float32).tobytes()
    bits = [b"P1\n8 6\n" + b"01010011\n" * 6, b"P4 8 6\n" + bytes(range(6))]
    whole = [b"P5\n# note\n8 6\n255\n" + grey, b"P5 8 6 4095\n" + deep, b"P6\n8 6\n255\n" + _picture(3).tobytes()]
    return [*whole, b"P2\n8 6\n200\n" + text, *bits, floats]


def deep_png(colour: int, values: np.ndarray, interlace: int = 0) -> bytes:
    """A PNG of 16 bits, which Pillow cannot write with colour or alpha: values (H, W, C), rows unfiltered."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", values.shape[1], len(values), 16, colour, 0, 0, interlace)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def _tiff_seeds() -> list[bytes]:
    kinds: list[tuple[np.ndarray, dict[str, object]]] = [
        (_picture(), {}),
        (_picture(1, np.uint16), {"compression": "zlib", "byteorder": ">"}),
        (_picture(3), {"photometric": "rgb", "rowsperstrip": 2}),
        (_picture(1, np.float32), {"bigtiff": True}),
        (np.tile(_picture(), (4, 4)), {"tile": (16, 16), "compression": "zlib"}),
        (_picture(3).transpose(2, 0, 1), {"photometric": "rgb", "planarconfig": "separate"}),
    ]
    out = [_saved(partial(tifffile.imwrite, data=values, **options), ".tif") for values, options in kinds]
    image = PIL.Image.fromarray(_picture())
    packings = ("tiff_lzw", "jpeg", "packbits")
    out += [_saved(partial(image.save, compression=packing), ".tif") for packing in packings]
    stack = np.stack([_picture(1, np.uint16)] * 3)
    more: list[dict[str, object]] = [{"imagej": True, "metadata": {"unit": "um"}, "resolution": (2, 4)}]
    more += [{"photometric": "minisblack"}, {"description": "Aperio|MPP = 0.25", "metadata": None}]
    return out + [_saved(partial(tifffile.imwrite, data=stack, **options), ".tif") for options in more]


PATIENT = "Doe^Recognisable"


def dicom_file(file: Path, values: np.ndarray, **tags: object) -> Path:
    """A DICOM with pixels (H, W) uint16 and tags that name a patient."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    meta.TransferSyntaxUID = tags.pop("syntax", ExplicitVRLittleEndian)
    data = pydicom.Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    data.PatientName, data.PatientID, data.PatientBirthDate = PATIENT, "ID-SECRET-77", "19630405"
    data.PatientAddress, data.InstitutionName, data.AccessionNumber = "Geheimstr. 9", "Clinic Hidden", "ACC-HID-5"
    data.OtherPatientIDsSequence = [pydicom.Dataset()]
    data.OtherPatientIDsSequence[0].PatientID = "NESTED-SECRET-8"
    data.PatientComments, data.StudyDescription = "private comment 123", "Kept secret study"
    data.Rows, data.Columns = values.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.PixelSpacing = [0.5, 0.5]
    data.PixelData = values.astype(np.uint16).tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    data.save_as(file, enforce_file_format=True)
    return file


def _dicom_seeds() -> list[bytes]:
    values = _picture(1, np.uint16)
    tags: list[dict[str, object]] = [
        {},
        {"PhotometricInterpretation": "MONOCHROME1", "RescaleSlope": 2, "RescaleIntercept": -5},
        {"syntax": DeflatedExplicitVRLittleEndian, "ImagerPixelSpacing": [0.1, 0.1]},
    ]
    stack = {"NumberOfFrames": 2, "Rows": 3, "FrameTime": 40, "WindowCenter": 9, "WindowWidth": 5}
    out = [_saved(partial(dicom_file, values=values, **more), ".dcm") for more in (*tags, stack)]
    return [*out, out[0][132:]]  # without the preamble


def _video_seeds() -> list[bytes]:
    def write(file: Path) -> None:
        with VideoWriter(file, Fraction(10)) as video:
            for step in range(3):
                video.add(np.full((16, 16, 3), 80 * step, np.uint8))

    return [_saved(write, ".mp4"), _saved(write, ".avi")]


def _tensors() -> dict[str, torch.Tensor]:
    return {"conv.weight": torch.arange(6.0).view(2, 3), "conv.bias": torch.zeros(2), "n": torch.tensor(3)}


def _safetensors_seeds() -> list[bytes]:
    return [safetensors.torch.save(_tensors(), {"from": "test"})]


def _torch_seeds() -> list[bytes]:
    out = []
    for state in (_tensors(), {"state_dict": _tensors(), "epoch": 3}):
        for zipped in (True, False):
            stream = io.BytesIO()
            torch.save(state, stream, _use_new_zipfile_serialization=zipped)
            out.append(stream.getvalue())
    return out


# -- reading, and what holds for whatever is read --------------------------------------------------------------------


def check_dataset(data: LandmarkDataset, folder: Path, anywhere: bool = False) -> None:
    """What everything after the readers relies on; images may lie ``anywhere``, or below the folder."""
    marks = data.landmarks.names
    assert len(set(marks)) == len(marks)
    for sample in data.samples:
        assert sample.points.shape == (len(marks), 2)
        seen = sample.visibility > 0
        assert np.isfinite(sample.points[seen]).all(), "an annotated point is not finite"
        assert np.isnan(sample.points[~seen]).all(), "a point that is not annotated has coordinates"
        assert sample.spacing_mm is None or all(0 < side < np.inf for side in sample.spacing_mm)
        inside = sample.image.resolve().is_relative_to(folder.resolve())
        told = any("outside" in str(problem) for problem in data.problems)
        assert anywhere or inside or told, "an image outside its folder"
        str(sample.image).encode()
        sample.image.is_file()


def _read_table(file: Path) -> None:
    loose = read_table(file.parent, strict=False)
    for problem in loose.problems:
        assert len(str(problem)) < 100_000
        str(problem).encode()
    table = read_table(file.parent)
    assert not loose.problems, "strict reading took what loose reading finds fault with"
    data = LandmarkDataset(table.samples, table.landmarks, instances=table.instances)
    check_dataset(data, file.parent, anywhere=True)


def _reader(form: str) -> Callable[[Path], None]:
    def read(file: Path) -> None:
        source = file if form in ONE_FILE or file.suffix == ".h5" else file.parent
        data = FORMATS[form]().read(source)
        check_dataset(data, file.parent, anywhere=any("lie outside" in str(problem) for problem in data.problems))

    return read


def _read_yolo(labels: Path) -> None:
    check_dataset(FORMATS["yolo"]().read(labels.parents[1]), labels.parents[1])


def _read_recipe(file: Path) -> None:
    found = load_any_recipe(file)
    to_yaml(found)


def _read_image(file: Path) -> None:
    try:
        size = image_size(file)
    except TrigpointError:
        size = None
    with contextlib.suppress(TrigpointError):
        spacing, _ = image_spacing(file)
        assert spacing is None or all(0 < side < np.inf for side in spacing)
    try:
        data = read_image(file, max_pixels=PIXELS)
    except TrigpointError as error:
        if "predict takes it as it takes a video" not in str(error):
            raise
        for frame in itertools.islice(read_frames(file), 20):
            assert frame.image.pixels.shape[0] in (1, 3)
            assert frame.time_s is None or np.isfinite(frame.time_s)
        return
    assert data.pixels.dtype in (np.uint8, np.uint16, np.float32)
    assert data.pixels.shape[0] in (1, 3)
    assert (data.height, data.width) == size, f"the header said {size}, the pixels are {data.height, data.width}"
    assert data.pixels.dtype != np.float32 or bool(np.isfinite(data.pixels).all())
    assert all(np.isfinite(data.value_range))


def _zarr_seeds() -> list[bytes]:
    about = {"zarr_format": 2, "shape": [1, 6, 8], "chunks": [1, 6, 8], "dtype": "|u1", "filters": None}
    about |= {"compressor": {"id": "zlib", "level": 1}, "fill_value": 0, "order": "C"}
    other = about | {"filters": [{"id": "delta", "dtype": "|u1"}], "dimension_separator": "."}
    return [json.dumps(about).encode(), json.dumps(other).encode()]


def _zarr_around(folder: Path) -> None:
    (folder / "0.0.0").write_bytes(zlib.compress(_picture().tobytes()))


def _read_tiled(file: Path) -> None:
    with open_tiled(file.parent) as image:
        assert image.read(0, 0, 0, *image.size).shape == (image.channels, *image.size)


def _read_frames(file: Path) -> None:
    for frame in Frames(file):
        assert frame.image.pixels.ndim == 3


def _read_weights(file: Path) -> None:
    for name, value in read_weights(file).items():
        assert isinstance(name, str)
        assert isinstance(value, torch.Tensor)


TARGETS: dict[str, Target] = {
    "table": Target("landmarks.csv", _table_seeds, _read_table, "csv", _table_around),
    "description": Target("dataset.yaml", _yaml_seeds, _read_table, "yaml", _yaml_around),
    "recipe": Target("recipe.yaml", _recipe_seeds, _read_recipe, "yaml"),
    "pts": Target("a.pts", _pts_seeds, _reader("pts"), "text", _images),
    "isbi": Target("a.txt", _isbi_seeds, _reader("isbi"), "text", _images),
    "coco": Target("set.json", _coco_seeds, _reader("coco"), "json", _images),
    "deeplabcut": Target("set.csv", _deeplabcut_seeds, _reader("deeplabcut"), "csv", _images),
    "h5": Target("set.h5", _h5_seeds, _reader("deeplabcut"), "bytes", _images),
    "ljson": Target("a.ljson", _ljson_seeds, _reader("ljson"), "json", _images),
    "labelme": Target("a.json", _labelme_seeds, _reader("labelme"), "json", _images),
    "labelstudio": Target("set.json", _labelstudio_seeds, _reader("labelstudio"), "json", _images),
    "via": Target("set.json", _via_seeds, _reader("via"), "json", _images),
    "via csv": Target("set.csv", _via_csv_seeds, _reader("via"), "csv", _images),
    "cvat": Target("annotations.xml", _cvat_seeds, _reader("cvat"), "text", _images),
    "yolo": Target("data.yaml", _yolo_seeds, _reader("yolo"), "yaml", _yolo_around),
    "yolo labels": Target("labels/a.txt", _yolo_label_seeds, _read_yolo, "text", _yolo_around),
    "endovis": Target("train1_labels.json", _endovis_seeds, _reader("endovis"), "json"),
    "tps": Target("set.tps", _tps_seeds, _reader("tps"), "text", _images),
    "imglab": Target("set.xml", _imglab_seeds, _reader("imglab"), "text", _images),
    "markups": Target("a.mrk.json", _markups_seeds, _reader("slicer"), "json", _images),
    "fcsv": Target("a.fcsv", _fcsv_seeds, _reader("slicer"), "csv", _images),
    "wflw": Target("list_98pt.txt", _wflw_seeds, _reader("wflw"), "text", _images),
    "roi": Target("a.roi", lambda: [_roi([[1, 2], [3.5, 4]], "a")], _reader("fiji"), "bytes", _images),
    "roi zip": Target("a.zip", _roi_zip_seeds, _reader("fiji"), "bytes", _images),
    "results": Target("a.csv", _results_seeds, _reader("fiji"), "csv", _images),
    "sleap": Target("a.slp", lambda: _pose_files(".slp"), _reader("sleap"), "bytes", _images),
    "nwb": Target("a.nwb", lambda: _pose_files(".nwb"), _reader("nwb"), "bytes", _images),
    "png": Target("a.png", lambda: _pillow_seeds("PNG"), _read_image, "bytes"),
    "jpeg": Target("a.jpg", lambda: _pillow_seeds("JPEG"), _read_image, "bytes"),
    "bmp": Target("a.bmp", lambda: _pillow_seeds("BMP"), _read_image, "bytes"),
    "gif": Target("a.gif", lambda: _pillow_seeds("GIF"), _read_image, "bytes"),
    "webp": Target("a.webp", lambda: _pillow_seeds("WEBP"), _read_image, "bytes"),
    "jp2": Target("a.jp2", _jp2_seeds, _read_image, "bytes"),
    "pnm": Target("a.pgm", _pnm_seeds, _read_image, "bytes"),
    "tiff": Target("a.tif", _tiff_seeds, _read_image, "bytes"),
    "dicom": Target("a.dcm", _dicom_seeds, _read_image, "bytes"),
    "zarr": Target(".zarray", _zarr_seeds, _read_tiled, "json", _zarr_around),
    "video": Target("a.mp4", _video_seeds, _read_frames, "bytes"),
    "safetensors": Target("w.safetensors", _safetensors_seeds, _read_weights, "bytes"),
    "torch": Target("w.pt", _torch_seeds, _read_weights, "bytes"),
}


# -- damage ----------------------------------------------------------------------------------------------------------

NUMBERS = (0, 1, -1, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 10**400, 1e308, -1e308, 5e-324, 0.1)
TOKENS = (
    "nan", "inf", "-inf", "1e999", "1_000", "0x10", "9" * 5000, "", " ", "\0", "\ud800", "\u202e", "١٢", "½", "true",
    "null", "~", "yes", "2024-99-99", "12:30:45", "../../etc/passwd", "/etc/passwd", "C:\\a", "a" * 300, "a/" * 3000,
    "=1+1", "@SUM(1)", "'", '"', '"\n"', ",", ";", "\t", "\r", "{", "}", "[", "]", "&a", "*a", "<<",
    "!!python/object:os.system", "!!int", "!!bool x", "!!timestamp x", "!!binary x", "|", ">", "%", "---\n", "...\n",
    "? ", ": ", "- ", "#", "\\ud800", "\\u0000",
)  # fmt: skip


def any_json(rng: random.Random, depth: int = 3) -> object:
    """A JSON value of any kind, with the numbers and texts that hurt."""
    choice = rng.randrange(9 if depth else 6)
    if choice < 6:
        return (None, rng.choice((True, False)), rng.choice(NUMBERS), rng.choice(TOKENS), float("nan"), float("inf"))[
            choice
        ]
    if choice == 6:
        return {rng.choice(TOKENS): any_json(rng, depth - 1) for _ in range(rng.randrange(3))}
    return [any_json(rng, depth - 1) for _ in range(rng.randrange(4))]


def _damaged_json(rng: random.Random, data: bytes) -> bytes:
    values = json.loads(data)
    for _ in range(rng.randint(1, 3)):
        holder, key = rng.choice(list(_places(values)))
        action = rng.randrange(5)
        if action == 0:
            del holder[key]
        elif action == 1 and isinstance(holder, list):
            holder.insert(key, holder[key])
        elif action == 2 and isinstance(holder, dict):
            holder[rng.choice(TOKENS)] = holder.pop(key)
        else:
            holder[key] = any_json(rng)
        if not values:
            break
    text = json.dumps(values, ensure_ascii=rng.random() < 0.5)
    return text.encode("utf-8", "surrogatepass")


def _places(values: object) -> Iterator[tuple[object, object]]:
    items = enumerate(values) if isinstance(values, list) else values.items() if isinstance(values, dict) else ()
    for key, value in list(items):
        yield values, key
        yield from _places(value)


def _damaged_csv(rng: random.Random, data: bytes) -> bytes:
    rows = [line.split(",") for line in data.decode("utf-8", "replace").splitlines()]
    for _ in range(rng.randint(1, 4)):
        row = rng.choice(rows)
        action = rng.randrange(5)
        if action == 0:
            row.insert(rng.randint(0, len(row)), rng.choice(TOKENS))
        elif action == 1:
            rows.insert(rng.randint(0, len(rows)), list(row))
        elif action == 2 and len(row) > 1:
            row.pop(rng.randrange(len(row)))
        else:
            row[rng.randrange(len(row))] = rng.choice([*TOKENS, *map(str, NUMBERS), rng.choice(rows[0])])
    end = rng.choice(("\n", "\n", "\r\n", "\r"))
    return (end.join(",".join(row) for row in rows) + end).encode("utf-8", "surrogatepass")


def _damaged_text(rng: random.Random, data: bytes) -> bytes:
    """Words and lines replaced, doubled, moved; for YAML also nested."""
    lines = data.decode("utf-8", "replace").split("\n")
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(lines))
        action = rng.randrange(6)
        if action == 0:
            lines.insert(at, rng.choice(lines))
        elif action == 1 and len(lines) > 1:
            lines.pop(at)
        elif action == 2:
            lines[at] = " " * rng.randrange(5) + lines[at].strip()
        elif action == 3:
            lines[at] += rng.choice(TOKENS)
        else:
            words = lines[at].split(" ")
            words[rng.randrange(len(words))] = rng.choice([*TOKENS, *map(str, NUMBERS), "{a: [1, {b: 2}]}", "[" * 500])
            lines[at] = " ".join(words)
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _damaged_bytes(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if not out:
            break
        at, action = rng.randrange(len(out)), rng.randrange(8)
        if action == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif action == 1:
            out[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif action == 2:
            del out[at:]
        elif action == 3:
            del out[at : at + rng.randint(1, 8)]
        elif action == 4:
            out[at:at] = out[at : at + rng.randint(1, 64)] * rng.choice((1, 1, 100))
        elif action == 5:
            size = rng.choice("HIQ")
            number = rng.choice((0, 1, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, rng.randrange(1 << 16)))
            packed = struct.pack(rng.choice("<>") + size, number % (1 << 8 * struct.calcsize(size)))
            out[at : at + len(packed)] = packed
        elif action == 6:
            other = rng.randrange(len(out))
            span = rng.randint(1, 16)
            out[at : at + span] = out[other : other + span]
        else:
            out[at : at + rng.randint(0, 8)] = rng.choice(TOKENS).encode("utf-8", "surrogatepass")[:64]
    return bytes(out)


def _with_checksums(data: bytes) -> bytes:
    """A damaged PNG whose chunks say that they are whole, so that the decoder behind that check is reached."""
    out, at = bytearray(data), 8
    while at + 12 <= len(out):
        end = at + 8 + int.from_bytes(out[at : at + 4], "big")
        if end + 4 > len(out):
            break
        out[end : end + 4] = struct.pack(">I", zlib.crc32(out[at + 4 : end]))
        at = end + 4
    return bytes(out)


def _recoded(rng: random.Random, data: bytes) -> bytes:
    """The same text in another coding or with other ends of lines, or nothing, or only its mark."""
    text = data.decode("utf-8", "replace")
    ways: tuple[Callable[[], bytes], ...] = (
        lambda: text.encode("utf-16"),
        lambda: text.encode("utf-16-le"),
        lambda: text.encode("utf-32"),
        lambda: text.encode("utf-8-sig"),
        lambda: b"\xef\xbb\xbf" + text.encode("utf-8-sig"),
        lambda: text.replace("\n", "\r\n").encode(),
        lambda: text.replace("\n", "\u2028").encode(),
        lambda: ("é" + text).encode("latin-1", "replace"),
        lambda: data + data,
        lambda: b"",
        lambda: b"[" * rng.choice((100, 5000, 50_000)),
        lambda: b'{"a":' * rng.choice((100, 5000, 50_000)),
        lambda: b"\0" * 64 + data,
    )
    return rng.choice(ways)()


STRUCTURED: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "json": _damaged_json, "csv": _damaged_csv, "yaml": _damaged_text, "text": _damaged_text, "bytes": _damaged_bytes,
}  # fmt: skip


def damaged(rng: random.Random, seeds: list[bytes], kind: str) -> bytes:
    """One input: a valid file damaged in its structure (mostly), its bytes, or its coding."""
    data, way = rng.choice(seeds), rng.random()
    if kind != "bytes" and way < 0.05:
        return _recoded(rng, data)
    if kind == "bytes" or way < 0.25:
        out = _damaged_bytes(rng, data)
        return _with_checksums(out) if data[:4] == b"\x89PNG" and way < 0.8 else out
    try:
        return STRUCTURED[kind](rng, data)
    except UnicodeDecodeError:  # a seed in another coding has no structure to damage
        return _damaged_bytes(rng, data)


# -- the loop --------------------------------------------------------------------------------------------------------


@cache
def seeds_of(name: str) -> tuple[bytes, ...]:
    """The valid files of a target, made once."""
    return tuple(TARGETS[name].seeds())


class HangError(BaseException):
    """Not an Exception, so that no reader takes it for the fault of its input."""


class Bench:
    """A folder in which one target's file is replaced again and again."""

    def __init__(self, name: str, folder: Path) -> None:
        self.target = TARGETS[name]
        self.folder = folder
        self.file = folder / self.target.file
        self.seeds = list(seeds_of(name))
        if self.target.around is not None:
            self.target.around(folder)
        self.taken = self.refused = 0

    def try_one(self, data: bytes) -> str | None:
        """Read ``data`` as the target's file: None when a dataset came, else our own error's message."""
        self.file.write_bytes(data)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the libraries' own, about damaged files
                self.target.read(self.file)
        except TrigpointError as error:
            text = str(error)
            text.encode()  # a message that cannot be printed would be a traceback after all
            assert len(text) < 100_000, "a message too long to read"
            assert str(self.folder) in text or self.file.name in text, f"the message names no file: {text[:200]}"
            self.refused += 1
            return text
        self.taken += 1
        return None


def _alarm(signum: int, frame: object) -> None:
    raise HangError(f"one input took longer than {SECONDS} s")


def run_random(bench: Bench, inputs: int, seed: int, keep: Path) -> int:
    """The random loop; number of inputs whose outcome was neither a dataset nor our own error."""
    signal.signal(signal.SIGPROF, _alarm)
    faults: dict[str, str] = {}
    for index in range(inputs):
        data = damaged(random.Random(f"{seed} {index}"), bench.seeds, bench.target.kind)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            bench.try_one(data)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            signal.setitimer(signal.ITIMER_PROF, 0)
            place = error.__traceback__
            while place is not None and place.tb_next is not None:
                place = place.tb_next
            at = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place is not None else ""
            what = f"{type(error).__name__} at {at}: {str(error)[:200]!r}"
            key = f"{type(error).__name__} {at}"
            if key not in faults:
                file = keep / f"{bench.file.stem}-{seed}-{index}{bench.file.suffix}"
                file.write_bytes(data)
                faults[key] = f"{file}: {what}"
        signal.setitimer(signal.ITIMER_PROF, 0)
    for text in faults.values():
        print(f"fault: {text}")
    return len(faults)


def run_coverage(bench: Bench, inputs: int, seed: int, keep: Path) -> None:
    """libFuzzer chooses the inputs by the branches of our readers that they reach; leaves the process."""
    import atheris  # an extra that only this loop needs

    for module in [m for n, m in sys.modules.items() if n.startswith("trigpoint.data") or n == "trigpoint.config"]:
        for value in list(vars(module).values()):
            if (
                getattr(value, "__module__", None) == module.__name__
                and hasattr(value, "__code__")  # a plain function, no class and none that is cached
            ):
                atheris.instrument_func(value)
    corpus = keep / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for index, data in enumerate(bench.seeds):
        (corpus / f"seed{index}").write_bytes(data)
    rng = random.Random(seed)

    def damage(data: bytes, most: int, own_seed: int) -> bytes:
        rng.seed(own_seed)
        if rng.random() < 0.5:
            return bytes(atheris.Mutate(data, most))
        try:
            return damaged(rng, [data], bench.target.kind)[:most]
        except (ValueError, IndexError, TypeError, RecursionError):  # no longer of the kind
            return bytes(atheris.Mutate(data, most))

    options = [sys.argv[0], f"-runs={inputs}", f"-seed={seed}", f"-timeout={SECONDS}", "-max_len=100000"]
    options += ["-rss_limit_mb=6000", f"-artifact_prefix={keep}/", "-print_final_stats=1", str(corpus)]
    atheris.Setup(options, bench.try_one, custom_mutator=damage)
    atheris.Fuzz()


def run_format(name: str, given: argparse.Namespace) -> int:
    """One format in a folder of its own; its number of faults."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(name, Path(folder))
        for data in bench.seeds:
            message = bench.try_one(data)
            assert message is None or data[:2] in (b"\xff\xfe", b"\xfe\xff"), f"a valid file was refused: {message}"
        start = time.perf_counter()
        if given.coverage:
            run_coverage(bench, given.inputs, given.seed, given.keep)
        faults = run_random(bench, given.inputs, given.seed, given.keep)
        rate = given.inputs / (time.perf_counter() - start)
    print(
        f"{name}: {given.inputs} inputs, {bench.taken} datasets, {bench.refused} refused, {faults} faults, "
        f"{rate:.0f} inputs/s"
    )
    return faults


def run_apart(name: str, given: argparse.Namespace) -> int:
    """``run_format`` in a child process, so that a crash of a decoder is one fault and ends nothing else."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        code = 2
        try:
            code = min(run_format(name, given), 1)
        except Exception:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        print(f"fault: {name}: the process died of signal {os.WTERMSIG(status)}")
    return int(status != 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("formats", nargs="+", choices=[*TARGETS, "all"])
    parser.add_argument("--inputs", type=int, default=1000, help="Per format.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()), help="Folder for inputs that fail.")
    parser.add_argument("--coverage", action="store_true", help="Let libFuzzer choose, one format (needs atheris).")
    given = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    given.keep.mkdir(parents=True, exist_ok=True)
    if given.coverage:
        return run_format(given.formats[0], given)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    names = list(TARGETS) if "all" in given.formats else given.formats
    return min(sum(run_apart(name, given) for name in names), 1)


if __name__ == "__main__":
    sys.exit(main())
