"""Runs the tests of each module in a process of their own, a fork of pytest's.

TensorFlow and XLA keep for ever much of what they trace and compile: one
process for all modules would grow to 4 GB. pytest's process imports everything,
never starts TensorFlow, and forks before the first test of a module; the fork
runs them with all fixtures, sends their reports, and ends, and the system has
its memory back. With pytest-xdist each worker does this.

A module run alone, --pdb, --cov, and systems other than Linux stay in one
process.
"""

import contextlib
import gc
import io
import os
import signal
import sys
import traceback
import warnings
from multiprocessing import connection

import pytest
import tensorflow as tf


def register(config: pytest.Config) -> None:
  """Lets a session's modules run in processes of their own, where they can."""
  one = config.option.usepdb or config.pluginmanager.hasplugin("_cov")
  if sys.platform == "linux" and not one:
    config.pluginmanager.register(_ModuleProcesses(config))


class _ModuleProcesses:
  def __init__(self, config):
    self._config = config
    self._places = {}
    self._child = None
    # In the fork: what to send of the test that runs.
    self._reports = None

  def pytest_collectreport(self, report):
    try:
      _check_that_tensorflow_rests()
    except RuntimeError as error:
      raise pytest.UsageError(
        f"{report.nodeid} starts TensorFlow when it is imported: make its "
        "tensors in functions, or of NumPy"
      ) from error

  def pytest_collection_finish(self, session):
    self._places = {item: place for place, item in enumerate(session.items)}
    if len({item.path for item in session.items}) < 2:
      self._config.pluginmanager.unregister(self)
      return
    # What the imports made stays: the forks need not walk through it, and share
    # its memory.
    gc.collect()
    gc.freeze()

  @pytest.hookimpl(tryfirst=True)
  def pytest_runtest_protocol(self, item, nextitem):
    if self._reports is not None:
      return None
    # The fork has pytest-timeout's clock.
    signal.setitimer(signal.ITIMER_REAL, 0)
    hook = item.ihook
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    last = nextitem is None or nextitem.path != item.path
    try:
      if self._child is None:
        self._child = _Child(self._serve)
      reports = self._child.run(item, None if last else nextitem, self._places)
    except EOFError:
      reports = [_report_of_crash(item, self._child.end())]
      self._child = None
    else:
      reports = [
        hook.pytest_report_from_serializable(config=self._config, data=data)
        for data in reports
      ]
    if last and self._child:
      self._child.end()
      self._child = None
    for report in reports:
      hook.pytest_runtest_logreport(report=report)
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True

  def pytest_unconfigure(self):
    if self._child and self._reports is None:
      self._child.end()

  def pytest_runtest_logreport(self, report):
    if self._reports is not None:
      self._reports.append(
        self._config.hook.pytest_report_to_serializable(
          config=self._config, report=report
        )
      )

  def _serve(self, pipe):
    """The fork's life: runs the tests it is told, sends their reports."""
    # What pytest's process tells the terminal, or xdist, this one does not.
    self._config.get_terminal_writer()._file = io.StringIO()
    plugins = self._config.pluginmanager
    for plugin in list(plugins.get_plugins()):
      if type(plugin).__name__ == "WorkerInteractor":
        plugins.unregister(plugin)
    items = list(self._places)
    while (places := pipe.recv()) is not None:
      item, following = (None if p is None else items[p] for p in places)
      self._reports = []
      item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
      pipe.send(self._reports)


class _Child:
  """A fork of this process and the pipe to it."""

  def __init__(self, serve):
    self._pipe, other = connection.Pipe()
    with warnings.catch_warnings():
      # From Python 3.12 on: execnet, under xdist, has a thread of its own. It
      # waits for messages and holds nothing that a fork uses.
      warnings.simplefilter("ignore", DeprecationWarning)
      self._pid = os.fork()
    if not self._pid:
      self._pipe.close()
      code = 1
      try:
        serve(other)
        code = 0
      except BaseException:
        traceback.print_exc(file=sys.__stderr__)
      finally:
        sys.stdout.flush()
        sys.__stderr__.flush()
        os._exit(code)
    other.close()

  def run(self, item, following, places):
    """Reports of a test; EOFError if the fork ended meanwhile."""
    try:
      self._pipe.send([places[item], following and places[following]])
      return self._pipe.recv()
    except (ConnectionError, EOFError) as error:
      raise EOFError from error
    except BaseException:
      os.kill(self._pid, signal.SIGKILL)
      raise

  def end(self):
    """Lets the fork end; its exit code."""
    with contextlib.suppress(ConnectionError):
      self._pipe.send(None)
    self._pipe.close()
    return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


def _check_that_tensorflow_rests():
  """Fails if a module has started TensorFlow, whose threads a fork lacks."""
  cpu = tf.config.list_physical_devices("CPU")[0]
  devices = tf.config.get_logical_device_configuration(cpu)
  others = [*(devices or []), tf.config.LogicalDeviceConfiguration()]
  # RuntimeError, if it is too late for others.
  tf.config.set_logical_device_configuration(cpu, others)
  tf.config.set_logical_device_configuration(cpu, devices)


def _report_of_crash(item, code):
  return pytest.TestReport(
    nodeid=item.nodeid,
    location=item.location,
    keywords={},
    outcome="failed",
    longrepr=f"The module's process ended in this test, exit code {code}.",
    when="call",
  )
