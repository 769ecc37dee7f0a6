"""Training and evaluation of lesion networks. It needs the extra ``train``."""
