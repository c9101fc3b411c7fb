"""A batch of logits as an untrained output layer gives them, and labels."""

from collections.abc import Mapping

import numpy as np


def batch(
  sizes: Mapping[str, int], columns: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
  """Logits that prefer the blank, class 0, and random labels, in full rows.

  Args:
    sizes: dict of the integers batch, B; frames, T; labels, U; vocab, V.
    columns: Whether there are logits for each number of labels, as a
      transducer's. Default: False.

  Returns:
    float32 [B, T, V], or [B, T, U + 1, V] with columns; int32 labels [B, U];
    int32 frames [B]; int32 labels' lengths [B].
  """
  size, frames = sizes["batch"], sizes["frames"]
  labels, vocab = sizes["labels"], sizes["vocab"]
  rng = np.random.default_rng(0)
  states = [labels + 1] if columns else []
  logits = rng.normal(size=[size, frames, *states, vocab]) / 2
  logits[..., 0] += np.log(9 * (vocab - 1))
  return (
    logits.astype(np.float32),
    rng.integers(1, vocab, [size, labels]).astype(np.int32),
    np.full([size], frames, np.int32),
    np.full([size], labels, np.int32),
  )
