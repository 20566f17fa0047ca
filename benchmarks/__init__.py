"""Speed, as ratios within one run; never in timed tests."""

from stockllm.forecaster.models.engines import prepare_imports

# Before any piece imports torch: threads that spin would measure whatever else runs on the machine.
prepare_imports()
