"""Frames of videos that no subject joins: neighbouring frames are nearly equal and must not be divided one by one."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.pixels.frame_names import stem_of, video_of
from trigpoint.errors import counted
from trigpoint.landmarks import Sample

_FEWEST = 4  # images of one stem and a number that are taken for frames, where other tools have named them


def videos_of(samples: Sequence[Sample]) -> list[str]:
    """(N,) The video of which each image seems to be a frame, by its name; blank for the others, and where a subject is
    named.

    Names such as ``mouse1_000010.png``, which frames have here, are taken for frames where a video has two or more.
    Otherwise all images without a subject have to be one stem and numbers, in one folder.
    """
    alone = {sample.image for sample in samples if not sample.subject}
    videos = {image: video_of(image.name) for image in alone}
    frames = Counter(filter(None, videos.values()))
    if not any(count > 1 for count in frames.values()):
        stems = {image: stem_of(image.name) for image in alone}
        same = len({(image.parent, stem) for image, stem in stems.items()}) == 1
        videos, frames = stems, Counter(stems.values() if same and len(alone) >= _FEWEST else ())
    return [video if not sample.subject and frames[video := videos[sample.image]] > 1 else "" for sample in samples]


def frames_told(samples: Sequence[Sample], fix: str) -> str:
    """What is to be said of frames that no subject joins, in words; "" where there are none."""
    videos = videos_of(samples)
    images = {sample.image: video for sample, video in zip(samples, videos, strict=True) if video}
    if not images:
        return ""
    of = counted(len(set(images.values())), "video")
    return (
        f"{len(images)} images without a subject look like frames of {of}, such as {next(iter(images)).name}: "
        "neighbouring frames are nearly equal, so those of one video belong in one subset. If they are frames, write "
        f"the video's name into the column 'subject': {fix} does"
    )


def with_video_subjects(data: LandmarkDataset) -> tuple[LandmarkDataset, str]:
    """A set that was predicted from videos, with the video's name as the subject of its frames, and what to tell of it.

    Unchanged, with nothing to tell, where nothing was predicted, a subject is named, or the names are others.
    """
    videos = [video_of(sample.image.name) for sample in data.samples]
    if any(s.subject for s in data.samples) or all(s.scores is None for s in data.samples) or not any(videos):
        return data, ""
    samples = [replace(sample, subject=video) for sample, video in zip(data.samples, videos, strict=True)]
    named = ", ".join(f"'{video}'" for video in list(dict.fromkeys(filter(None, videos)))[:5])
    told = (
        f"subject: {named} for the frames of {counted(len(set(filter(None, videos))), 'video')}, by their names; "
        "correct the column 'subject' if they are no frames of one video"
    )
    return replace(data, samples=samples), told
