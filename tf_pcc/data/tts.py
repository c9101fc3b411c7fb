"""Text to speech: py-nanotts (SVOX Pico) by default, espeak-ng as an extra.

In both engines the samples of a sentence depend on what was spoken before in
the process. So the work is cut in fixed units, and each unit is spoken in a
process of its own, in a fixed order: the result is bit-identical whatever the
number of processes at work.

That process runs this file by itself, not as part of the package: it must not
wait for TensorFlow.
"""

import concurrent.futures
import ctypes
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence

import numpy as np

SAMPLE_RATE = 16000
ENGINES = ("nanotts", "espeak")
UNIT = 250
_RUN = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')"
_ESPEAK_RATE, _ESPEAK_PITCH = 175, 50  # the engine's own defaults
_INSTALL = {
  "nanotts": "pip install 'tf_pcc[speech]' for py-nanotts",
  "espeak": "pip install 'tf_pcc[espeak]' for espeakng-loader (GPL-3)",
}


@dataclasses.dataclass(frozen=True)
class Voice:
  """Who speaks, and how.

  Attributes:
    name: Of the engine's voices: "en-US" or "en-GB" for nanotts; for espeak an
      accent with an optional variant, such as "en-us", "en-gb-scotland+f1".
      Variants with breath (f2, f3, f5, whisper, ...) are refused: their noise
      is another each time.
    pitch: Times the engine's usual pitch, in [0.5, 2]. Default 1.
    rate: Times the engine's usual speaking rate, in [0.2, 5]. Default 1.
    engine: "nanotts" (default) or "espeak".
  """

  name: str = "en-US"
  pitch: float = 1.0
  rate: float = 1.0
  engine: str = "nanotts"

  def __post_init__(self):
    if self.engine not in ENGINES:
      raise ValueError(
        f"`engine` must be one of {ENGINES}. Received: engine={self.engine!r}"
      )
    for field, low, high in (("pitch", 0.5, 2), ("rate", 0.2, 5)):
      value = getattr(self, field)
      if not low <= value <= high:
        raise ValueError(
          f"`{field}` must be in [{low}, {high}]. Received: {field}={value}"
        )


def synthesize(
  texts: Sequence[str],
  voices: Voice | Sequence[Voice],
  processes: int | None = None,
  unit: int = UNIT,
) -> list[np.ndarray]:
  """Speaks texts.

  Args:
    texts: Sequence of strings.
    voices: One `Voice` for all, or a sequence with one for each text.
    processes: Number of processes at work. Default: the number of CPUs. It
      does not change the result.
    unit: Texts a process speaks before it is replaced. It does change the
      samples slightly. Default 250.

  Returns:
    List of int16 arrays `[samples]` at 16 kHz.

  Raises:
    ValueError: If an engine is not installed, refuses a voice, or gives no
      sound for a text.

  Example:
    >>> waveform, = synthesize(["HELLO WORLD"], Voice("en-GB", pitch=1.2))
  """
  texts = list(texts)
  voices = [voices] * len(texts) if isinstance(voices, Voice) else list(voices)
  if len(voices) != len(texts):
    raise ValueError(
      f"`voices` must be one Voice or {len(texts)}. Received: {len(voices)}"
    )
  starts = range(0, len(texts), unit)
  with concurrent.futures.ThreadPoolExecutor(
    processes or os.cpu_count()
  ) as pool:
    parts = pool.map(
      lambda i: speak_unit(texts[i : i + unit], voices[i : i + unit]), starts
    )
    return [waveform for part in parts for waveform in part]


def speak_unit(
  texts: Sequence[str], voices: Sequence[Voice]
) -> list[np.ndarray]:
  """Speaks texts in their order in one fresh process.

  Args:
    texts: Sequence of strings.
    voices: A `Voice` for each.

  Returns:
    List of int16 arrays `[samples]` at 16 kHz.

  Raises:
    ValueError: If the engine is missing or refuses a voice or a text.
  """
  lines = [
    {"text": text, **dataclasses.asdict(voice)}
    for text, voice in zip(texts, voices)
  ]
  # A file, not a pipe: the engines print to standard output at will.
  with tempfile.TemporaryDirectory() as folder:
    result = os.path.join(folder, "speech.npz")
    done = subprocess.run(
      [sys.executable, "-c", _RUN, os.path.abspath(__file__), result],
      input=json.dumps(lines),
      capture_output=True,
      text=True,
      check=False,
    )
    if done.returncode:
      message = done.stderr.strip().splitlines() or ["no message"]
      raise ValueError(f"Speech synthesis failed: {message[-1]}")
    with np.load(result) as file:
      return np.split(file["samples"], np.cumsum(file["lengths"])[:-1])


def _main(result):
  engines = {}
  spoken = []
  for line in json.load(sys.stdin):
    text, engine = line.pop("text"), line.pop("engine")
    if engine not in engines:
      engines[engine] = _start(engine)
    samples = engines[engine].speak(text, **line)
    if not samples.any():
      raise ValueError(f"{engine} gave no sound for {text!r}")
    spoken.append(samples)
  lengths = np.array([len(samples) for samples in spoken])
  np.savez(result, samples=np.concatenate(spoken), lengths=lengths)


def _start(engine):
  try:
    return _Nano() if engine == "nanotts" else _Espeak()
  except ImportError as error:
    raise ValueError(
      f"the voice engine {engine} is not installed: {_INSTALL[engine]}"
    ) from error


class _Nano:
  """SVOX Pico, 16 kHz."""

  def __init__(self):
    import py_nanotts

    self._engine = py_nanotts.NanoTTS()

  def speak(self, text, name, pitch, rate):
    # The engine reads capitals as abbreviations: "US" would be spelled out.
    try:
      data = self._engine.speak(
        text.lower(), voice=name, speed=rate, pitch=pitch
      )
    except ValueError as error:
      raise ValueError(f"nanotts has no voice {name!r}") from error
    return np.frombuffer(data, "<i2")


class _Espeak:
  """espeak-ng through its C interface (speak_lib.h), 22.05 kHz."""

  _SYNCHRONOUS, _NO_EXIT, _UTF8, _RATE, _PITCH = 2, 0x8000, 1, 1, 3

  def __init__(self):
    import espeakng_loader

    self._library = ctypes.CDLL(espeakng_loader.get_library_path())
    self._parts = []
    self._rate = self._library.espeak_Initialize(
      self._SYNCHRONOUS,
      0,
      espeakng_loader.get_data_path().encode(),
      self._NO_EXIT,
    )
    if self._rate <= 0:
      raise ValueError("espeak-ng cannot find its data")

    @ctypes.CFUNCTYPE(
      ctypes.c_int,
      ctypes.POINTER(ctypes.c_short),
      ctypes.c_int,
      ctypes.c_void_p,
    )
    def receive(samples, count, _):
      if samples and count > 0:
        part = np.ctypeslib.as_array(samples, (count,))
        self._parts.append(part.copy())
      return 0

    self._variants = pathlib.Path(
      espeakng_loader.get_data_path(), "voices", "!v"
    )
    self._receive = receive  # the library keeps only a pointer to it
    self._library.espeak_SetSynthCallback(receive)
    self._library.espeak_Synth.argtypes = (
      ctypes.c_char_p,
      ctypes.c_size_t,
      ctypes.c_uint,
      ctypes.c_int,
      ctypes.c_uint,
      ctypes.c_uint,
      ctypes.c_void_p,
      ctypes.c_void_p,
    )

  def speak(self, text, name, pitch, rate):
    import scipy.signal

    variant = self._variants / name.partition("+")[2]
    if variant.is_file() and b"\nbreath" in variant.read_bytes():
      raise ValueError(
        f"the breath of espeak-ng's {name!r} is noise that never repeats"
      )
    if self._library.espeak_SetVoiceByName(name.encode()):
      raise ValueError(f"espeak-ng has no voice {name!r}")
    for parameter, value in (
      (self._RATE, _ESPEAK_RATE * rate),
      (self._PITCH, min(_ESPEAK_PITCH * pitch, 99)),
    ):
      self._library.espeak_SetParameter(parameter, round(value), 0)
    self._parts.clear()
    data = text.lower().encode()
    self._library.espeak_Synth(
      data, len(data) + 1, 0, 1, 0, self._UTF8, None, None
    )
    self._library.espeak_Synchronize()
    if not self._parts:
      return np.zeros(0, np.int16)
    samples = np.concatenate(self._parts).astype(np.float64)
    samples = scipy.signal.resample_poly(samples, SAMPLE_RATE, self._rate)
    return np.clip(np.round(samples), -32768, 32767).astype(np.int16)


if __name__ == "__main__":
  try:
    _main(sys.argv[-1])
  except ValueError as error:
    sys.exit(str(error))
