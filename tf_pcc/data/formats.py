"""Formats of sound files: their extensions, and what their headers state.

soundfile (libsndfile) decodes those of `READABLE`, but takes a truncated WAV or
AIFF file for a shorter one, and a WAV file whose recorder was killed for an
empty one: `data_chunk` tells. Those of `OTHERS` PyAV decodes.
"""

import struct
from typing import BinaryIO, NamedTuple

# The best one first, where one utterance is there in several.
READABLE = (
  ".flac",
  ".wav",
  ".aiff",
  ".aif",
  ".aifc",
  ".au",
  ".caf",
  ".sph",
  ".w64",
  ".ogg",
  ".oga",
  ".opus",
  ".mp3",
)
# What they hold, and the bytes at a place by which their content is known.
_OTHERS = {
  "AAC or ALAC in MP4 (m4a)": (4, (b"ftyp",)),
  "Matroska or WebM": (0, (b"\x1aE\xdf\xa3",)),
  "Windows Media (wma)": (0, (b"0&\xb2u",)),
  "AAC": (0, (b"\xff\xf1", b"\xff\xf9")),
  "AMR": (0, (b"#!AMR",)),
}
OTHERS = (".m4a", ".mp4", ".aac", ".wma", ".amr", ".webm", ".mka")
EXTENSIONS = (*READABLE, *OTHERS)
# Sizes from here on are those of streams, which did not know their length.
_STREAMING = 0x7FFF0000


class Chunk(NamedTuple):
  """Where the samples of a WAV or AIFF file are.

  Attributes:
    place: Byte at which their size is written, four bytes.
    stated: That size, or None where it is that of a stream, or was never
      written.
    there: How many bytes follow.
  """

  place: int
  stated: int | None
  there: int


def data_chunk(file: BinaryIO) -> Chunk | None:
  """Finds the samples in a WAV, RF64 or AIFF file.

  Args:
    file: Opened for reading; it is read from its beginning.

  Returns:
    A `Chunk`, or None in a file of another format or with a damaged header.
  """
  total = file.seek(0, 2)
  file.seek(0)
  head = file.read(12)
  if head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE":
    order, wanted = "<", b"data"
  elif head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
    order, wanted = ">", b"SSND"
  else:
    return None
  place, long_size = 12, None
  while True:
    file.seek(place)
    chunk = file.read(24)
    if len(chunk) < 8:
      return None
    (size,) = struct.unpack(order + "I", chunk[4:8])
    if chunk[:4] == b"ds64" and len(chunk) == 24:
      (long_size,) = struct.unpack("<Q", chunk[16:24])
    if chunk[:4] == wanted:
      break
    place += 8 + size + size % 2
  there = total - place - 8
  if size == 0xFFFFFFFF and long_size:
    size = long_size
  elif size >= _STREAMING or (not size and there and not _is_chunk(chunk[8:])):
    size = None
  return Chunk(place + 4, size, there)


def other_format(head: bytes) -> str:
  """The name of a format that soundfile does not decode, or "".

  Args:
    head: The first 16 bytes of a file.

  Returns:
    A name, or "" for what soundfile decodes and for what is no audio.
  """
  for name, (place, starts) in _OTHERS.items():
    if head[place:].startswith(starts):
      return name
  return ""


def _is_chunk(following):
  """Whether bytes begin a chunk of text or marks, not samples."""
  return following[:4] in (b"LIST", b"id3 ", b"ID3 ", b"bext", b"cue ", b"fact")
