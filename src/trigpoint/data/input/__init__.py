"""From a dataset to batches of network inputs: warped, cached, in an order that a resumed run repeats."""
