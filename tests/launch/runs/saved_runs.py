"""A run's folder of checkpoints, as tests look at it and go on from it."""

from launch.runs import checkpoints, cluster, resuming


def data_of(folder, step):
  return folder / f"ckpt-{step}.data-00000-of-00001"


def go_on(model, directory):
  """What launch.train does first; the step and the new `Checkpoints`."""
  step = resuming.saved_step(str(directory), cluster.logical_cores(1))
  saver = checkpoints.Checkpoints(str(directory), model)
  saver.restore(step)
  return step, saver
