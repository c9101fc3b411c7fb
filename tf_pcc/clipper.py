"""The one clipper behind both APIs, and the state it keeps.

It does what a `clipping_spec.Clipping` specifies: it turns the norms of this
core's gradients into their factors, with one small all-reduce of all cores'
norms, and remembers what the step looked like for monitoring.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from tf_pcc import clipping, replicas
from tf_pcc.clipping_spec import Clipping


@dataclasses.dataclass(frozen=True)
class Scaling:
  """What one core does with its units in this step.

  Attributes:
    factors: float32 [microbatches], of `clipping.clip_factor`, 0 if not live.
    weights: float32 [microbatches], what each clipped unit counts in the mean
      of all units; 1 unless cores are dead or uneven.
    any_live: bool scalar, whether any unit of any core is live.
  """

  factors: tf.Tensor
  weights: tf.Tensor
  any_live: tf.Tensor


class Clipper:
  """Turns norms into factors and keeps the state. One per optimizer.

  What a bound remembers of a core's units lives in variables that are local to
  the core (`local_variables`), which it updates from its own norms alone. The
  all-reduce of the norms gathers these too, and all cores keep the copy, a slot
  a unit, in `variables`. The copy is what is saved; in the first step after it
  was loaded the cores take their own from there.

  Args:
    clipping: `Clipping`.
  """

  # A bound below this share of the median norm is warned of, once it was seen
  # so many times in a row.
  FAR_BELOW, LOOKS = 1e-3, 3

  def __init__(self, clipping: Clipping):
    self.clipping = clipping
    self._low_looks = 0
    self.checkpoint_state = _CheckpointState(self)
    self.variables = {}
    self.local_variables = {}
    self._restored: Any = None
    self._pending = None

  def build(self) -> None:
    """Creates the state, under the current strategy."""
    units = replicas.count() * self.clipping.microbatches
    if units == 1 and self.clipping.bound.compares_units:
      logging.warning(
        "%r on one core and without micro-batches clips nothing: there is no "
        "other norm to compare with. Use more cores, microbatches or a "
        "FixedBound.",
        self.clipping.bound,
      )
    shapes = {"norms": (units,), "bound": (), "cosine": ()}
    for name in self.clipping.bound.state_names:
      shapes[f"bound_{name}"] = (units,)
    self.variables = {
      name: replicas.shared_variable(shape, "float32", name)
      for name, shape in shapes.items()
    }
    for name in ("skipped_steps", "skipped_in_a_row", "dead_core_steps"):
      self.variables[name] = replicas.shared_variable((), "int32", name)
    self.local_variables = {
      name: replicas.local_variable((self.clipping.microbatches,), name)
      for name in self.clipping.bound.state_names
    }
    # Whether the copy is newer than the cores' own.
    self._restored = replicas.shared_variable((), "int32", "restored")
    if self._pending is not None:
      self.load(self._pending)
      self._pending = None

  def scaling(
    self,
    norms: tf.Tensor,
    examples: tf.Tensor | None = None,
    normalize: bool = False,
  ) -> Scaling:
    """Decides this step, from this core's norms and everyone else's.

    Args:
      norms: float32 [microbatches], norms of the unit's mean gradients.
      examples: float32 scalar, rows of this core's batch; needed with
        core_weights="examples".
      normalize: bool, whether the factors are divided by the bound.

    Returns:
      A `Scaling`.

    Raises:
      ValueError: If the optimizer was built under another strategy, or
        `examples` is missing.
    """
    built_for = self.variables["norms"].shape[0]
    units = int(norms.shape[0] or 0) * replicas.count()
    if units != built_for:
      raise ValueError(
        "The optimizer was built under another strategy: build it, or compile "
        "and fit the model, inside the scope() it trains in. Received: units "
        f"built for={built_for}, units of this step={units}"
      )
    bound_rule = self.clipping.bound
    weights = tf.ones_like(norms)
    if self.clipping.core_weights == "examples":
      if examples is None:
        raise ValueError(
          'examples must be given with core_weights="examples". '
          "Received: examples=None"
        )
      weights = tf.fill(tf.shape(norms), examples / self.clipping.microbatches)
    names = bound_rule.state_names
    own = bound_rule.observe(norms, clipping.is_live(norms), self._own_state())
    columns = [norms, weights, *(own[name] for name in names)]
    gathered = replicas.gather(tf.concat(columns, 0))
    all_norms, all_weights, *states = (
      tf.reshape(part, [-1])
      for part in tf.split(gathered, len(columns), axis=1)
    )
    live = clipping.is_live(all_norms)
    any_live = tf.reduce_any(live)
    seen = dict(zip(names, states))
    bound, state = bound_rule.compute(all_norms, live, seen)
    for name, variable in self.local_variables.items():
      # A rule may go on from all units' norms; most leave what they observed.
      if state[name] is not seen[name]:
        own[name] = self._own_slots(state[name])
      variable.assign(own[name])
    if (
      self.clipping.dead_cores == "live"
      or self.clipping.core_weights == "examples"
    ):
      counted = all_weights
      if self.clipping.dead_cores == "live":
        counted = tf.where(live, all_weights, 0.0)
      weights = tf.math.divide_no_nan(weights * units, tf.reduce_sum(counted))
    # Else every unit counts 1, and must not wait for the other cores' norms:
    # under a fixed bound the gradients are added up together with them.

    skipped, in_a_row, dead = (
      tf.convert_to_tensor(self.variables[name])
      for name in ("skipped_steps", "skipped_in_a_row", "dead_core_steps")
    )
    cores = tf.reduce_any(
      tf.reshape(live, [-1, self.clipping.microbatches]), axis=1
    )
    new = {f"bound_{name}": value for name, value in state.items()} | {
      "norms": all_norms,
      "bound": tf.where(any_live, bound, 0.0),
      "skipped_steps": skipped + tf.cast(~any_live, tf.int32),
      "skipped_in_a_row": tf.where(any_live, 0, in_a_row + 1),
      "dead_core_steps": dead + tf.reduce_sum(tf.cast(~cores, tf.int32)),
    }
    replicas.assign(
      [*(self.variables[name] for name in new), self._restored],
      [*new.values(), tf.constant(0)],
    )
    local = bound_rule.local_bound(normalize)
    return Scaling(
      factors=clipping.clip_factor(
        norms, bound if local is None else local, normalize
      ),
      weights=weights,
      any_live=any_live,
    )

  def _own_state(self) -> dict[str, tf.Tensor]:
    """The bound's state of this core's units."""
    restored = tf.convert_to_tensor(self._restored) > 0
    return {
      name: tf.where(
        restored,
        self._own_slots(tf.convert_to_tensor(self.variables[f"bound_{name}"])),
        tf.convert_to_tensor(variable),
      )
      for name, variable in self.local_variables.items()
    }

  def _own_slots(self, values: tf.Tensor) -> tf.Tensor:
    """This core's units' part of float32 [units]."""
    count = self.clipping.microbatches
    return tf.slice(values, [replicas.replica_id() * count], [count])

  def observe_cosine(
    self,
    update: Sequence[tf.Tensor | None],
    unclipped: Sequence[tf.Tensor | None],
  ) -> None:
    """Records cos(update, unclipped mean) over all cores.

    Args:
      update: list of dense tensors or None, this core's share of the update.
      unclipped: the same of the unclipped mean over live units.
    """
    update, unclipped = (
      replicas.sum_over_cores([g for g in gradients if g is not None])
      for gradients in (update, unclipped)
    )
    dot = tf.add_n(
      [
        tf.reduce_sum(tf.cast(a, tf.float32) * tf.cast(b, tf.float32))
        for a, b in zip(update, unclipped)
      ]
    )
    cosine = tf.math.divide_no_nan(
      dot, clipping.global_norm(update) * clipping.global_norm(unclipped)
    )
    replicas.assign([self.variables["cosine"]], [cosine])

  def statistics(self) -> dict[str, float]:
    """The last step, as Python numbers; call it on the host.

    Warns once if the bound lies far below the median norm look after look: one
    core with hardly any gradient then keeps all others from learning.

    Returns:
      dict with core_norm_min, core_norm_median, core_norm_mean and
      core_norm_max over live units, clip_bound, clipped_fraction (of the live
      units), live_cores (cores with a live unit), dead_core_steps (cores
      without one, added up over all steps so far), skipped_steps (so far),
      skipped_in_a_row (up to the last step), and update_cosine if it is
      tracked. Zeros where no unit is live.
    """
    norms = self.variables["norms"].numpy()
    bound = float(self.variables["bound"].numpy())
    live = np.isfinite(norms) & (norms > 0)
    alive = norms[live] if live.any() else np.zeros(1, np.float32)
    cores = live.reshape(-1, self.clipping.microbatches)
    median = float(np.median(alive))
    self._watch(bound, median)
    result = {
      "core_norm_min": float(alive.min()),
      "core_norm_median": median,
      "core_norm_mean": float(alive.mean()),
      "core_norm_max": float(alive.max()),
      "clip_bound": bound,
      "clipped_fraction": float((alive > bound).mean()),
      "live_cores": int(cores.any(axis=1).sum()),
    }
    for name in ("dead_core_steps", "skipped_steps", "skipped_in_a_row"):
      result[name] = int(self.variables[name].numpy())
    if self.clipping.track_cosine:
      result["update_cosine"] = float(self.variables["cosine"].numpy())
    return result

  def _watch(self, bound, median):
    low = bound < self.FAR_BELOW * median
    # None once it was logged.
    if self._low_looks is None:
      return
    self._low_looks = self._low_looks + 1 if low else 0
    if self._low_looks == self.LOOKS:
      logging.warning(
        "the bound, %.3g, is far below the median norm of the cores' "
        "gradients, %.3g: every core is scaled down to it and hardly anything "
        "is learnt. Use a larger bound, or a quantile of the norms in place of "
        "the smallest (QuantileBound, or RunningBound with "
        "statistic='quantile').",
        bound,
        median,
      )
      self._low_looks = None

  def save(self) -> dict[str, np.ndarray]:
    """The state as a dict of NumPy arrays."""
    if not self.variables:
      return dict(self._pending or {})
    return {name: v.numpy() for name, v in self.variables.items()}

  def load(self, arrays: Mapping[str, np.ndarray]) -> None:
    """Takes the state of `save`, made on any number of cores.

    Before `build` the arrays wait for it. Per-unit vectors of another length
    are translated by the bound (`Bound.resize_state`); the norms of the last
    step, which only monitoring reads, start at zero.

    Args:
      arrays: dict of NumPy arrays.
    """
    if not self.variables:
      self._pending = dict(arrays)
      return
    arrays = {k: np.asarray(v) for k, v in arrays.items()}
    rule, units = self.clipping.bound, self.variables["norms"].shape[0]
    state = {
      name.removeprefix("bound_"): value
      for name, value in arrays.items()
      if name.startswith("bound_")
    }
    upgraded = rule.upgrade_state(state)
    if upgraded is not None:
      logging.warning(
        "The running statistics of %r come from an older version and were "
        "converted.",
        rule,
      )
      state = upgraded
    if rule.state_names and state.keys() >= set(rule.state_names):
      state = {name: state[name] for name in rule.state_names}
      if len(state[rule.state_names[0]]) != units:
        state = rule.resize_state(state, units)
      arrays.update({f"bound_{name}": v for name, v in state.items()})
    for name, variable in self.variables.items():
      if name in arrays and arrays[name].shape == tuple(variable.shape):
        variable.assign(arrays[name])
    self._restored.assign(1)


class _CheckpointState(tf.train.experimental.PythonState):
  """The clipper in a tf.train.Checkpoint, independent of the number of cores.

  A variable would be restored by shape, and its length is the number of units.
  """

  def __init__(self, clipper):
    super().__init__()
    self._clipper = clipper

  def serialize(self):
    state = self._clipper.save()
    return json.dumps(
      # A float32 goes through a Python float and its repr unchanged.
      {k: [str(v.dtype), v.tolist()] for k, v in state.items()}
    )

  def deserialize(self, string_value):
    self._clipper.load(
      {
        k: np.array(v, dtype)
        for k, (dtype, v) in json.loads(string_value).items()
      }
    )
