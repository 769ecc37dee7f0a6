"""Labelled images: tables, splits and the merging of archives."""
