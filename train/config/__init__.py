"""The settings of a training run; `train.config.run.TrainConfig` holds them all."""

from train.config.distill import ConsistencyConfig as ConsistencyConfig
from train.config.distill import DistillationConfig as DistillationConfig
from train.config.distill import FoldConfig as FoldConfig
from train.config.input import AugmentConfig as AugmentConfig
from train.config.input import SamplerConfig as SamplerConfig
from train.config.loss import CrossEntropyConfig as CrossEntropyConfig
from train.config.loss import LossConfig as LossConfig
from train.config.loss import MaxRecallConfig as MaxRecallConfig
from train.config.model import ModelConfig as ModelConfig
from train.config.run import SHIPPED_RECIPE as SHIPPED_RECIPE
from train.config.run import Selection as Selection
from train.config.run import TrainConfig as TrainConfig
from train.config.run import load_config as load_config
from train.config.run import read_config as read_config
from train.config.schedule import OptimizerConfig as OptimizerConfig
from train.config.schedule import Schedule as Schedule
from train.config.schedule import Stage as Stage
