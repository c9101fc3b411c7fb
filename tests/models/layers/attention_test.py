"""Attention over batches; conformer_test.py compares it with loops."""

import numpy as np
import pytest
import tensorflow as tf

from models.layers import attention


@pytest.mark.parametrize("heads", [1, 2])
def test_a_large_batch_attends_like_its_rows_alone(heads):
  dim, time, batch = 8, 25, 16
  layer = attention.RelativeSelfAttention(dim, heads)
  layer.build((None, None, dim))
  rng = np.random.default_rng(heads)
  x = rng.normal(size=[batch, time, dim]).astype(np.float32)
  positions = attention.relative_positions(time, dim)
  mask = tf.ones([batch, time], bool)
  found = layer(x, positions, mask)
  for row in range(batch):
    one = slice(row, row + 1)
    alone = layer(x[one], positions, mask[one])
    np.testing.assert_allclose(found[one], alone, atol=1e-5)
