"""How many labels texts have, kept beside large records."""

import hashlib
import io
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import logging

from tf_pcc import files

if TYPE_CHECKING:
  from tf_pcc.data.tokenizer_base import Tokenizer

# Texts that are encoded at once, to be counted.
_CHUNK = 1 << 16


def label_counts(
  tokenizer: "Tokenizer", texts: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
  """How many labels texts have; the labels themselves are not kept.

  Those of large records are counted once for a tokenizer and kept beside them,
  as label_counts-KEY.npy.

  Args:
    tokenizer: A `tf_pcc.data.text.Tokenizer`.
    texts: Sequence of n strings that can be sliced.

  Returns:
    Labels of each text, int32 `[n]`, -1 for one outside the vocabulary, and
    equal neighbours among them, int32 `[n]`.
  """
  if not getattr(texts, "directory", ""):
    return _count(tokenizer, texts)
  path = _counts_path(tokenizer, texts)
  kept = _kept(path, len(texts))
  if kept is None:
    logging.info("counting the labels of %d texts, once: %s", len(texts), path)
    kept = _count(tokenizer, texts)
    keep_label_counts(tokenizer, texts, *kept)
  return kept[0], kept[1]


def keep_label_counts(
  tokenizer: "Tokenizer", texts: Any, counts: np.ndarray, repeats: np.ndarray
) -> None:
  """Keeps for later starts what `label_counts` gives.

  Args:
    tokenizer: A `tf_pcc.data.text.Tokenizer`.
    texts: Those of large records, a `tf_pcc.data.columns.Strings`.
    counts: int32 `[n]`.
    repeats: int32 `[n]`.
  """
  path = _counts_path(tokenizer, texts)
  content = io.BytesIO()
  np.save(content, np.stack([counts, repeats]))
  data = content.getvalue()
  try:
    files.write_bytes(path, data + hashlib.sha256(data).digest())
  except OSError as error:
    # Of a folder that others own: the next start counts again.
    logging.warning("%s cannot be written: %s", path, error)


def _counts_path(tokenizer, texts):
  key = hashlib.sha256(f"{texts.key} {tokenizer.digest()}".encode())
  return f"{texts.directory}/label_counts-{key.hexdigest()[:16]}.npy"


def _kept(path, count):
  """The counts of an earlier start, or None where there are no right ones."""
  from tensorflow.io import gfile

  if not gfile.exists(path):
    return None
  with gfile.GFile(path, "rb") as file:
    content = file.read()
  data, checksum = content[:-32], content[-32:]
  if hashlib.sha256(data).digest() != checksum:
    logging.warning("%s is damaged: the labels are counted again", path)
    return None
  counts = np.load(io.BytesIO(data), allow_pickle=False)
  return counts if counts.shape == (2, count) else None


def _count(tokenizer, texts):
  counts, repeats = np.zeros([2, len(texts)], np.int32)
  for start in range(0, len(texts), _CHUNK):
    part = slice(start, start + _CHUNK)
    labels = tokenizer.encode_batch(texts[part], strict=False)
    counts[part] = [-1 if ids is None else len(ids) for ids in labels]
    flat = np.fromiter(
      itertools.chain.from_iterable(ids or () for ids in labels), np.int32
    )
    ends = np.cumsum(np.maximum(counts[part], 0))
    # Whether a label equals the one before it, in the same text.
    equal = np.zeros(len(flat) + 1, np.int32)
    equal[1:-1] = flat[1:] == flat[:-1]
    equal[ends] = 0
    sums = np.concatenate([[0], np.cumsum(equal)])
    repeats[part] = np.diff(sums[ends], prepend=0)
  return counts, repeats
