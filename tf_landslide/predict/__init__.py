"""From a model, wherever it is, to predictions: predictors, results, exports."""
