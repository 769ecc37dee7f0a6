"""From labelled images to batches: preprocessing, augmentation and sampling."""
