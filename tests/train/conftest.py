"""The fixtures that need torch, for the tests of `train`."""

from tests.training_fixtures import figures, head, micro_config, micro_run, net

__all__ = ["figures", "head", "micro_config", "micro_run", "net"]
