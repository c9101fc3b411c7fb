"""tf_pcc.bars: a terminal sees many showings, a file few."""

import io
import time

import pytest

from tf_pcc import bars


class Terminal(io.StringIO):
  def isatty(self):
    return True


@pytest.fixture
def showings(monkeypatch):
  """Counts what a bar shows in half a second with news every millisecond."""
  monkeypatch.setattr(bars, "_SECONDS_IN_A_FILE", 0.2)
  monkeypatch.setattr(bars, "_SECONDS_ON_A_TERMINAL", 0.002)

  def count(stream):
    monkeypatch.setattr(bars.sys, "stderr", stream)
    start = time.monotonic()
    with bars.make(file=stream) as bar:
      while (seconds := time.monotonic() - start) < 0.5:
        time.sleep(1e-3)
        bar.set_postfix(loss=seconds, refresh=False)
        bar.update()
      steps = bar.n
    assert f"{steps}it" in stream.getvalue()
    # The first and the last are shown whenever they are.
    return stream.getvalue().count("\r") - 2, time.monotonic() - start

  return count


def test_a_file_is_not_filled(showings):
  few, seconds = showings(io.StringIO())
  assert few <= seconds / 0.2
  many, _ = showings(Terminal())
  assert many > few
