"""Losses where XLA does not compile for the CPU, as on a TPU VM."""

import numpy as np
import pytest
import tensorflow as tf

from models.losses import compiling, ctc_loss, transducer_loss


@pytest.fixture
def asked():
  """The question is asked again, in the test and after it."""
  compiling.host_compiles.cache_clear()
  yield
  compiling.host_compiles.cache_clear()


def ctc(logits):
  return ctc_loss.ctc_losses(
    tf.constant([[1, 2, 2], [3, 0, 0]]),
    tf.constant([3, 1]),
    logits,
    tf.constant([7, 4]),
  )


def transducer(logits):
  return transducer_loss.transducer_losses(
    tf.constant([[1, 2, 2], [3, 0, 0]]),
    tf.constant([3, 1]),
    logits,
    tf.constant([7, 4]),
  )


def values(function, logits, graph):
  def both(logits):
    with tf.GradientTape() as tape:
      tape.watch(logits)
      losses = function(logits)
    return losses, tape.gradient(losses, logits)

  run = tf.function(both, autograph=False) if graph else both
  return [value.numpy() for value in run(tf.constant(logits))]


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize(
  ("function", "shape"), [(ctc, [2, 7, 5]), (transducer, [2, 7, 4, 5])]
)
def test_the_same_operation_by_operation(monkeypatch, function, shape, graph):
  logits = np.random.default_rng(0).normal(size=shape).astype(np.float32)
  compiled = values(function, logits, graph)
  used = []

  def no():
    used.append(True)
    return False

  monkeypatch.setattr(compiling, "host_compiles", no)
  plain = values(function, logits, graph)
  assert used
  for ours, theirs in zip(plain, compiled, strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_this_machine_compiles(asked):
  assert compiling.host_compiles()


def test_a_host_that_xla_does_not_know(monkeypatch, asked):
  def refused(_):
    raise tf.errors.NotFoundError(None, None, "no transfer manager for Host")

  monkeypatch.setattr(tf, "negative", refused)
  assert not compiling.host_compiles()


@pytest.mark.parametrize("compiles", [True, False])
def test_only_where_it_can(monkeypatch, compiles):
  monkeypatch.setattr(compiling, "host_compiles", lambda: compiles)
  double = compiling.compiled(lambda x, factor=2: x * factor)
  graph = tf.function(lambda x: double(x, factor=3)).get_concrete_function(1.0)
  [call] = [op for op in graph.graph.get_operations() if "Call" in op.type]
  marked = "_XlaMustCompile" in call.node_def.attr
  assert (marked and call.get_attr("_XlaMustCompile")) == compiles
  assert double(tf.constant(4.0)) == 8
