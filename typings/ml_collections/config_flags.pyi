from typing import Any

from absl import flags
from ml_collections import config_dict

def DEFINE_config_file(
  name: str, default: str | None = None, *arguments: Any, **options: Any
) -> flags.FlagHolder[config_dict.ConfigDict]: ...
def get_config_filename(config_flag: Any) -> str: ...
def get_override_values(config_flag: Any) -> dict[str, Any]: ...
