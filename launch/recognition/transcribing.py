"""What --workdir or --saved_model names, as one function of sound."""

import os

from launch.recognition import driver, functions, searching, sections
from launch.recognition.searching import Search
from launch.recognition.sections import LongRecogniser
from launch.runs import opening


def open_recogniser(
  directory: str | os.PathLike | None,
  exported: str | os.PathLike | None,
  search: Search,
  step: int | None = None,
  batch_size: int = 32,
) -> tuple[LongRecogniser, int | None]:
  """The recogniser that a program is to use.

  Args:
    directory: a run's directory, or None.
    exported: directory that `launch.export` wrote, or another SavedModel (see
      `functions.saved_model_function`), or None.
    search: `searching.Search`.
    step: int, which checkpoint of the run; default: the newest.
    batch_size: int.

  Returns:
    function (sounds, sample_rate, total=None) -> (key, `searching.Transcript`)
    of each, in order, and the step of the checkpoint, None where it is not
    known. Sounds are (key, blocks of int16 [samples]) pairs; no more of them is
    read than fits in the batches.

  Raises:
    ValueError: If not exactly one is given, or the search or the step is more
      than an exported model offers.
  """
  if bool(directory) == bool(exported):
    raise ValueError(
      "give one of --workdir and --saved_model. Received: "
      f"workdir={directory}, saved_model={exported}"
    )
  if directory:
    model, tokenizer, _, step = opening.load_model(directory, step=step)
    found = driver.Driver(model, tokenizer, batch_size, progress=True)
    recogniser: searching.SoundRecogniser = searching.Searcher(found, search)
    lengths = sections.OF_MODEL
  elif search.width or search.timestamps or step is not None:
    raise ValueError(
      "an exported model transcribes greedily: --nbest, --beam_width, --arpa, "
      "--timestamps and --step need --workdir. Received: "
      f"saved_model={exported}, {search}, step={step}"
    )
  else:
    function = functions.saved_model_function(exported or "")
    lengths = sections.OF_FUNCTION

    def of_function(sounds, sample_rate, total=None):
      for key, text in driver.run_function(
        function, sounds, sample_rate, batch_size, total=total
      ):
        yield key, searching.Transcript(text)

    recogniser = of_function

  def transcribe(sounds, sample_rate, total=None):
    return sections.transcribe(
      recogniser, sounds, sample_rate, lengths, search.nbest, total
    )

  return transcribe, step
