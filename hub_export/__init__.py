"""What a checkpoint is, and how it travels: generators, pixels, the checkpoint format, stores and model cards."""
