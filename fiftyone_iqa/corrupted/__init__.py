"""How datasets of corrupted images are made; see corrupted_datasets."""
