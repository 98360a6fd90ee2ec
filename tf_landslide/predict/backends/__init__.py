"""What computes for a predictor, a file each: a live Keras model, a SavedModel, OpenVINO, a server.

``tf_landslide.predict.predictor.Backend`` says what one must give.
"""
