"""From what a file stores to what a model sees: band layouts, channel recipes, terrain."""
