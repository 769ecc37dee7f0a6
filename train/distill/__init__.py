"""Soft labels for distillation."""
