"""What speaks TensorFlow Serving's API."""
