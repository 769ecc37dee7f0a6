"""The learning curves of a run, plotted from its logs."""

import csv
from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger
from matplotlib.figure import Figure


class Curves(Callback):
    """Plots curves.png from the CSV logs after each epoch."""

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Plot the curves, in the first process only."""
        if trainer.is_global_zero and isinstance(trainer.logger, CSVLogger):
            trainer.logger.save()
            plot_curves(Path(trainer.logger.root_dir), Path(trainer.default_root_dir) / "curves.png")


def plot_curves(log: Path, figure: Path) -> None:
    """Plot one panel a metric over the epochs.

    Args:
        log: Folder with ``version_0/metrics.csv``, and one more version for each resume.
        figure: The PNG file to write.
    """
    curves: dict[str, dict[int, float]] = {}
    for table in sorted(log.glob("version_*/metrics.csv"), key=lambda table: int(table.parent.name[8:])):
        with table.open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                for name, value in row.items():
                    if name.startswith(("train_", "val_")) and value:
                        curves.setdefault(name, {})[int(row["epoch"]) + 1] = float(value)
    if not curves:
        return
    columns = (len(curves) + 1) // 2
    page = Figure(figsize=(4 * columns, 6), layout="constrained")
    for axis, (name, points) in zip(page.subplots(2, columns).flat, sorted(curves.items()), strict=False):
        axis.plot(list(points.keys()), list(points.values()), marker=".")
        axis.set(title=name, xlabel="epoch")
    page.savefig(figure)
