"""A training run as it lies on disk, and the card of the model it made. Nothing here loads TensorFlow."""
