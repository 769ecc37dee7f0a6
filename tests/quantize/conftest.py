"""The fixtures that need torch, for the tests of `quantize`."""

from tests.training_fixtures import head, micro_config, micro_run, net

__all__ = ["head", "micro_config", "micro_run", "net"]
