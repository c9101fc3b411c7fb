"""launch.bars: a terminal sees every showing, a file few."""

import io

from launch import bars


class Terminal(io.StringIO):
  def isatty(self):
    return True


def _showings(stream, monkeypatch):
  monkeypatch.setattr(bars.sys, "stderr", stream)
  clock = iter(range(10**6))
  with bars.make(total=600, file=stream) as bar:
    # A second a step.
    bar._time = lambda: float(next(clock))
    bar.start_t = bar.last_print_t = 0.0
    for _ in range(600):
      bar.update()
  return stream.getvalue().count("\r")


def test_a_file_is_not_filled(monkeypatch):
  few = _showings(io.StringIO(), monkeypatch)
  many = _showings(Terminal(), monkeypatch)
  assert 3 <= few <= 40
  assert many > 10 * few


def test_both_show_the_end(monkeypatch):
  for stream in (io.StringIO(), Terminal()):
    _showings(stream, monkeypatch)
    assert "600/600" in stream.getvalue()
