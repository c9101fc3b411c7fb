"""FLAC files that hold what a record should: copied, not encoded again.

STREAMINFO, the first block of a FLAC file (RFC 9639, section 8.2), states rate,
channels, bits, the number of samples and the MD5 sum of all of them as they
were encoded. Where it is that of the samples at hand, the file is a lossless
form of these and nothing else.
"""

import hashlib
import os

import numpy as np

_MARK, _HEADER, _STREAMINFO = b"fLaC", 4, 34


def copy_of(
  path: str | os.PathLike, samples: np.ndarray, rate: int
) -> bytes | None:
  """The FLAC file that holds certain samples, if a file is one.

  Args:
    path: Perhaps a local FLAC file.
    samples: int16 array `[samples]`.
    rate: Their rate in Hz.

  Returns:
    The file without its tags and pictures, or None where it is no FLAC file or
    does not hold exactly these samples, 16 bits each, in one channel.
  """
  if not os.fspath(path).lower().endswith(".flac"):
    return None
  try:
    with open(path, "rb") as file:
      head = file.read(len(_MARK) + _HEADER + _STREAMINFO)
      if not _holds(head, samples, rate):
        return None
      data = head + file.read()
  except OSError:
    return None
  frames = _frames(data)
  if frames is None:
    return None
  # The first block, with the mark that it is the last one.
  block = bytes([0x80]) + head[len(_MARK) + 1 :]
  return _MARK + block + data[frames:]


def _holds(head, samples, rate):
  if (
    len(head) < len(_MARK) + _HEADER + _STREAMINFO
    or head[:4] != _MARK
    or head[4] & 0x7F  # another block goes first
    or int.from_bytes(head[5:8], "big") != _STREAMINFO
  ):
    return False
  block = head[len(_MARK) + _HEADER :]
  # 20 bits of rate, 3 of channels - 1, 5 of bits - 1, 36 of samples.
  fields = int.from_bytes(block[10:18], "big")
  stated = (
    fields >> 44,
    (fields >> 41 & 7) + 1,
    (fields >> 36 & 31) + 1,
    fields & (1 << 36) - 1,
  )
  if stated != (rate, 1, 16, len(samples)):
    return False
  content = samples.astype("<i2", copy=False).tobytes()
  return hashlib.md5(content, usedforsecurity=False).digest() == block[18:34]


def _frames(data):
  """Where the sound begins, after all blocks; None where they are damaged."""
  place = len(_MARK)
  while place + _HEADER <= len(data):
    last = data[place] & 0x80
    place += _HEADER + int.from_bytes(data[place + 1 : place + 4], "big")
    if last:
      return place if place < len(data) else None
  return None
